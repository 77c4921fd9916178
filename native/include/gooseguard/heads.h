// The category heads: what a backbone gives of a text to calibrated scores. src/gooseguard/engine/heads.py is the
// definition.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace gooseguard {

// Of each of K categories: its weights, and its line from logit to log-odds.
class Heads {
 public:
  // `weight` (K, n_features), `bias` (K); `scale` and `offset` (K) of the calibration. All are copied. Throws
  // `EngineError` where sizes do not fit.
  Heads(std::span<const float> weight, std::span<const float> bias, std::span<const double> scale,
        std::span<const double> offset);

  std::size_t n_categories() const { return bias_.size(); }
  std::size_t n_features() const { return weight_.size() / bias_.size(); }

  // Gives the scores (n, K) of texts, 0..1, NaN where a logit is not finite; `added` (n, K) is added to the logits of
  // `features` (n, n_features). Throws `EngineError` where sizes do not fit.
  std::vector<double> scores(std::span<const float> features, std::span<const float> added) const;

 private:
  std::vector<float> weight_, bias_;
  std::vector<double> scale_, offset_;
};

}  // namespace gooseguard
