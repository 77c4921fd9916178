// Sequences through the whole engine, from many threads: random models small enough for the sanitizers.
#include <algorithm>
#include <cmath>
#include <deque>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "check.h"
#include "gooseguard/engine.h"
#include "gooseguard/text_scorer.h"
#include "kernels/kernels.h"

namespace {

using namespace gooseguard;

constexpr int kVocabulary = 29;

Config make_config(Version version, int vocabulary) {
  Config config{.n_layer = 2,
                .n_embd = 40,
                .vocab_size = vocabulary,
                .head_size = 20,
                .n_ffn = 50,
                .version = version};
  if (version == Version::kX070) {
    config.rank_a = 5;
    config.rank_v = 4;
    config.rank_g = 7;
  }
  if (version != Version::kX052) {
    config.rank_w = 6;
  }
  if (version == Version::kX060) {
    config.rank_mix = 3;
  }
  return config;
}

// Every tensor of a model; values between -0.5 and 0.5, so that nothing grows.
class Model {
 public:
  Model(Version version, Dtype dtype, int vocabulary = kVocabulary)
      : config(make_config(version, vocabulary)), dtype_(dtype) {
    const int C = config.n_embd, F = config.n_ffn;
    vector("emb.weight", config.vocab_size * C);
    norm("blocks.0.ln0");
    norm("ln_out");
    matrix("head.weight", config.vocab_size, C);
    for (const std::string block : {"blocks.0.", "blocks.1."}) {
      for (const char* name : {"ln1", "ln2", "att.ln_x"}) {
        norm(block + name);
      }
      for (const char* name : {"receptance", "key", "value", "output"}) {
        matrix(block + "att." + name + ".weight", C, C);
      }
      matrix(block + "ffn.key.weight", F, C);
      matrix(block + "ffn.value.weight", C, F);
      if (version == Version::kX070) {
        add_goose(block);
      } else {
        add_earlier(block, version == Version::kX060);
      }
    }
  }

  Config config;
  Tensors tensors;

 private:
  void vectors(const std::string& prefix, std::initializer_list<const char*> names) {
    for (const char* name : names) {
      vector(prefix + name, config.n_embd);
    }
  }
  void add_goose(const std::string& block) {
    vectors(block, {"att.x_r", "att.x_w", "att.x_k", "att.x_v", "att.x_a", "att.x_g", "att.k_k", "att.k_a",
                    "att.r_k", "att.w0", "att.a0", "att.v0", "ffn.x_k"});
    const std::pair<const char*, int> ranks[] = {
        {"w", config.rank_w}, {"a", config.rank_a}, {"v", config.rank_v}, {"g", config.rank_g}};
    for (const auto& [name, rank] : ranks) {
      matrix(block + "att." + name + "1", rank, config.n_embd);
      matrix(block + "att." + name + "2", config.n_embd, rank);
    }
  }
  void add_earlier(const std::string& block, bool is_finch) {
    const int C = config.n_embd, D = config.rank_mix;
    const std::string mix = is_finch ? "time_maa_" : "time_mix_", att = block + "att.", ffn = block + "ffn.";
    matrix(att + "gate.weight", C, C);
    matrix(ffn + "receptance.weight", C, C);
    vectors(att, {"time_decay", "time_faaaa"});
    vectors(att + mix, {"k", "v", "r", "g"});
    vectors(ffn + mix, {"k", "r"});
    if (is_finch) {
      vectors(att + mix, {"x", "w"});
      matrix(att + "time_decay_w1", config.rank_w, C);
      matrix(att + "time_decay_w2", C, config.rank_w);
      matrix(att + "time_maa_w1", 5 * D, C);
      // Five matrices in one tensor; low-rank factors are never int8.
      matrix(att + "time_maa_w2", C, D, 5, dtype_ == Dtype::kInt8 ? Dtype::kBf16 : dtype_);
    }
  }
  std::vector<float>& floats(std::ptrdiff_t n) {
    std::uniform_real_distribution<float> draw(-0.5F, 0.5F);
    auto& values = floats_.emplace_back(static_cast<std::size_t>(n));
    std::generate(values.begin(), values.end(), [&] { return draw(generator_); });
    return values;
  }
  void vector(const std::string& name, int n) {
    auto& values = floats(n);
    tensors[name] = {Dtype::kF32, values.data(), values.size() * 4};
  }
  void norm(const std::string& prefix) {
    vector(prefix + ".weight", config.n_embd);
    vector(prefix + ".bias", config.n_embd);
  }
  // Any bytes make an int8 or a bf16 matrix; those of the latter are kept small.
  void matrix(const std::string& name, int n, int k) { matrix(name, n, k, 1, dtype_); }
  void matrix(const std::string& name, int n, int k, std::size_t count, Dtype dtype) {
    const auto bytes =
        count * static_cast<std::size_t>(kernels::tile_bytes(static_cast<kernels::Dtype>(dtype), n, k));
    auto& values = floats(static_cast<std::ptrdiff_t>(bytes / 4));
    if (dtype == Dtype::kInt8) {
      auto& scale = floats(n);
      std::transform(scale.begin(), scale.end(), scale.begin(), [](float x) { return 0.001F * std::abs(x); });
      tensors[name + ".scale"] = {Dtype::kF32, scale.data(), scale.size() * 4};
    } else if (dtype == Dtype::kBf16) {
      auto* bits = reinterpret_cast<std::uint16_t*>(values.data());
      std::generate(bits, bits + bytes / 2,
                    [&] { return static_cast<std::uint16_t>(0x3D00U + generator_() % 128); });
    }
    tensors[name] = {dtype, values.data(), bytes};
  }

