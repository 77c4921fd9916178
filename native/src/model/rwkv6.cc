// The layers of RWKV-6 and RWKV-5.2, which differ in how inputs are lerped and in where decays come from.
#include "pass.h"

namespace gooseguard::model {
namespace {

using kernels::Activation;
using kernels::Matrix;
using kernels::Rows;
using kernels::Store;

// RWKV-6: what every token adds to its lerps, before it is spread over the channels.
void share_out(Pass& pass, const EarlierLayer& layer, std::ptrdiff_t i) {
  const Lerp lerp[] = {{layer.x_x, &layer.mix_down}};
  mix(pass, layer.ln1, &State::attention_shift, i, lerp, true);
  product(pass, pass.lerps[0], layer.mix_down, Activation::kTanh, nullptr, pass.shares);
}

// RWKV-6: the input of one product, lerped as each token says.
Rows mixed(const Pass& pass, const EarlierLayer& layer, Input input, const Matrix& reader) {
  const Matrix& up = layer.mix_up[input];
  const Rows share = rows_for(pass.inner, up);
  const std::ptrdiff_t rank = up.k;
  pass.kernels.convert(pass.shares + input * rank, kInputs * rank, pass.T, up.k, share);
  product(pass, share, up, Activation::kNone, layer.x[input], pass.mu);
  const Rows out = rows_for(pass.lerps[0], reader);
  pass.kernels.lerp({pass.T, pass.C, pass.normed, pass.difference, pass.mu, out, pass.row});
  return out;
}

void project(Pass& pass, const EarlierLayer& layer, std::ptrdiff_t i) {
  const struct {
    Input input;
    const Matrix& matrix;
    Activation activation;
    float* out;
  } products[] = {{kKey, layer.key, Activation::kNone, pass.k},
                  {kValue, layer.value, Activation::kNone, pass.v},
                  {kReceptance, layer.receptance, Activation::kNone, pass.r},
                  {kGate, layer.gate, Activation::kSilu, pass.g}};
  if (pass.weights.config.version == Version::kX060) {
    share_out(pass, layer, i);
    for (const auto& [input, matrix, activation, out] : products) {
      product(pass, mixed(pass, layer, input, matrix), matrix, activation, nullptr, out);
    }
    low_rank(pass, mixed(pass, layer, kDecay, layer.decay.down), layer.decay, Activation::kTanh,
             Activation::kExpDecay, pass.w);
    return;
  }
  const Lerp lerps[] = {{layer.x[kKey], &layer.key},
                        {layer.x[kValue], &layer.value},
                        {layer.x[kReceptance], &layer.receptance},
                        {layer.x[kGate], &layer.gate}};
  mix(pass, layer.ln1, &State::attention_shift, i, lerps);
  const Rows* rows = pass.lerps;
  for (const auto& [input, matrix, activation, out] : products) {
    product(pass, *rows++, matrix, activation, nullptr, out);
  }
}

void time_mix(Pass& pass, const EarlierLayer& layer, std::ptrdiff_t i) {
  project(pass, layer, i);
  const int N = pass.weights.config.head_size;
  const std::ptrdiff_t C = pass.C;
  each_head(pass, i, [&](const Segment& segment, std::ptrdiff_t place, std::ptrdiff_t channel, float* state) {
    const bool is_fixed = layer.decays != nullptr;
    pass.kernels.wkv6({segment.end - segment.begin, N, C, is_fixed ? 0 : C, pass.r + place,
                       is_fixed ? layer.decays + channel : pass.w + place, pass.k + place, pass.v + place,
                       layer.u + channel, pass.y + place, state, pass.bonus});
  });
  const Rows out = rows_for(pass.inner, layer.output);
  pass.kernels.read_out(
      {pass.T, pass.C, N, pass.y, pass.v, pass.g, nullptr, layer.ln_x, out, pass.row});
  product(pass, out, layer.output, Activation::kNone, nullptr, pass.x, Store::kAddF32);
}

void channel_mix(Pass& pass, const EarlierLayer& layer, std::ptrdiff_t i) {
  const Lerp lerps[] = {{layer.ffn_x_k, &layer.ffn_key}, {layer.ffn_x_r, &layer.ffn_receptance}};
  mix(pass, layer.ln2, &State::ffn_shift, i, lerps);
  const Rows inner =
      product_rows(pass, pass.lerps[0], layer.ffn_key, Activation::kSquaredRelu, layer.ffn_value);
  product(pass, inner, layer.ffn_value, Activation::kNone, nullptr, pass.v);
  product(pass, pass.lerps[1], layer.ffn_receptance, Activation::kSigmoid, nullptr, pass.r);
  pass.kernels.add_gated(pass.r, pass.v, std::ptrdiff_t(pass.T) * pass.C, pass.x);
}

}  // namespace

void run_layer(Pass& pass, const EarlierLayer& layer, std::ptrdiff_t i) {
  time_mix(pass, layer, i);
  channel_mix(pass, layer, i);
}

}  // namespace gooseguard::model
