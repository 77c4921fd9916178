// libFuzzer target: the tensors of an engine file, any numbers in them, any of another size, dtype or place.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "check.h"
#include "gooseguard/engine.h"
#include "gooseguard/errors.h"
#include "gooseguard/ngram_tables.h"
#include "kernels/kernels.h"

namespace {

using namespace gooseguard;

constexpr Config kConfig{.n_layer = 1, .n_embd = 8, .vocab_size = 7, .head_size = 4, .n_ffn = 12, .rank_w = 2,
                         .rank_a = 3, .rank_v = 2, .rank_g = 5};
constexpr int kPairs = 3, kCategories = 2;

// Takes numbers and the bytes of tensors from the input; zeros once it is used up.
class Input {
 public:
  Input(const std::uint8_t* data, std::size_t size) : data_(data), size_(size) {}

  std::uint8_t byte() { return place_ < size_ ? data_[place_++] : std::uint8_t{0}; }

  // A tensor of about `bytes` bytes: now and then of another size, dtype, or at an odd place.
  void add(const std::string& name, Dtype dtype, std::ptrdiff_t bytes) {
    const unsigned fault = byte();
    const std::size_t size = static_cast<std::size_t>(bytes) + (fault == 1 ? 4 : 0);
    std::vector<std::uint8_t>& memory = memory_.emplace_back(size + 4);
    const std::size_t odd = fault == 2 ? 1 : 0;
    for (std::size_t i = 0; i < size; ++i) memory[odd + i] = byte();
    if (fault == 3) dtype = static_cast<Dtype>(byte() % 3);
    if (fault != 4) tensors[name] = {dtype, memory.data() + odd, fault == 5 && size > 4 ? size - 4 : size};
  }

  void vector(const std::string& name, int n) { add(name, Dtype::kF32, std::ptrdiff_t{4} * n); }

  void matrix(const std::string& name, int n, int k, Dtype dtype) {
    add(name, dtype, kernels::tile_bytes(static_cast<kernels::Dtype>(dtype), n, k));
    if (dtype == Dtype::kInt8) vector(name + ".scale", n);
  }

  Tensors tensors;

 private:
  const std::uint8_t* data_;
  std::size_t size_;
  std::size_t place_ = 0;
  std::deque<std::vector<std::uint8_t>> memory_;
};

void add_backbone(Input& input) {
  const int C = kConfig.n_embd, F = kConfig.n_ffn;
  const auto dtype = static_cast<Dtype>(input.byte() % 3);
  const Dtype small = dtype == Dtype::kF32 ? dtype : Dtype::kBf16;
  input.add("emb.weight", small, std::ptrdiff_t{small == Dtype::kF32 ? 4 : 2} * kConfig.vocab_size * C);
  const std::string block = "blocks.0.", att = block + "att.", ffn = block + "ffn.";
  for (const std::string& norm : {block + "ln0", block + "ln1", block + "ln2", att + "ln_x", std::string("ln_out")}) {
    input.vector(norm + ".weight", C);
    input.vector(norm + ".bias", C);
  }
  for (const char* name : {"x_r", "x_w", "x_k", "x_v", "x_a", "x_g", "k_k", "k_a", "r_k", "w0", "a0"}) {
    input.vector(att + name, C);
  }
  input.vector(ffn + "x_k", C);
  for (const char* name : {"receptance", "key", "value", "output"}) input.matrix(att + name + ".weight", C, C, dtype);
  input.matrix(ffn + "key.weight", F, C, dtype);
  input.matrix(ffn + "value.weight", C, F, dtype);
  const std::pair<const char*, int> ranks[] = {{"w", kConfig.rank_w}, {"a", kConfig.rank_a}, {"g", kConfig.rank_g}};
  for (const auto& [name, rank] : ranks) {
    input.matrix(att + name + "1", rank, C, small);
    input.matrix(att + name + "2", C, rank, small);
  }
}

void add_ngrams(Input& input) {
  input.vector("ngrams.token_weight", kConfig.vocab_size * kCategories);
  input.vector("ngrams.token_size", kConfig.vocab_size);
  for (const char* name : {"pair_first", "pair_second", "pair_size"}) input.vector(std::string("ngrams.") + name, kPairs);
  input.vector("ngrams.pair_weight", kPairs * kCategories);
}

// The same numbers, a NaN where the other has one.
bool is_same(const std::vector<float>& a, const std::vector<float>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](float x, float y) { return x == y || (std::isnan(x) && std::isnan(y)); });
}

void run(const Tensors& tensors, const std::vector<std::int32_t>& tokens) {
  const Backbone backbone(kConfig, tensors, "");
  Pool whole, pieces;
  const Sequence sequence{tokens, &whole, true, nullptr};
  backbone.run({&sequence, 1}, 1);
  for (const std::int32_t& token : tokens) {
    const Sequence piece{{&token, 1}, &pieces, true, nullptr};
    backbone.run({&piece, 1}, 1);
  }
  if (!tokens.empty()) {
    CHECK(is_same(whole.last, pieces.last) && is_same(whole.state.wkv, pieces.state.wkv));
  }
}

void count(const Tensors& tensors, const std::vector<std::int32_t>& tokens) {
  const NgramTables tables(tensors, kCategories);
  std::vector<std::int64_t> sums(2 * kCategories), sketches(2 * NgramTables::kSlots);
  std::vector<float> logits(kCategories);
  tables.add(tokens, -1, sums, sketches);
  tables.logits(sums, sketches, logits);
}

}  // namespace

// A byte a token, ended by one above the vocabulary; then the tensors, each with a byte for what is wrong with it.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Input input(data, size);
  std::vector<std::int32_t> tokens;
  while (tokens.size() < 16) {
    const int token = input.byte();
    if (token > kConfig.vocab_size) break;
    tokens.push_back(token);
  }
  add_ngrams(input);
  add_backbone(input);
  for (const auto work : {run, count}) {
    try {
      work(input.tensors, tokens);
    } catch (const Error&) {
      // Refused, which is right as well.
    }
  }
  return 0;
}
