// Tiles of AVX2, with or without VNNI: 32 output channels are four registers, so three rows fill twelve of
// the sixteen with sums.
#pragma once

#include <cstring>

#include "product.h"
#include "vector_avx2.h"

namespace gooseguard::kernels {
namespace {

inline __m256i four_bytes(const char* a) {
  int bytes = 0;
  std::memcpy(&bytes, a, 4);
  return _mm256_set1_epi32(bytes);
}

inline __m256i load_bytes(const char* w) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(w)); }

// How one group of input channels is added to a register of sums; int32 sums travel as the bits of floats.
struct AddF32 {
  static __m256 zero() { return _mm256_setzero_ps(); }
  static __m256 add(__m256 sum, __m256i a, __m256i w) {
    return _mm256_fmadd_ps(_mm256_castsi256_ps(a), _mm256_castsi256_ps(w), sum);
  }
};

// The upper half of 32 bits is the second channel of a group as a float, the lower half shifted up the first.
struct AddBf16 {
  static __m256 zero() { return _mm256_setzero_ps(); }
  static __m256 add(__m256 sum, __m256i a, __m256i w) {
    const __m256i upper = _mm256_set1_epi32(static_cast<int>(0xFFFF0000U));
    sum = _mm256_fmadd_ps(_mm256_castsi256_ps(_mm256_slli_epi32(a, 16)),
                          _mm256_castsi256_ps(_mm256_slli_epi32(w, 16)), sum);
    return _mm256_fmadd_ps(_mm256_castsi256_ps(_mm256_and_si256(a, upper)),
                           _mm256_castsi256_ps(_mm256_and_si256(w, upper)), sum);
  }
};

// Products of 8 bits in pairs would overflow 16 signed bits in `maddubs`, so both sides are widened first.
struct AddInt8 {
  static __m256 zero() { return _mm256_setzero_ps(); }
  static __m256 add(__m256 sum, __m256i a, __m256i w) {
#if defined(__AVXVNNI__)
    return _mm256_castsi256_ps(_mm256_dpbusd_avx_epi32(_mm256_castps_si256(sum), a, w));
#else
    const __m256i wide = _mm256_cvtepu8_epi16(_mm256_castsi256_si128(a));
    const __m256i low = _mm256_madd_epi16(wide, _mm256_cvtepi8_epi16(_mm256_castsi256_si128(w)));
    const __m256i high = _mm256_madd_epi16(wide, _mm256_cvtepi8_epi16(_mm256_extracti128_si256(w, 1)));
    // Two halves of each channel side by side; hadd leaves channels 0 1 4 5 2 3 6 7, which is put in order.
    const __m256i whole = _mm256_permute4x64_epi64(_mm256_hadd_epi32(low, high), _MM_SHUFFLE(3, 1, 2, 0));
    return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(sum), whole));
#endif
  }
};

template <typename Add, std::size_t kRowCount>
void tile_sums(const char* a, std::ptrdiff_t lda, const char* w, long groups, void* sums) {
  __m256 sum[kRowCount][4];
  for (auto& row : sum) {
    for (auto& part : row) {
      part = Add::zero();
    }
  }
  for (long group = 0; group < groups; ++group, a += 4, w += 128) {
    __m256i rows[kRowCount];
    for (std::size_t i = 0; i < kRowCount; ++i) {
      rows[i] = four_bytes(a + static_cast<std::ptrdiff_t>(i) * lda);
    }
    for (std::size_t part = 0; part < 4; ++part) {
      const __m256i weights = load_bytes(w + 32 * part);
      for (std::size_t i = 0; i < kRowCount; ++i) {
        sum[i][part] = Add::add(sum[i][part], rows[i], weights);
      }
    }
  }
  for (std::size_t i = 0; i < kRowCount; ++i) {
    for (std::size_t part = 0; part < 4; ++part) {
      _mm256_storeu_ps(static_cast<float*>(sums) + i * kTile + 8 * part, sum[i][part]);
    }
  }
}

template <typename Add>
void quad_sums(const char* a, const char* w, std::ptrdiff_t step, long groups, void* sums) {
  // Two tiles at a time: eight sums wait for none of each other.
  for (int pair = 0; pair < 2; ++pair) {
    __m256 sum[8];
    for (auto& part : sum) {
      part = Add::zero();
    }
    const char* first = w + 2 * pair * step;
    for (long group = 0; group < groups; ++group) {
      const __m256i row = four_bytes(a + 4 * group);
      for (std::size_t part = 0; part < 4; ++part) {
        sum[part] = Add::add(sum[part], row, load_bytes(first + 128 * group + 32 * part));
        sum[4 + part] = Add::add(sum[4 + part], row, load_bytes(first + step + 128 * group + 32 * part));
      }
    }
    for (std::size_t part = 0; part < 8; ++part) {
      _mm256_storeu_ps(static_cast<float*>(sums) + 2 * pair * kTile + 8 * part, sum[part]);
    }
  }
}

struct Avx2 {
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
  // Whether stored zeros leave sums as they are.
  static constexpr bool adds_nothing_for_zeros(Dtype) { return true; }
  // What output channels have of their own in an int8 product.
  class Channels {
   public:
    Channels(const std::int32_t* weights, const float* scale)
        : weights_(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(weights))),
          scale_(_mm256_loadu_ps(scale)) {}
    // Whole numbers to floats, less those of the zero point, scaled.
    Vector scaled(const std::int32_t* sums, std::int32_t zero, float a) const {
      const __m256i offset = _mm256_mullo_epi32(_mm256_set1_epi32(zero), weights_);
      const __m256i sum = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(sums));
      const __m256 value = _mm256_cvtepi32_ps(_mm256_sub_epi32(sum, offset));
      return {_mm256_mul_ps(value, _mm256_mul_ps(_mm256_set1_ps(a), scale_))};
    }

   private:
    __m256i weights_;
    __m256 scale_;
  };
};

}  // namespace
}  // namespace gooseguard::kernels
