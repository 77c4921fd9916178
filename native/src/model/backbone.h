// A backbone's weights, and the run of one unit of work through its layers, on one thread.
//
// Letters as in `engine/reference.py`, which is the definition: C width, H heads of width N, L layers, T
// tokens of all sequences of a unit.
#pragma once

#include <array>
#include <span>
#include <vector>

#include "../kernels/kernels.h"
#include "gooseguard/engine.h"

namespace gooseguard::model {

// Sizes are signed here, as products of them with signed counts are; containers want the other kind.
inline std::size_t to_size(std::ptrdiff_t n) { return static_cast<std::size_t>(n); }

// A low-rank projection: x down, an activation, then up.
struct LowRank {
  kernels::Matrix down;
  kernels::Matrix up;
  const float* bias = nullptr;  // (C); the gate has none
};

// Of RWKV-7.
struct Layer {
  kernels::Norm ln1, ln2, ln_x;
  const float *x_r, *x_w, *x_k, *x_v, *x_a, *x_g, *ffn_x_k;
  const float *k_k, *k_a, *r_k;
  kernels::Matrix receptance, key, value, output, ffn_key, ffn_value;
  LowRank decay, rate, residual, gate;  // layer 0 has no residual
};

// What the time mix of an earlier version lerps, in the order that RWKV-6 stores it; RWKV-5.2 has no decay
// that depends on the token.
enum Input : std::uint8_t { kDecay, kKey, kValue, kReceptance, kGate, kInputs };

// Of RWKV-6 and RWKV-5.2.
struct EarlierLayer {
  kernels::Norm ln1, ln2, ln_x;
  std::array<const float*, kInputs> x;  // (C) each: how far to move towards the token before
  const float *ffn_x_k, *ffn_x_r;
  const float* u;  // (C): bonus of a token's own value
  kernels::Matrix receptance, key, value, gate, output, ffn_receptance, ffn_key, ffn_value;
  const float* decays;  // RWKV-5.2: (C), in (0, 1)
  // RWKV-6: decays of a token, and what it adds to each of `x`.
  LowRank decay;
  const float* x_x;
  kernels::Matrix mix_down;                     // to kInputs times rank_mix channels
  std::array<kernels::Matrix, kInputs> mix_up;  // from rank_mix channels each
};

// Weights in place, and the small copies that were needed.
struct Weights {
  Config config;
  Tensor embedding;
  kernels::Norm ln0, ln_out;
  // One of the two has the layers, by version.
  std::vector<Layer> layers;
  std::vector<EarlierLayer> earlier_layers;
  kernels::Matrix head;  // n is 0 where there is none
  std::vector<std::vector<float>> floats;
  std::vector<std::vector<std::int32_t>> sums;
};

// Throws `EngineError`; lists what is missing or of another size.
Weights read_weights(const Config& config, const Tensors& tensors);

// Working memory of one thread, kept between units: fresh pages cost more than the sums done on them.
class Scratch {
 public:
  // Memory of `bytes` bytes, aligned to 64; all of it is given back by `reset`.
  void* take(std::ptrdiff_t bytes);
  template <typename T>
  T* take(std::ptrdiff_t count) {
    return static_cast<T*>(take(count * std::ptrdiff_t{sizeof(T)}));
  }
  void reset(std::ptrdiff_t bytes);

 private:
  std::vector<std::byte> memory_;
  std::ptrdiff_t used_ = 0;
};

// Rows [begin, end) of a unit that belong to one sequence, and the memory it carries.
struct Segment {
  int begin = 0;
  int end = 0;
  State* state = nullptr;
  bool is_wkv_kept = false;
};

// Gives the hidden states (T, C) after `ln_out`, in scratch memory. `tokens` of all segments, one after
// another.
const float* forward(const Weights& weights, const kernels::Kernels& kernels,
                     std::span<const std::int32_t> tokens, std::span<const Segment> segments,
                     Scratch& scratch);

}  // namespace gooseguard::model
