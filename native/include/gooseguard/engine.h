// The engine: token ids to hidden states of an RWKV backbone, many texts at once, on all the cores it is given.
//
// This header is the whole public surface. Nothing here prints, logs, reads the environment or keeps a
// global.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "gooseguard/errors.h"

namespace gooseguard {

// RWKV-5.2 (Eagle), RWKV-6 (Finch), RWKV-7 (Goose).
enum class Version : std::uint8_t { kX052, kX060, kX070 };

// Every size of a backbone; the names are those of `RwkvConfig` in Python. Ranks that a version lacks are 0.
struct Config {
  int n_layer = 0;
  int n_embd = 0;
  int vocab_size = 0;
  int head_size = 0;
  int n_ffn = 0;
  int rank_w = 0;
  int rank_a = 0;
  int rank_v = 0;
  int rank_g = 0;
  Version version = Version::kX070;
  int rank_mix = 0;
};

enum class Dtype : std::uint8_t { kF32, kBf16, kInt8 };

// A tensor as an engine file holds it. Matrices that are multiplied with are in tiles (docs/formats.md).
struct Tensor {
  Dtype dtype = Dtype::kF32;
  const void* data = nullptr;
  std::size_t size_bytes = 0;
};

// Official names to tensors; an int8 matrix "x" has its scales beside it as "x.scale".
using Tensors = std::unordered_map<std::string, Tensor>;

// The recurrent memory of one sequence.
struct State {
  std::vector<float> attention_shift;  // (L, C): normalised input of the time mix at the last token
  std::vector<float> wkv;              // (L, H, N, N): [key index, value index]
  std::vector<float> ffn_shift;        // (L, C)
};

// One sequence so far: what a head reads of its hidden states, and what the next piece goes on from.
struct Pool {
  std::vector<float> last;     // (C): hidden state of the last token
  std::vector<double> total;   // (C): sum over all tokens
  std::vector<float> maximum;  // (C): largest of each channel
  std::int64_t count = 0;      // tokens so far
  State state;                 // empty if it was not kept

  // (C): mean of the hidden states, rounded once.
  std::vector<float> mean() const;
};

// Tokens to run and where to put what comes of them.
struct Sequence {
  std::span<const std::int32_t> tokens;
  // Read and written: tokens are those after what it holds.
  Pool* pool = nullptr;
  // Whether a further piece may follow; without, states take no memory.
  bool keep_state = false;
  // (tokens, C), written; or none.
  float* hidden = nullptr;
};

// A backbone ready to run; safe to call from several threads at once.
//
// What a sequence gives depends on nothing but its tokens, the weights, the build and the instruction set:
// not on the sequences beside it nor on the number of threads, to the last bit.
class Backbone {
 public:
  // `tensors` must stay where they are as long as the backbone lives; no matrix is copied. `isa` is one of
  // `isa_names()` or "", the best there is. Throws `EngineError` where a tensor is missing, of another size,
  // or holds an int8 scale that is no positive number, or where this CPU has no such instruction set.
  Backbone(const Config& config, const Tensors& tensors, const std::string& isa);
  ~Backbone();
  Backbone(const Backbone&) = delete;
  Backbone& operator=(const Backbone&) = delete;

  // Runs all sequences, at most `threads` units of them at a time. Throws `EngineError`, before anything is
  // run, where a token is outside the vocabulary or a pool is of another model or kept no state.
  void run(std::span<const Sequence> sequences, int threads) const;

  // Gives what heads read of whole texts, (n, 3 C): last, mean and maximum of each; zeros of one without tokens. Text
  // i has the ids [offsets[i], offsets[i + 1]). Throws `EngineError` as `run` does, or where offsets do not fit.
  std::vector<float> features(std::span<const std::int32_t> ids, std::span<const std::int64_t> offsets,
                              int threads) const;

  // Language head: `hidden` (n, C) to `logits` (n, V). Throws `EngineError` where the model has none.
  void logits(std::span<const float> hidden, std::span<float> logits) const;

  const Config& config() const;
  // Instruction set in use.
  const char* isa() const;

 private:
  struct Implementation;
  std::unique_ptr<Implementation> implementation_;
};

// Instruction sets of this build, best first.
std::vector<std::string> isa_names();

// Whether this CPU has one of them.
bool has_isa(const std::string& name);

}  // namespace gooseguard
