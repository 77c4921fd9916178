// The category heads: scores by hand, logits that are none, sizes that do not fit.
#include "gooseguard/heads.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <vector>

#include "check.h"
#include "gooseguard/errors.h"

using namespace gooseguard;

int main() {
  // Eleven features: more than eight, and no multiple of it.
  std::vector<float> weight(22, 0.5F);
  weight[21] = -0.5F;
  const std::vector<float> bias{0.0F, 1.0F}, features(11, 1.0F);
  const Heads heads(weight, bias, std::vector<double>{1.0, 2.0}, std::vector<double>{-5.5, 0.0});
  // Logits 5.5 and 4.5 + 1 - 5.5 = 0, so odds of 0 both.
  CHECK((heads.scores(features, std::vector<float>{0.0F, -5.5F}) == std::vector<double>{0.5, 0.5}));
  CHECK((heads.scores(features, std::vector<float>{3e38F, -3e38F}) == std::vector<double>{1.0, 0.0}));
  const auto broken = heads.scores(features, std::vector<float>{std::numeric_limits<float>::infinity(), 0.0F});
  CHECK(std::isnan(broken[0]) && !std::isnan(broken[1]));
  // Two texts, the second without features.
  std::vector<float> both(22);
  std::copy(features.begin(), features.end(), both.begin());
  const std::vector<float> added{0.0F, -5.5F, 5.5F, 0.0F};
  const auto found = heads.scores(both, added);
  // Of the second, -5.5 + 5.5 = 0 and 1 * 2 = 2.
  CHECK(found[0] == 0.5 && found[2] == 0.5 && found[3] == 1.0 / (1.0 + std::exp(-2.0)));
  CHECK(heads.scores({}, {}).empty());
  CHECK_THROWS(heads.scores(features, added), EngineError);
  CHECK_THROWS(heads.scores(features, std::span(added).first(1)), EngineError);
  const std::vector<double> two(2, 1.0), one(1, 1.0);
  CHECK_THROWS(Heads(std::vector<float>(21), bias, two, two), EngineError);
  CHECK_THROWS(Heads(weight, bias, one, two), EngineError);
  CHECK_THROWS(Heads({}, {}, {}, {}), EngineError);
  return 0;
}
