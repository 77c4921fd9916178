// The layers of RWKV-7.
#include <utility>

#include "pass.h"

namespace gooseguard::model {
namespace {

using kernels::Activation;
using kernels::Rows;
using kernels::Store;

void recur(const Pass& pass, std::ptrdiff_t layer) {
  const int N = pass.weights.config.head_size;
  each_head(pass, layer, [&](const Segment& segment, std::ptrdiff_t place, std::ptrdiff_t, float* state) {
    pass.kernels.wkv({segment.end - segment.begin, N, std::ptrdiff_t(pass.C), pass.r + place, pass.w + place,
                      pass.k + place, pass.v + place, pass.removal + place, pass.a + place, pass.y + place,
                      state});
  });
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

// Rows of the channel mix that go through it at once, a multiple of a tile's 12, and up to which size of its
// weights: then weights and the rows between the two products stay in the second-level cache.
constexpr int kChannelMixRows = 48;
constexpr std::ptrdiff_t kChannelMixBytes = 1 << 20;

void channel_mix(Pass& pass, const Layer& layer, std::ptrdiff_t i) {
  const Lerp lerp[] = {{layer.ffn_x_k, &layer.ffn_key}};
  mix(pass, layer.ln2, &State::ffn_shift, i, lerp);
  const kernels::Matrix& up = layer.ffn_key;
  const bool is_small = 2 * kernels::tile_bytes(up.dtype, up.n, up.k) <= kChannelMixBytes;
  const int step = is_small ? kChannelMixRows : pass.T;
  Pass part = pass;
  for (int first = 0; first < pass.T; first += step) {
    part.T = std::min(step, pass.T - first);
    const Rows inner = product_rows(part, kernels::rows_from(pass.lerps[0], first), layer.ffn_key,
                                    Activation::kSquaredRelu, layer.ffn_value);
    product(part, inner, layer.ffn_value, Activation::kNone, nullptr,
            pass.x + std::ptrdiff_t(first) * pass.C, Store::kAddF32);
  }
}

}  // namespace

void run_layer(Pass& pass, const Layer& layer, std::ptrdiff_t i) {
  time_mix(pass, layer, i);
  channel_mix(pass, layer, i);
}

}  // namespace gooseguard::model