  Dtype dtype_;
  std::mt19937 generator_{7};  // NOLINT: the same numbers each run are wanted
  // What is in it stays where it is when more comes.
  std::deque<std::vector<float>> floats_;
};

std::vector<std::vector<std::int32_t>> make_texts() {
  std::vector<std::vector<std::int32_t>> texts;
  for (const int length : {3, 0, 600, 1, 40, 17, 300, 12}) {
    auto& text = texts.emplace_back();
    for (int i = 0; i < length; ++i) {
      text.push_back((i * 7 + length) % kVocabulary);
    }
  }
  return texts;
}

std::vector<Pool> run(const Backbone& backbone, int threads, bool keep_state) {
  const auto texts = make_texts();
  std::vector<Pool> pools(texts.size());
  std::vector<Sequence> sequences;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    sequences.push_back({texts[i], &pools[i], keep_state, nullptr});
  }
  backbone.run(sequences, threads);
  return pools;
}

void check_equal(const std::vector<Pool>& found, const std::vector<Pool>& expected) {
  for (std::size_t i = 0; i < found.size(); ++i) {
    CHECK(found[i].count == expected[i].count);
    CHECK(found[i].last == expected[i].last);
    CHECK(found[i].total == expected[i].total);
    CHECK(found[i].maximum == expected[i].maximum);
    CHECK(std::all_of(found[i].last.begin(), found[i].last.end(), [](float x) { return std::isfinite(x); }));
  }
}

void test_threads(const Backbone& backbone) {
  const auto expected = run(backbone, 1, true);
  check_equal(run(backbone, 3, false), expected);
  std::vector<std::jthread> callers;
  for (int i = 0; i < 3; ++i) {
    callers.emplace_back([&, i] { check_equal(run(backbone, 2, i == 1), expected); });
  }
}

void test_refusals(const Backbone& backbone) {
  const std::int32_t good[] = {1, 2};
  const std::int32_t bad[] = {1, kVocabulary};
  Pool pool;
  const auto run_one = [&](std::span<const std::int32_t> tokens, Pool* with, bool keep) {
    const Sequence sequence{tokens, with, keep, nullptr};
    backbone.run({&sequence, 1}, 1);
  };
  CHECK_THROWS(run_one(bad, &pool, true), EngineError);
  CHECK_THROWS(run_one(good, nullptr, true), EngineError);
  run_one(good, &pool, false);
  CHECK_THROWS(run_one(good, &pool, true), EngineError);
  Pool other;
  run_one(good, &other, true);
  other.state.wkv.pop_back();
  CHECK_THROWS(run_one(good, &other, true), EngineError);
  std::vector<float> hidden(static_cast<std::size_t>(backbone.config().n_embd)), logits(1);
  CHECK_THROWS(backbone.logits(hidden, logits), EngineError);
}

