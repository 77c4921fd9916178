#include "gooseguard/text_scorer.h"

namespace gooseguard {

TextScores TextScorer::score(std::span<const TextView> texts) const {
  TextScores found;
  std::vector<std::int32_t> ids;
  std::vector<std::int64_t> offsets{0};
  TextEncoder encoder(tokenizer_);
  for (const TextView& text : texts) {
    found.is_visible.push_back(encoder.encode(text, ids) ? 1 : 0);
    offsets.push_back(static_cast<std::int64_t>(ids.size()));
  }
  const std::vector<float> added = ngrams_ == nullptr ? std::vector<float>(texts.size() * heads_.n_categories())
                                                      : ngrams_->logits(ids, offsets);
  found.scores = heads_.scores(backbone_.features(ids, offsets, 1), added);
  return found;
}

}  // namespace gooseguard
