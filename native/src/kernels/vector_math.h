// exp, tanh and sigmoid over any vector type V of floats (see `vector_avx512.h` for what V has).
//
// Bounds, tested over all of float's range in `native/tests/test_kernels.cc`: sigmoid and decays are within
// 2e-7 of the exact value, tanh within 3.5e-7, silu within 2e-7 of it times the larger of x and 1. exp is exact to about 2 units in the last place on [-87.3, 88]
// and constant outside. A NaN gives a NaN.
//
// Source: range reduction and coefficients of exp: Cephes 2.2, `expf.c` (Moshier), a public-domain library.
#pragma once

#include "kernels.h"
#include "tables.h"

namespace gooseguard::kernels {
namespace {

template <typename V>
inline V exp(V x) {
  // The argument comes second: a NaN there comes out.
  x = V::min(V::set(88.0F), V::max(V::set(-87.3F), x));
  const V n = V::round(x * V::set(1.44269504088896341F));
  V f = V::fma(n, V::set(-0.693359375F), x);
  f = V::fma(n, V::set(2.12194440e-4F), f);
  V p = V::fma(V::set(1.9875691500e-4F), f, V::set(1.3981999507e-3F));
  p = V::fma(p, f, V::set(8.3334519073e-3F));
  p = V::fma(p, f, V::set(4.1665795894e-2F));
  p = V::fma(p, f, V::set(1.6666665459e-1F));
  p = V::fma(p, f, V::set(5.0000001201e-1F));
  p = V::fma(p, f * f, f + V::set(1.0F));
  return V::times_power_of_two(p, n);
}

template <typename V>
inline V sigmoid(V x) {
  return V::reciprocal(V::set(1.0F) + exp(V::set(0.0F) - x));
}

template <typename V>
inline V tanh(V x) {
  return V::fma(V::set(-2.0F), V::reciprocal(V::set(1.0F) + exp(x + x)), V::set(1.0F));
}

template <typename V>
inline V activated(Activation activation, V x) {
  switch (activation) {
    case Activation::kNone:
      return x;
    case Activation::kTanh:
      return tanh(x);
    case Activation::kSigmoid:
      return sigmoid(x);
    case Activation::kDecay:
      return exp(V::set(kDecayScale) * sigmoid(x));
    case Activation::kSquaredRelu: {
      const V positive = V::max(V::set(0.0F), x);
      return positive * positive;
    }
    case Activation::kSilu: {
      // Below, sigmoid is constant where x grows on. The argument comes second, as in exp.
      const V held = V::max(V::set(-87.3F), x);
      return held * sigmoid(held);
    }
    case Activation::kExpDecay:
      return exp(V::set(0.0F) - exp(x));
  }
  return x;
}

}  // namespace
}  // namespace gooseguard::kernels
