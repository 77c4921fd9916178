// A text model from end to end: texts to scores.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "gooseguard/engine.h"
#include "gooseguard/heads.h"
#include "gooseguard/ngram_tables.h"
#include "gooseguard/text_view.h"
#include "gooseguard/tokenizer.h"

namespace gooseguard {

// What is known of texts.
struct TextScores {
  std::vector<double> scores;            // (n, K), 0..1; NaN where a logit is not finite
  std::vector<std::uint8_t> is_visible;  // (n): whether a text shows anything but white space once normalised
};

// The parts of a model, which must live as long as it does. Safe to call from several threads at once.
class TextScorer {
 public:
  // `ngrams` may be none.
  TextScorer(const Tokenizer& tokenizer, const Backbone& backbone, const NgramTables* ngrams, const Heads& heads)
      : tokenizer_(tokenizer), backbone_(backbone), ngrams_(ngrams), heads_(heads) {}

  std::size_t n_categories() const { return heads_.n_categories(); }

  // Scores texts on this thread, each as if it were alone. Throws `EngineError` where parts are of different models.
  TextScores score(std::span<const TextView> texts) const;

 private:
  const Tokenizer& tokenizer_;
  const Backbone& backbone_;
  const NgramTables* ngrams_;
  const Heads& heads_;
};

}  // namespace gooseguard
