// The tables that `dispatch.cc` chooses from, and constants of the formulas.
#pragma once

#include "kernels.h"

namespace gooseguard::kernels {

// The least length a removal key is divided by. Source: default `eps` of `torch.nn.functional.normalize`.
inline constexpr float kNormFloor = 1e-12F;

const Kernels& scalar();
#if defined(GOOSEGUARD_HAS_AVX2)
const Kernels& avx2();
#endif
#if defined(GOOSEGUARD_HAS_AVX2VNNI)
const Kernels& avx2vnni();
#endif
#if defined(GOOSEGUARD_HAS_AVX512)
const Kernels& avx512();
#endif
#if defined(GOOSEGUARD_HAS_NEON)
const Kernels& neon();
#endif

}  // namespace gooseguard::kernels
