// The category heads: scores by hand, logits that are none, sizes that do not fit.
#include "gooseguard/heads.h"

#include <cmath>
#include <limits>
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
  std::vector<double> scores(2);
  // Logits 5.5 and 4.5 + 1 - 5.5 = 0, so odds of 0 both.
  heads.scores(features, std::vector<float>{0.0F, -5.5F}, scores);
  CHECK(scores[0] == 0.5 && scores[1] == 0.5);
  heads.scores(features, std::vector<float>{3e38F, -3e38F}, scores);
  CHECK(scores[0] == 1.0 && scores[1] == 0.0);
  heads.scores(features, std::vector<float>{std::numeric_limits<float>::infinity(), 0.0F}, scores);
  CHECK(std::isnan(scores[0]) && !std::isnan(scores[1]));
  const std::vector<double> two(2, 1.0), one(1, 1.0);
  CHECK_THROWS(Heads(std::vector<float>(21), bias, two, two), EngineError);
  CHECK_THROWS(Heads(weight, bias, one, two), EngineError);
  CHECK_THROWS(Heads({}, {}, {}, {}), EngineError);
  return 0;
}
