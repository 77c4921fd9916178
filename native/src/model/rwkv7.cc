#include "rwkv7.h"

#include <algorithm>

#include "../kernels/bfloat16.h"

namespace gooseguard::model {
namespace {

using kernels::Activation;
using kernels::Dtype;
using kernels::Epilogue;
using kernels::Matrix;
using kernels::Norm;
using kernels::Rows;
using kernels::Store;

constexpr std::ptrdiff_t kAlignment = 64;

std::ptrdiff_t aligned(std::ptrdiff_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

// What one piece is run with, and its memory; letters as in `reference`.
struct Pass {
  Pass(const Weights& of, const kernels::Kernels& with, std::span<const Segment> over)
      : weights(of), kernels(with), segments(over) {}

  const Weights& weights;
  const kernels::Kernels& kernels;
  std::span<const Segment> segments;
  int T = 0;
  int C = 0;
  float* x = nullptr;
  float *r = nullptr, *w = nullptr, *k = nullptr, *v = nullptr, *a = nullptr, *g = nullptr;
  float *v_first = nullptr, *share = nullptr, *removal = nullptr, *y = nullptr;
  float* bonus = nullptr;   // (T, H)
  float* hidden = nullptr;  // (T, F)
  float* wkv = nullptr;     // (N, N), where no state is kept
  float* row = nullptr;     // (3, C)
  Rows lerps[kernels::kMaxLerps];
  Rows inner;  // (T, F) or (T, rank), the rows between two products
};

int widest_inner(const Config& config) {
  return std::max({config.n_ffn, config.n_embd, config.rank_w, config.rank_a, config.rank_v, config.rank_g});
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

void take_memory(Pass& pass, Scratch& scratch) {
  const Config& config = pass.weights.config;
  const std::ptrdiff_t T = pass.T, C = config.n_embd, F = config.n_ffn, N = config.head_size;
  const std::ptrdiff_t inner = widest_inner(config);
  scratch.reset(11 * aligned(4 * T * C) + aligned(4 * T * (C / N)) + aligned(4 * T * F) + aligned(4 * N * N) +
                aligned(12 * C) + kernels::kMaxLerps * rows_bytes(T, C) + rows_bytes(T, inner));
  for (float** array : {&pass.x, &pass.r, &pass.w, &pass.k, &pass.v, &pass.a, &pass.g, &pass.v_first,
                        &pass.share, &pass.removal, &pass.y}) {
    *array = scratch.take<float>(T * C);
  }
  pass.bonus = scratch.take<float>(T * (C / N));
  pass.hidden = scratch.take<float>(T * F);
  pass.wkv = scratch.take<float>(N * N);
  pass.row = scratch.take<float>(3 * C);
  for (Rows& rows : pass.lerps) {
    rows = take_rows(scratch, pass.T, config.n_embd);
  }
  pass.inner = take_rows(scratch, pass.T, static_cast<int>(inner));
}

// The same memory as rows that `matrix` reads.
Rows rows_for(Rows rows, const Matrix& matrix) {
  rows.dtype = matrix.dtype;
  rows.stride = kernels::row_bytes(matrix.dtype, matrix.k);
  return rows;
}

void product(const Pass& pass, const Rows& rows, const Matrix& matrix, Activation activation,
             const float* bias, float* out, Store store = Store::kF32) {
  pass.kernels.product(rows, pass.T, matrix, {activation, store, bias, out, std::ptrdiff_t(matrix.n)});
}

// Product of `rows` and `matrix`, activated, as the rows that `next` reads.
Rows product_rows(const Pass& pass, const Rows& rows, const Matrix& matrix, Activation activation,
                  const Matrix& next) {
  const Rows inner = rows_for(pass.inner, next);
  if (next.dtype == Dtype::kInt8) {
    product(pass, rows, matrix, activation, nullptr, pass.hidden);
    pass.kernels.convert(pass.hidden, matrix.n, pass.T, matrix.n, inner);
    return inner;
  }
  const bool is_bf16 = next.dtype == Dtype::kBf16;
  const std::ptrdiff_t stride = inner.stride / (is_bf16 ? 2 : 4);
  pass.kernels.product(rows, pass.T, matrix,
                       {activation, is_bf16 ? Store::kBf16 : Store::kF32, nullptr, inner.data, stride});
  if (is_bf16 && matrix.n % 2 != 0) {
    for (int t = 0; t < pass.T; ++t) {
      static_cast<std::uint16_t*>(inner.data)[t * stride + matrix.n] = 0;
    }
  }
  return inner;
}

void low_rank(const Pass& pass, const Rows& rows, const LowRank& weights, Activation inner, Activation outer,
              float* out) {
  product(pass, product_rows(pass, rows, weights.down, inner, weights.up), weights.up, outer, weights.bias,
          out);
}

// Layer norm, token shift and lerps of all sequences; which matrix reads a lerp decides its dtype.
struct Lerp {
  const float* mu;
  const Matrix* reader;
};

void mix(Pass& pass, const Norm& norm, std::vector<float> State::* shift, std::ptrdiff_t layer,
         std::span<const Lerp> lerps) {
  kernels::Mix mix;
  mix.c = pass.C;
  mix.norm = norm;
  mix.n_lerps = static_cast<int>(lerps.size());
  mix.scratch = pass.row;
  for (std::size_t i = 0; i < lerps.size(); ++i) {
    mix.mu[i] = lerps[i].mu;
    pass.lerps[i] = rows_for(pass.lerps[i], *lerps[i].reader);
  }
  for (const Segment& segment : pass.segments) {
    mix.x = pass.x + std::ptrdiff_t(segment.begin) * pass.C;
    mix.m = segment.end - segment.begin;
    mix.shift = (segment.state->*shift).data() + layer * pass.C;
    for (std::size_t i = 0; i < lerps.size(); ++i) {
      Rows out = pass.lerps[i];
      out.data = static_cast<char*>(out.data) + segment.begin * out.stride;
      out.scale += segment.begin;
      out.zero += segment.begin;
      mix.out[i] = out;
    }
    pass.kernels.mix(mix);
  }
}

void recur(const Pass& pass, std::ptrdiff_t layer) {
  const std::ptrdiff_t N = pass.weights.config.head_size;
  const std::ptrdiff_t H = pass.C / N;
  for (const Segment& segment : pass.segments) {
    for (std::ptrdiff_t h = 0; h < H; ++h) {
      const std::ptrdiff_t place = std::ptrdiff_t(segment.begin) * pass.C + h * N;
      float* state = pass.wkv;
      if (segment.is_wkv_kept) {
        state = segment.state->wkv.data() + (layer * H + h) * N * N;
      } else {
        std::fill(state, state + N * N, 0.0F);
      }
      pass.kernels.wkv({segment.end - segment.begin, static_cast<int>(N), std::ptrdiff_t(pass.C),
                        pass.r + place, pass.w + place, pass.k + place, pass.v + place, pass.removal + place,
                        pass.a + place, pass.y + place, state});
    }
  }
}

void time_mix(Pass& pass, const Layer& layer, std::ptrdiff_t i) {
  const bool is_first = i == 0;
  const Lerp lerps[] = {{layer.x_r, &layer.receptance},   {layer.x_k, &layer.key},
                        {layer.x_v, &layer.value},        {layer.x_w, &layer.decay.down},
                        {layer.x_a, &layer.rate.down},    {layer.x_g, &layer.gate.down},
                        {layer.x_v, &layer.residual.down}};
  mix(pass, layer.ln1, &State::attention_shift, i, std::span(lerps).first(is_first ? 6U : 7U));
  const Rows* rows = pass.lerps;
  float* v = is_first ? pass.v_first : pass.v;
  product(pass, rows[0], layer.receptance, Activation::kNone, nullptr, pass.r);
  product(pass, rows[1], layer.key, Activation::kNone, nullptr, pass.k);
  product(pass, rows[2], layer.value, Activation::kNone, nullptr, v);
  low_rank(pass, rows[3], layer.decay, Activation::kTanh, Activation::kDecay, pass.w);
  low_rank(pass, rows[4], layer.rate, Activation::kNone, Activation::kSigmoid, pass.a);
  low_rank(pass, rows[5], layer.gate, Activation::kSigmoid, Activation::kNone, pass.g);
  if (!is_first) {
    low_rank(pass, rows[6], layer.residual, Activation::kNone, Activation::kSigmoid, pass.share);
  }
  const Config& config = pass.weights.config;
  pass.kernels.prepare({pass.T, pass.C, config.head_size, pass.r, pass.k, v, pass.a, pass.removal,
                        is_first ? nullptr : pass.v_first, pass.share, layer.k_k, layer.k_a, layer.r_k,
                        pass.bonus});
  std::swap(v, pass.v);
  recur(pass, i);
  const Rows out = rows_for(pass.inner, layer.output);
  pass.kernels.read_out(
      {pass.T, pass.C, config.head_size, pass.y, pass.v, pass.g, pass.bonus, layer.ln_x, out, pass.row});
  std::swap(v, pass.v);
  product(pass, out, layer.output, Activation::kNone, nullptr, pass.x, Store::kAddF32);
}

void channel_mix(Pass& pass, const Layer& layer, std::ptrdiff_t i) {
  const Lerp lerp[] = {{layer.ffn_x_k, &layer.ffn_key}};
  mix(pass, layer.ln2, &State::ffn_shift, i, lerp);
  const Rows inner =
      product_rows(pass, pass.lerps[0], layer.ffn_key, Activation::kSquaredRelu, layer.ffn_value);
  product(pass, inner, layer.ffn_value, Activation::kNone, nullptr, pass.x, Store::kAddF32);
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
  std::ptrdiff_t i = 0;
  for (const Layer& layer : weights.layers) {
    time_mix(pass, layer, i);
    channel_mix(pass, layer, i);
    ++i;
  }
  kernels.layer_norm(pass.x, pass.T, pass.C, weights.ln_out, pass.x);
  return pass.x;
}

}  // namespace gooseguard::model
