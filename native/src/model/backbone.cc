#include "backbone.h"

#include <algorithm>

#include "../kernels/bfloat16.h"
#include "pass.h"

namespace gooseguard::model {
namespace {

using kernels::Dtype;
using kernels::Rows;

constexpr std::ptrdiff_t kAlignment = 64;

// Rows of what `mix` keeps of a row.
constexpr std::ptrdiff_t kMixRows = 2 + kernels::kLerpsAtOnce;

std::ptrdiff_t aligned(std::ptrdiff_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

int widest_inner(const Config& config) {
  return std::max({config.n_ffn, config.n_embd, config.rank_w, config.rank_a, config.rank_v, config.rank_g,
                   config.rank_mix});
}

// Rows for any dtype, K wide.
Rows take_rows(Scratch& scratch, int T, int K) {
  Rows rows;
  rows.data = scratch.take(kernels::row_bytes(Dtype::kF32, K) * T);
  rows.scale = scratch.take<float>(T);
  rows.zero = scratch.take<std::int32_t>(T);
  return rows;
}

std::ptrdiff_t rows_bytes(std::ptrdiff_t T, std::ptrdiff_t K) {
  return aligned(kernels::row_bytes(Dtype::kF32, static_cast<int>(K)) * T) + 2 * aligned(4 * T);
}

// The arrays (T, C) of a pass.
std::vector<float* Pass::*> arrays_of(Version version) {
  std::vector<float* Pass::*> arrays{&Pass::x, &Pass::r, &Pass::w, &Pass::k, &Pass::v, &Pass::g, &Pass::y};
  if (version == Version::kX070) {
    arrays.insert(arrays.end(), {&Pass::a, &Pass::v_first, &Pass::share, &Pass::removal});
  } else {
    arrays.insert(arrays.end(), {&Pass::normed, &Pass::difference, &Pass::mu});
  }
  return arrays;
}

void take_memory(Pass& pass, Scratch& scratch) {
  const Config& config = pass.weights.config;
  const std::ptrdiff_t T = pass.T, C = config.n_embd, N = config.head_size;
  const std::ptrdiff_t inner = widest_inner(config), shares = std::ptrdiff_t{kInputs} * config.rank_mix;
  const auto arrays = arrays_of(config.version);
  scratch.reset(std::ptrdiff_t(arrays.size()) * aligned(4 * T * C) + aligned(4 * T * (C / N)) +
                aligned(4 * T * inner) + aligned(4 * T * shares) + aligned(4 * N * N) + aligned(4 * kMixRows * C) +
                kernels::kMaxLerps * rows_bytes(T, C) + rows_bytes(T, inner) +
                aligned(kernels::kSpareRows * kernels::row_bytes(Dtype::kF32, config.n_ffn)));
  for (const auto array : arrays) {
    pass.*array = scratch.take<float>(T * C);
  }
  pass.bonus = scratch.take<float>(T * (C / N));
  pass.hidden = scratch.take<float>(T * inner);
  pass.shares = scratch.take<float>(T * shares);
  pass.wkv = scratch.take<float>(N * N);
  pass.row = scratch.take<float>(kMixRows * C);
  for (Rows& rows : pass.lerps) {
    rows = take_rows(scratch, pass.T, config.n_embd);
  }
  pass.inner = take_rows(scratch, pass.T, static_cast<int>(inner));
  pass.spare = scratch.take(kernels::kSpareRows * kernels::row_bytes(Dtype::kF32, config.n_ffn));
}

void embed(const Pass& pass, std::span<const std::int32_t> tokens) {
  const Tensor& embedding = pass.weights.embedding;
  const std::ptrdiff_t C = pass.C;
  float* x = pass.x;
  for (const std::int32_t token : tokens) {
    const std::ptrdiff_t row = token * C;
    if (embedding.dtype == gooseguard::Dtype::kF32) {
      x = std::copy_n(static_cast<const float*>(embedding.data) + row, C, x);
    } else {
      x = std::transform(static_cast<const std::uint16_t*>(embedding.data) + row,
                         static_cast<const std::uint16_t*>(embedding.data) + row + C, x, kernels::from_bf16);
    }
  }
  pass.kernels.layer_norm(pass.x, pass.T, pass.C, pass.weights.ln0, pass.x);
}

}  // namespace

void* Scratch::take(std::ptrdiff_t bytes) {
  void* memory = memory_.data() + used_;
  used_ += aligned(bytes);
  return memory;
}

void Scratch::reset(std::ptrdiff_t bytes) {
  if (memory_.size() < to_size(bytes + kAlignment)) {
    memory_ = std::vector<std::byte>(to_size(bytes + kAlignment));
  }
  const auto past =
      static_cast<std::ptrdiff_t>(reinterpret_cast<std::uintptr_t>(memory_.data()) % kAlignment);
  used_ = past == 0 ? 0 : kAlignment - past;
}

const float* forward(const Weights& weights, const kernels::Kernels& kernels,
                     std::span<const std::int32_t> tokens, std::span<const Segment> segments,
                     Scratch& scratch) {
  Pass pass(weights, kernels, segments);
  pass.T = static_cast<int>(tokens.size());
  pass.C = weights.config.n_embd;
  take_memory(pass, scratch);
  embed(pass, tokens);
  const auto run = [&pass](const auto& layers) {
    for (std::size_t i = 0; i < layers.size(); ++i) {
      run_layer(pass, layers[i], static_cast<std::ptrdiff_t>(i));
    }
  };
  run(weights.layers);
  run(weights.earlier_layers);
  kernels.layer_norm(pass.x, pass.T, pass.C, weights.ln_out, pass.x);
  return pass.x;
}

}  // namespace gooseguard::model
