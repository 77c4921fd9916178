// The n-gram head's tables: a case by hand, pieces, tables that are none, sums at the end of their range.
// That they equal the Python ones, which define them, is tested in tests/codec/test_ngram_tables.py.
#include "gooseguard/ngram_tables.h"

#include <cmath>
#include <limits>
#include <vector>

#include "check.h"
#include "gooseguard/errors.h"

using namespace gooseguard;

namespace {

// Three tokens, one category; the pair (0, 2) is known.
struct Tables {
  std::vector<float> token_weight{1.0F, 2.0F, -4.0F};
  std::vector<float> token_size{1.0F, 2.0F, 3.0F};
  std::vector<float> pair_first{0.0F}, pair_second{2.0F};
  std::vector<float> pair_weight{8.0F}, pair_size{2.0F};

  NgramTables read() const {
    const auto tensor = [](const std::vector<float>& values) {
      return Tensor{Dtype::kF32, values.data(), 4 * values.size()};
    };
    return NgramTables({{"ngrams.token_weight", tensor(token_weight)},
                        {"ngrams.token_size", tensor(token_size)},
                        {"ngrams.pair_first", tensor(pair_first)},
                        {"ngrams.pair_second", tensor(pair_second)},
                        {"ngrams.pair_weight", tensor(pair_weight)},
                        {"ngrams.pair_size", tensor(pair_size)}},
                       1);
  }
};

struct Counts {
  std::vector<std::int64_t> sums = std::vector<std::int64_t>(2);
  std::vector<std::int64_t> sketches = std::vector<std::int64_t>(2 * NgramTables::kSlots);
};

float logit(const NgramTables& tables, const Counts& counts) {
  float found = std::numeric_limits<float>::quiet_NaN();
  tables.logits(counts.sums, counts.sketches, {&found, 1});
  return found;
}

void test_by_hand() {
  const Tables whole;
  const NgramTables tables = whole.read();
  Counts counts;
  CHECK(logit(tables, counts) == 0.0F);
  tables.add(std::vector<std::int32_t>{0, 2}, -1, counts.sums, counts.sketches);
  // (1 - 4) / sqrt(1 + 9) + 8 / 2; the two tokens fall into different slots.
  CHECK(std::abs(logit(tables, counts) - (-3.0 / std::sqrt(10.0) + 4.0)) < 1e-6);
  Counts pieces;
  tables.add(std::vector<std::int32_t>{0}, -1, pieces.sums, pieces.sketches);
  tables.add({}, 0, pieces.sums, pieces.sketches);
  tables.add(std::vector<std::int32_t>{2}, 0, pieces.sums, pieces.sketches);
  CHECK(pieces.sums == counts.sums && pieces.sketches == counts.sketches);
}

void test_no_tables() {
  const auto refused = [](auto change) {
    Tables tables;
    change(tables);
    CHECK_THROWS(tables.read(), ArtefactError);
  };
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  for (const float id : {-1.0F, 3.0F, 0.5F, 1e30F, kNan}) {
    refused([id](Tables& tables) { tables.pair_first[0] = id; });
    refused([id](Tables& tables) { tables.pair_second[0] = id; });
  }
  for (const float size : {-1.0F, 65536.0F, kNan}) {
    refused([size](Tables& tables) { tables.token_size[1] = size; });
    refused([size](Tables& tables) { tables.pair_size[0] = size; });
  }
  refused([](Tables& tables) {
    tables.pair_first = {0.0F, 0.0F};
    tables.pair_second = {2.0F, 2.0F};
    tables.pair_weight.push_back(1.0F);
    tables.pair_size.push_back(1.0F);
  });
  refused([](Tables& tables) { tables.pair_weight.clear(); });
  refused([](Tables& tables) { tables.token_size.push_back(1.0F); });
}

void test_damage() {
  for (const float weight : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(), 1e38F}) {
    Tables damaged;
    damaged.token_weight[1] = weight;
    const NgramTables tables = damaged.read();
    Counts counts;
    CHECK_THROWS(tables.add(std::vector<std::int32_t>{1}, -1, counts.sums, counts.sketches), EngineError);
  }
  const Tables whole;
  const NgramTables tables = whole.read();
  for (const std::int32_t id : {-1, 3, std::numeric_limits<std::int32_t>::max()}) {
    Counts counts;
    CHECK_THROWS(tables.add(std::vector<std::int32_t>{id}, -1, counts.sums, counts.sketches), EngineError);
  }
  Counts counts;
  CHECK_THROWS(tables.add(std::vector<std::int32_t>{1}, std::int64_t{1} << 40, counts.sums, counts.sketches), EngineError);
}

// What UndefinedBehaviorSanitizer looks for: counts that somebody altered.
void test_the_end_of_the_range() {
  const Tables whole;
  const NgramTables tables = whole.read();
  Counts counts;
  counts.sums.assign(2, std::numeric_limits<std::int64_t>::max());
  counts.sketches.assign(counts.sketches.size(), std::numeric_limits<std::int64_t>::min());
  tables.add(std::vector<std::int32_t>{0, 2, 1, 0, 2}, -1, counts.sums, counts.sketches);
  CHECK(std::isfinite(logit(tables, counts)));
}

}  // namespace

int main() {
  test_by_hand();
  test_no_tables();
  test_damage();
  test_the_end_of_the_range();
  return 0;
}
