// AVX-512 with VNNI and BF16 (Zen 4 and up, Sapphire Rapids and up).
//
// The loops over input channels are assembly: GCC 12 keeps spilling the 24 accumulators of a tile when the
// same loop is written with intrinsics, which costs half of the speed.
#if defined(__GNUC__) && !defined(__clang__)
// GCC 12 takes its own intrinsics' "any value will do" for a mistake: https://gcc.gnu.org/PR105593
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

#include "product.h"
#include "recurrence.h"
#include "rows.h"
#include "vector_avx512.h"

namespace gooseguard::kernels {
namespace {

// A row of the tile: four bytes of activations to all lanes, times two registers of weights.
#define GG_ROW(op, low, high, address)                                             \
  "vpbroadcastd " address ", %%zmm29\n" op " %%zmm30, %%zmm29, %%zmm" #low "\n" op \
  " %%zmm31, %%zmm29, %%zmm" #high "\n"

#define GG_ROWS_1(op, at) GG_ROW(op, 0, 1, at "(%[a0])")
#define GG_ROWS_2(op, at) GG_ROWS_1(op, at) GG_ROW(op, 2, 3, at "(%[a0],%[lda])")
#define GG_ROWS_3(op, at) GG_ROWS_2(op, at) GG_ROW(op, 4, 5, at "(%[a0],%[lda],2)")
#define GG_ROWS_4(op, at) GG_ROWS_3(op, at) GG_ROW(op, 6, 7, at "(%[a3])")
#define GG_ROWS_5(op, at) GG_ROWS_4(op, at) GG_ROW(op, 8, 9, at "(%[a3],%[lda])")
#define GG_ROWS_6(op, at) GG_ROWS_5(op, at) GG_ROW(op, 10, 11, at "(%[a3],%[lda],2)")
#define GG_ROWS_7(op, at) GG_ROWS_6(op, at) GG_ROW(op, 12, 13, at "(%[a6])")
#define GG_ROWS_8(op, at) GG_ROWS_7(op, at) GG_ROW(op, 14, 15, at "(%[a6],%[lda])")
#define GG_ROWS_9(op, at) GG_ROWS_8(op, at) GG_ROW(op, 16, 17, at "(%[a6],%[lda],2)")
#define GG_ROWS_10(op, at) GG_ROWS_9(op, at) GG_ROW(op, 18, 19, at "(%[a9])")
#define GG_ROWS_11(op, at) GG_ROWS_10(op, at) GG_ROW(op, 20, 21, at "(%[a9],%[lda])")
#define GG_ROWS_12(op, at) GG_ROWS_11(op, at) GG_ROW(op, 22, 23, at "(%[a9],%[lda],2)")

#define GG_GROUP(rows, op, number)                               \
  "vmovups 128*" #number "(%[w]), %%zmm30\nvmovups 128*" #number \
  "+64(%[w]), %%zmm31\n" GG_ROWS_##rows(op, "4*" #number)

#define GG_ADVANCE(groups)                                                                           \
  "add $4*" #groups ", %[a0]\nadd $4*" #groups ", %[a3]\nadd $4*" #groups ", %[a6]\nadd $4*" #groups \
  ", %[a9]\nadd $128*" #groups ", %[w]\n"

#define GG_ACCUMULATORS                                                                                      \
  "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", \
      "xmm13", "xmm14", "xmm15", "xmm16", "xmm17", "xmm18", "xmm19", "xmm20", "xmm21", "xmm22", "xmm23",     \
      "xmm29", "xmm30", "xmm31"

// Add up `rows` rows of activations times one tile of weights over all groups; sums (rows, 32), aligned
// to 64.
#define GG_TILE(name, rows, op)                                                                             \
  void name##_##rows(const char* a, std::ptrdiff_t lda, const char* w, long groups, void* sums) {           \
    const char *a3 = a + 3 * lda, *a6 = a + 6 * lda, *a9 = a + 9 * lda;                                     \
    long fours = groups / 4, ones = groups % 4;                                                             \
    asm volatile(".irp r,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23\n"                 \
                     ".if \\r < 2*" #rows "\nvpxord %%zmm\\r, %%zmm\\r, %%zmm\\r\n.endif\n.endr\n"             \
                     "test %[fours], %[fours]\njz 2f\n"                                                       \
                     ".p2align 5\n1:\n" GG_GROUP(rows, op, 0) GG_GROUP(rows, op, 1) GG_GROUP(rows, op, 2)     \
                         GG_GROUP(rows, op, 3) GG_ADVANCE(4) "dec %[fours]\njnz 1b\n"                         \
                     "2:\ntest %[ones], %[ones]\njz 4f\n"                                                     \
                     "3:\n" GG_GROUP(rows, op, 0) GG_ADVANCE(1) "dec %[ones]\njnz 3b\n"                       \
                     "4:\n.irp r,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23\n"             \
                     ".if \\r < 2*" #rows "\nvmovaps %%zmm\\r, 64*\\r(%[sums])\n.endif\n.endr\n"              \
                     : [a0] "+r"(a), [a3] "+r"(a3), [a6] "+r"(a6), [a9] "+r"(a9), [w] "+r"(w),                \
                       [fours] "+r"(fours), [ones] "+r"(ones)                                                 \
                     : [lda] "r"(lda), [sums] "r"(sums)                                                       \
                     : "memory", "cc", GG_ACCUMULATORS); \
  }

#define GG_TILES(name, op)                                                                   \
  GG_TILE(name, 1, op)                                                                       \
  GG_TILE(name, 2, op)                                                                       \
  GG_TILE(name, 3, op)                                                                       \
  GG_TILE(name, 4, op)                                                                       \
  GG_TILE(name, 5, op)                                                                       \
  GG_TILE(name, 6, op)                                                                       \
  GG_TILE(name, 7, op)                                                                       \
  GG_TILE(name, 8, op)                                                                       \
  GG_TILE(name, 9, op)                                                                       \
  GG_TILE(name, 10, op)                                                                      \
  GG_TILE(name, 11, op)                                                                      \
  GG_TILE(name, 12, op)                                                                      \
  constexpr TileSums name[] = {name##_1, name##_2, name##_3, name##_4,  name##_5,  name##_6, \
                               name##_7, name##_8, name##_9, name##_10, name##_11, name##_12};

GG_TILES(f32_tiles, "vfmadd231ps")
GG_TILES(bf16_tiles, "vdpbf16ps")
GG_TILES(int8_tiles, "vpdpbusd")

// One row times four tiles at once, `step` bytes apart: with one tile, every sum would wait for the one
// before.
#define GG_QUAD_TILE(op, low, high, at) \
  op " " at ", %%zmm29, %%zmm" #low "\n" op " 64" at ", %%zmm29, %%zmm" #high "\n"

#define GG_QUAD(name, op)                                                                                    \
  void name##_quad(const char* a, const char* w, std::ptrdiff_t step, long groups, void* sums) {             \
    const char* w3 = w + 3 * step;                                                                           \
    asm volatile(".irp r,0,1,2,3,4,5,6,7\nvpxord %%zmm\\r, %%zmm\\r, %%zmm\\r\n.endr\n"                    \
                     "test %[groups], %[groups]\njz 2f\n.p2align 5\n"                                         \
                     "1:\nvpbroadcastd (%[a]), %%zmm29\n"                                                     \
                     GG_QUAD_TILE(op, 0, 1, "(%[w])") GG_QUAD_TILE(op, 2, 3, "(%[w],%[step])")                \
                     GG_QUAD_TILE(op, 4, 5, "(%[w],%[step],2)") GG_QUAD_TILE(op, 6, 7, "(%[w3])")             \
                     "add $4, %[a]\nadd $128, %[w]\nadd $128, %[w3]\ndec %[groups]\njnz 1b\n"                 \
                     "2:\n.irp r,0,1,2,3,4,5,6,7\nvmovaps %%zmm\\r, 64*\\r(%[sums])\n.endr\n"                 \
                     : [a] "+r"(a), [w] "+r"(w), [w3] "+r"(w3), [groups] "+r"(groups)                         \
                     : [step] "r"(step), [sums] "r"(sums)                                                     \
                     : "memory", "cc", GG_ACCUMULATORS); \
  }

GG_QUAD(f32_tiles, "vfmadd231ps")
GG_QUAD(bf16_tiles, "vdpbf16ps")
GG_QUAD(int8_tiles, "vpdpbusd")

struct Avx512 {
  static constexpr int kRows = 12;
  static TileSums tile(Dtype dtype, int rows) {
    const TileSums* tiles = dtype == Dtype::kF32    ? f32_tiles
                            : dtype == Dtype::kBf16 ? bf16_tiles
                                                    : int8_tiles;
    return tiles[rows - 1];
  }
  static QuadSums quad(Dtype dtype) {
    return dtype == Dtype::kF32 ? f32_tiles_quad : dtype == Dtype::kBf16 ? bf16_tiles_quad : int8_tiles_quad;
  }
  // Whether stored zeros leave sums as they are.
  static constexpr bool adds_nothing_for_zeros(Dtype) { return true; }
  // What output channels have of their own in an int8 product.
  class Channels {
   public:
    Channels(const std::int32_t* weights, const float* scale)
        : weights_(_mm512_loadu_si512(weights)), scale_(_mm512_loadu_ps(scale)) {}
    // Whole numbers to floats, less those of the zero point, scaled.
    Vector scaled(const std::int32_t* sums, std::int32_t zero, float a) const {
      const __m512i offset = _mm512_mullo_epi32(_mm512_set1_epi32(zero), weights_);
      const __m512 value = _mm512_cvtepi32_ps(_mm512_sub_epi32(_mm512_load_si512(sums), offset));
      return {_mm512_mul_ps(value, _mm512_mul_ps(_mm512_set1_ps(a), scale_))};
    }

   private:
    __m512i weights_;
    __m512 scale_;
  };
};

}  // namespace

const Kernels& avx512() {
  static constexpr Kernels kTable{"avx512",           product<Avx512, Vector>, mix<Vector>,
                                  prepare<Vector>,    wkv<Vector, 4>,          read_out<Vector>,
                                  layer_norm<Vector>, convert<Vector>,       lerp<Vector>,
                                  wkv6<Vector, 4>,    add_gated<Vector>};
  return kTable;
}

}  // namespace gooseguard::kernels
