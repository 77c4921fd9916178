#include "gooseguard/heads.h"

#include <cmath>
#include <limits>
#include <string>

#include "gooseguard/errors.h"

namespace gooseguard {
namespace {

// Eight sums side by side: the compiler may not reorder one, and each would wait for the one before.
float dot(const float* a, const float* b, std::size_t n) {
  constexpr std::size_t kSums = 8;
  float sums[kSums] = {};
  std::size_t i = 0;
  for (; i + kSums <= n; i += kSums) {
    for (std::size_t lane = 0; lane < kSums; ++lane) sums[lane] += a[i + lane] * b[i + lane];
  }
  for (; i < n; ++i) sums[i % kSums] += a[i] * b[i];
  return ((sums[0] + sums[4]) + (sums[2] + sums[6])) + ((sums[1] + sums[5]) + (sums[3] + sums[7]));
}

}  // namespace

Heads::Heads(std::span<const float> weight, std::span<const float> bias, std::span<const double> scale,
             std::span<const double> offset)
    : weight_(weight.begin(), weight.end()),
      bias_(bias.begin(), bias.end()),
      scale_(scale.begin(), scale.end()),
      offset_(offset.begin(), offset.end()) {
  const std::size_t K = bias_.size();
  if (K == 0 || weight_.size() % K != 0 || scale_.size() != K || offset_.size() != K) {
    throw EngineError("heads: weights, biases and calibration are of different numbers of categories");
  }
}

std::vector<double> Heads::scores(std::span<const float> features, std::span<const float> added) const {
  const std::size_t F = n_features(), K = n_categories(), n = added.size() / K;
  if (added.size() != n * K || features.size() != n * F) {
    throw EngineError("heads: features or logits are of another model");
  }
  std::vector<double> scores(n * K);
  for (std::size_t i = 0; i < n * K; ++i) {
    const std::size_t text = i / K, category = i % K;
    const float logit = dot(&weight_[category * F], &features[text * F], F) + bias_[category] + added[i];
    if (!std::isfinite(logit)) {
      scores[i] = std::numeric_limits<double>::quiet_NaN();
      continue;
    }
    const double odds = scale_[category] * double{logit} + offset_[category];
    // exp of what is never positive cannot overflow.
    const double small = std::exp(-std::abs(odds));
    scores[i] = (odds >= 0 ? 1.0 : small) / (1.0 + small);
  }
  return scores;
}

}  // namespace gooseguard
