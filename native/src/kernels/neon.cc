// NEON, which every 64-bit ARM has.
#include <cstring>

#include "product.h"
#include "recurrence.h"
#include "rows.h"
#include "vector_neon.h"

namespace gooseguard::kernels {
namespace {

// A tile of 32 output channels is eight registers of sums, so three rows fill twenty-four of thirty-two.
constexpr std::size_t kParts = 8;

inline std::uint32_t four_bytes(const char* a) {
  std::uint32_t bytes = 0;
  std::memcpy(&bytes, a, 4);
  return bytes;
}

inline float32x4_t as_float(uint32x4_t bits) { return vreinterpretq_f32_u32(bits); }

inline uint32x4_t load_weights(const char* w) {
  return vreinterpretq_u32_u8(vld1q_u8(reinterpret_cast<const std::uint8_t*>(w)));
}

// How one group of input channels is added to a register of sums; int32 sums travel as the bits of floats.
struct AddF32 {
  static float32x4_t add(float32x4_t sum, uint32x4_t a, uint32x4_t w) {
    return vfmaq_f32(sum, as_float(a), as_float(w));
  }
};

// The upper half of 32 bits is the second channel of a group as a float, the lower half shifted up the first.
struct AddBf16 {
  static float32x4_t add(float32x4_t sum, uint32x4_t a, uint32x4_t w) {
    const uint32x4_t upper = vdupq_n_u32(0xFFFF0000U);
    sum = vfmaq_f32(sum, as_float(vshlq_n_u32(a, 16)), as_float(vshlq_n_u32(w, 16)));
    return vfmaq_f32(sum, as_float(vandq_u32(a, upper)), as_float(vandq_u32(w, upper)));
  }
};

// Signed times signed 8 bits fit 16 bits: 128 is taken off the activations here, and off the zero point in
// `scaled`.
struct AddInt8 {
  static float32x4_t add(float32x4_t sum, uint32x4_t a, uint32x4_t w) {
    const int8x16_t rows = veorq_s8(vreinterpretq_s8_u32(a), vdupq_n_s8(-128));
    const int8x16_t weights = vreinterpretq_s8_u32(w);
    const int32x4_t low = vpaddlq_s16(vmull_s8(vget_low_s8(rows), vget_low_s8(weights)));
    const int32x4_t high = vpaddlq_s16(vmull_high_s8(rows, weights));
    return vreinterpretq_f32_s32(vaddq_s32(vreinterpretq_s32_f32(sum), vpaddq_s32(low, high)));
  }
};

template <typename Add, std::size_t kRowCount>
void tile_sums(const char* a, std::ptrdiff_t lda, const char* w, long groups, void* sums) {
  float32x4_t sum[kRowCount][kParts];
  for (auto& row : sum) {
    for (auto& part : row) {
      part = vdupq_n_f32(0.0F);
    }
  }
  for (long group = 0; group < groups; ++group, a += 4, w += 128) {
    uint32x4_t rows[kRowCount];
    for (std::size_t i = 0; i < kRowCount; ++i) {
      rows[i] = vdupq_n_u32(four_bytes(a + static_cast<std::ptrdiff_t>(i) * lda));
    }
    for (std::size_t part = 0; part < kParts; ++part) {
      const uint32x4_t weights = load_weights(w + 16 * part);
      for (std::size_t i = 0; i < kRowCount; ++i) {
        sum[i][part] = Add::add(sum[i][part], rows[i], weights);
      }
    }
  }
  for (std::size_t i = 0; i < kRowCount; ++i) {
    for (std::size_t part = 0; part < kParts; ++part) {
      vst1q_f32(static_cast<float*>(sums) + i * kTile + 4 * part, sum[i][part]);
    }
  }
}

template <typename Add>
void quad_sums(const char* a, const char* w, std::ptrdiff_t step, long groups, void* sums) {
  for (int i = 0; i < 4; ++i) {
    tile_sums<Add, 1>(a, 0, w + i * step, groups, static_cast<float*>(sums) + i * kTile);
  }
}

struct Neon {
  static constexpr int kRows = 3;
  template <typename Add>
  static TileSums tile_of(int rows) {
    return rows == 1 ? tile_sums<Add, 1> : rows == 2 ? tile_sums<Add, 2> : tile_sums<Add, 3>;
  }
  static TileSums tile(Dtype dtype, int rows) {
    return dtype == Dtype::kF32    ? tile_of<AddF32>(rows)
           : dtype == Dtype::kBf16 ? tile_of<AddBf16>(rows)
                                   : tile_of<AddInt8>(rows);
  }
  static QuadSums quad(Dtype dtype) {
    return dtype == Dtype::kF32    ? quad_sums<AddF32>
           : dtype == Dtype::kBf16 ? quad_sums<AddBf16>
                                   : quad_sums<AddInt8>;
  }
  // Whether stored zeros leave sums as they are; of int8 128 is taken off first.
  static constexpr bool adds_nothing_for_zeros(Dtype dtype) { return dtype != Dtype::kInt8; }
  // What output channels have of their own in an int8 product.
  class Channels {
   public:
    Channels(const std::int32_t* weights, const float* scale)
        : weights_(vld1q_s32(weights)), scale_(vld1q_f32(scale)) {}
    // Whole numbers to floats, less those of the zero point, scaled.
    Vector scaled(const std::int32_t* sums, std::int32_t zero, float a) const {
      const int32x4_t value = vmlsq_n_s32(vld1q_s32(sums), weights_, zero - 128);
      return {vmulq_f32(vcvtq_f32_s32(value), vmulq_n_f32(scale_, a))};
    }

   private:
    int32x4_t weights_;
    float32x4_t scale_;
  };
};

}  // namespace

const Kernels& neon() {
  static constexpr Kernels kTable{"neon",             product<Neon, Vector>, mix<Vector>,
                                  prepare<Vector>,    wkv<Vector, 4>,        read_out<Vector>,
                                  layer_norm<Vector>, convert<Vector>,       lerp<Vector>,
                                  wkv6<Vector, 4>,    add_gated<Vector>};
  return kTable;
}

}  // namespace gooseguard::kernels
