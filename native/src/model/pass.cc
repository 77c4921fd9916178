#include "pass.h"

namespace gooseguard::model {

using kernels::Activation;
using kernels::Dtype;
using kernels::Matrix;
using kernels::Rows;
using kernels::Store;

Rows rows_for(Rows rows, const Matrix& matrix) {
  rows.dtype = matrix.dtype;
  rows.stride = kernels::row_bytes(matrix.dtype, matrix.k);
  return rows;
}

void product(const Pass& pass, const Rows& rows, const Matrix& matrix, Activation activation,
             const float* bias, float* out, Store store) {
  pass.kernels.product(rows, pass.T, matrix, {activation, store, bias, out, std::ptrdiff_t(matrix.n)});
}

Rows product_rows(const Pass& pass, const Rows& rows, const Matrix& matrix, Activation activation,
                  const Matrix& next) {
  Rows inner = rows_for(pass.inner, next);
  inner.spare = activation == Activation::kSquaredRelu ? pass.spare : nullptr;
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

void mix(Pass& pass, const kernels::Norm& norm, std::vector<float> State::* shift, std::ptrdiff_t layer,
         std::span<const Lerp> lerps, bool keeps_inputs) {
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
    const std::ptrdiff_t place = std::ptrdiff_t(segment.begin) * pass.C;
    mix.x = pass.x + place;
    mix.m = segment.end - segment.begin;
    mix.shift = (segment.state->*shift).data() + layer * pass.C;
    mix.normed = keeps_inputs ? pass.normed + place : nullptr;
    mix.difference = keeps_inputs ? pass.difference + place : nullptr;
    for (std::size_t i = 0; i < lerps.size(); ++i) {
      mix.out[i] = kernels::rows_from(pass.lerps[i], segment.begin);
    }
    pass.kernels.mix(mix);
  }
}

}  // namespace gooseguard::model
