// 16 floats in an AVX-512 register: what the templates of this folder ask of a vector type.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace gooseguard::kernels {
namespace {

struct Vector {
  static constexpr int kLanes = 16;
  __m512 v;

  static Vector set(float x) { return {_mm512_set1_ps(x)}; }
  static Vector load(const float* p) { return {_mm512_loadu_ps(p)}; }
  // The first n lanes, zeros beyond.
  static Vector load_first(const float* p, int n) { return {_mm512_maskz_loadu_ps(mask(n), p)}; }
  void store(float* p) const { _mm512_storeu_ps(p, v); }
  void store_first(float* p, int n) const { _mm512_mask_storeu_ps(p, mask(n), v); }

  friend Vector operator+(Vector a, Vector b) { return {_mm512_add_ps(a.v, b.v)}; }
  friend Vector operator-(Vector a, Vector b) { return {_mm512_sub_ps(a.v, b.v)}; }
  friend Vector operator*(Vector a, Vector b) { return {_mm512_mul_ps(a.v, b.v)}; }
  static Vector fma(Vector a, Vector b, Vector c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
  // Both give the second where one of the two is a NaN.
  static Vector min(Vector a, Vector b) { return {_mm512_min_ps(a.v, b.v)}; }
  static Vector max(Vector a, Vector b) { return {_mm512_max_ps(a.v, b.v)}; }
  static Vector round(Vector a) {
    return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
  }
  // Of numbers from 1 up; an estimate of 14 bits and one step of Newton's.
  static Vector reciprocal(Vector a) {
    const __m512 estimate = _mm512_rcp14_ps(a.v);
    return {_mm512_mul_ps(estimate, _mm512_fnmadd_ps(a.v, estimate, _mm512_set1_ps(2.0F)))};
  }
  static Vector times_power_of_two(Vector a, Vector n) { return {_mm512_scalef_ps(a.v, n.v)}; }

  static float sum(Vector a) { return _mm512_reduce_add_ps(a.v); }
  static float lowest(Vector a) { return _mm512_reduce_min_ps(a.v); }
  static float highest(Vector a) { return _mm512_reduce_max_ps(a.v); }
  static std::int32_t nearest(float x) { return _mm_cvtss_si32(_mm_set_ss(x)); }

  // Nearest whole number + zero, held to 0..255.
  static void store_uint8(Vector a, std::int32_t zero, std::uint8_t* p) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), to_uint8(a, zero));
  }
  static void store_uint8_first(Vector a, std::int32_t zero, std::uint8_t* p, int n) {
    _mm_mask_storeu_epi8(p, mask(n), to_uint8(a, zero));
  }
  static void store_bf16(Vector a, std::uint16_t* p) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), to_bf16(a));
  }
  static void store_bf16_first(Vector a, std::uint16_t* p, int n) {
    _mm256_mask_storeu_epi16(p, mask(n), to_bf16(a));
  }

 private:
  static __mmask16 mask(int n) { return static_cast<__mmask16>((1U << n) - 1U); }
  static __m128i to_uint8(Vector a, std::int32_t zero) {
    const __m512i whole = _mm512_add_epi32(_mm512_cvtps_epi32(a.v), _mm512_set1_epi32(zero));
    return _mm512_cvtusepi32_epi8(_mm512_max_epi32(whole, _mm512_setzero_si512()));
  }
  static __m256i to_bf16(Vector a) { return reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(a.v)); }
};

}  // namespace
}  // namespace gooseguard::kernels
