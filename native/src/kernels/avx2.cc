// AVX2 with FMA (Haswell and up, Zen and up).
#include "recurrence.h"
#include "rows.h"
#include "tiles_avx2.h"

namespace gooseguard::kernels {

const Kernels& avx2() {
  static constexpr Kernels kTable{"avx2",             product<Avx2, Vector>, mix<Vector>,
                                  prepare<Vector>,    wkv<Vector, 2>,        read_out<Vector>,
                                  layer_norm<Vector>, convert<Vector>,       lerp<Vector>,
                                  wkv6<Vector, 4>,    add_gated<Vector>};
  return kTable;
}

}  // namespace gooseguard::kernels