void test_model(const Model& model) {
  for (const std::string& isa : isa_names()) {
    if (has_isa(isa)) {
      const Backbone backbone(model.config, model.tensors, isa);
      CHECK(backbone.isa() == isa);
      test_threads(backbone);
      test_refusals(backbone);
    }
  }
  // Each tensor is needed, but the language head and the value residual of layer 0, which nothing reads.
  for (const auto& [name, tensor] : model.tensors) {
    if (name.starts_with("head.") || name.starts_with("blocks.0.att.v0") ||
        name.starts_with("blocks.0.att.v1") || name.starts_with("blocks.0.att.v2")) {
      continue;
    }
    Tensors less = model.tensors;
    less.erase(name);
    CHECK_THROWS(Backbone(model.config, less, ""), EngineError);
    Tensors cut = model.tensors;
    cut[name].size_bytes -= 4;
    CHECK_THROWS(Backbone(model.config, cut, ""), EngineError);
  }
  // What is read in place must lie where such numbers may.
  Tensors odd = model.tensors;
  Tensor& embedding = odd["emb.weight"];
  std::vector<char> memory(embedding.size_bytes + 1);
  std::copy_n(static_cast<const char*>(embedding.data), embedding.size_bytes, memory.data() + 1);
  embedding.data = memory.data() + 1;
  CHECK_THROWS(Backbone(model.config, odd, ""), EngineError);
  Config wrong = model.config;
  wrong.head_size = 7;
  CHECK_THROWS(Backbone(wrong, model.tensors, ""), EngineError);
}

// A rank that a version needs.
void test_ranks() {
  for (const Version version : {Version::kX060, Version::kX070}) {
    const Model model(version, Dtype::kF32);
    Config wrong = model.config;
    (version == Version::kX060 ? wrong.rank_mix : wrong.rank_g) = 0;
    CHECK_THROWS(Backbone(wrong, model.tensors, ""), EngineError);
  }
}

// Texts to scores, from several threads at once: each as if it were alone.
void test_text_scorer() {
  const Tokenizer tokenizer({});
  const Model model(Version::kX070, Dtype::kInt8, static_cast<int>(tokenizer.vocab_size()));
  const Backbone backbone(model.config, model.tensors, "");
  const std::vector<float> weight(2 * 3 * static_cast<std::size_t>(model.config.n_embd), 0.01F), bias(2);
  const std::vector<double> ones(2, 1.0);
  const Heads heads(weight, bias, ones, ones);
  const TextScorer scorer(tokenizer, backbone, nullptr, heads);
  const auto view = [](std::string_view text) { return TextView{text.data(), text.size(), 1}; };
  const std::vector<TextView> texts{view("abc"), view(""), view("  "), view("a longer one of some words")};
  const TextScores found = scorer.score(texts);
  CHECK((found.is_visible == std::vector<std::uint8_t>{1, 0, 0, 1}));
  CHECK(found.scores.size() == 8 && found.scores[0] > 0.0 && found.scores[0] < 1.0);
  std::vector<std::jthread> callers;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    callers.emplace_back([&, i] {
      const TextScores alone = scorer.score({&texts[i], 1});
      CHECK(std::equal(alone.scores.begin(), alone.scores.end(), &found.scores[2 * i]));
    });
  }
  callers.clear();
  CHECK(scorer.score({}).scores.empty());
  const Model other(Version::kX070, Dtype::kInt8);
  const Backbone other_backbone(other.config, other.tensors, "");
  CHECK_THROWS(TextScorer(tokenizer, other_backbone, nullptr, heads).score(texts), EngineError);
  const Heads other_heads(std::vector<float>(4), bias, ones, ones);
  CHECK_THROWS(TextScorer(tokenizer, backbone, nullptr, other_heads).score(texts), EngineError);
}

}  // namespace

int main() {
  for (const Version version : {Version::kX052, Version::kX060, Version::kX070}) {
    for (const Dtype dtype : {Dtype::kF32, Dtype::kBf16, Dtype::kInt8}) {
      test_model(Model(version, dtype));
    }
  }
  test_ranks();
  test_text_scorer();
}
