// 4 floats in a NEON register: what the templates of this folder ask of a vector type.
#pragma once

#include <arm_neon.h>

#include <cstdint>

namespace gooseguard::kernels {
namespace {

struct Vector {
  static constexpr int kLanes = 4;
  float32x4_t v;

  static Vector set(float x) { return {vdupq_n_f32(x)}; }
  static Vector load(const float* p) { return {vld1q_f32(p)}; }
  // The first n lanes, zeros beyond.
  static Vector load_first(const float* p, int n) {
    float lanes[4] = {};
    for (int i = 0; i < n; ++i) {
      lanes[i] = p[i];
    }
    return load(lanes);
  }
  void store(float* p) const { vst1q_f32(p, v); }
  void store_first(float* p, int n) const {
    float lanes[4];
    store(lanes);
    for (int i = 0; i < n; ++i) {
      p[i] = lanes[i];
    }
  }

  friend Vector operator+(Vector a, Vector b) { return {vaddq_f32(a.v, b.v)}; }
  friend Vector operator-(Vector a, Vector b) { return {vsubq_f32(a.v, b.v)}; }
  friend Vector operator*(Vector a, Vector b) { return {vmulq_f32(a.v, b.v)}; }
  static Vector fma(Vector a, Vector b, Vector c) { return {vfmaq_f32(c.v, a.v, b.v)}; }
  // A NaN in either gives one.
  static Vector min(Vector a, Vector b) { return {vminq_f32(a.v, b.v)}; }
  static Vector max(Vector a, Vector b) { return {vmaxq_f32(a.v, b.v)}; }
  static Vector round(Vector a) { return {vrndnq_f32(a.v)}; }
  static Vector reciprocal(Vector a) { return {vdivq_f32(vdupq_n_f32(1.0F), a.v)}; }
  // n is a whole number, -126 to 127.
  static Vector times_power_of_two(Vector a, Vector n) {
    const int32x4_t exponent = vaddq_s32(vcvtnq_s32_f32(n.v), vdupq_n_s32(127));
    return {vmulq_f32(a.v, vreinterpretq_f32_s32(vshlq_n_s32(exponent, 23)))};
  }

  static float sum(Vector a) { return vaddvq_f32(a.v); }
  static float lowest(Vector a) { return vminvq_f32(a.v); }
  static float highest(Vector a) { return vmaxvq_f32(a.v); }
  static std::int32_t nearest(float x) { return vcvtns_s32_f32(x); }

  // Nearest whole number + zero, held to 0..255.
  static void store_uint8(Vector a, std::int32_t zero, std::uint8_t* p) { store_uint8_first(a, zero, p, 4); }
  static void store_uint8_first(Vector a, std::int32_t zero, std::uint8_t* p, int n) {
    const int32x4_t whole = vaddq_s32(vcvtnq_s32_f32(a.v), vdupq_n_s32(zero));
    const uint16x4_t narrow = vqmovun_s32(whole);
    std::uint8_t bytes[8];
    vst1_u8(bytes, vqmovn_u16(vcombine_u16(narrow, narrow)));
    for (int i = 0; i < n; ++i) {
      p[i] = bytes[i];
    }
  }
  static void store_bf16(Vector a, std::uint16_t* p) { vst1_u16(p, to_bf16(a)); }
  static void store_bf16_first(Vector a, std::uint16_t* p, int n) {
    std::uint16_t bits[4];
    vst1_u16(bits, to_bf16(a));
    for (int i = 0; i < n; ++i) {
      p[i] = bits[i];
    }
  }

 private:
  // To nearest, ties to even; a NaN stays a quiet one.
  static uint16x4_t to_bf16(Vector a) {
    const uint32x4_t bits = vreinterpretq_u32_f32(a.v);
    const uint32x4_t odd = vandq_u32(vshrq_n_u32(bits, 16), vdupq_n_u32(1));
    const uint32x4_t rounded = vaddq_u32(bits, vaddq_u32(odd, vdupq_n_u32(0x7FFF)));
    const uint32x4_t quiet = vorrq_u32(bits, vdupq_n_u32(0x00400000));
    return vshrn_n_u32(vbslq_u32(vceqq_f32(a.v, a.v), rounded, quiet), 16);
  }
};

}  // namespace
}  // namespace gooseguard::kernels
