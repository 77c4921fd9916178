// AVX2 with AVX-VNNI (Alder Lake and up, Zen 5 and up).
#include "recurrence.h"
#include "rows.h"
#include "tiles_avx2.h"

namespace gooseguard::kernels {

const Kernels& avx2vnni() {
  static constexpr Kernels kTable{"avx2vnni",         product<Avx2, Vector>, mix<Vector>,
                                  prepare<Vector>,    wkv<Vector, 2>,        read_out<Vector>,
                                  layer_norm<Vector>, convert<Vector>,       lerp<Vector>,
                                  wkv6<Vector, 4>,    add_gated<Vector>};
  return kTable;
}

}  // namespace gooseguard::kernels
