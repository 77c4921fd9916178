// The kernels of the engine: plain memory in, plain memory out. They know no model and check nothing; whoever
// calls them has. Every instruction set fills one table of the same functions; `scalar.cc` says what they
// mean.
//
// Letters: M rows (tokens), K input channels, N output channels of a product; C width of the residual stream.
#pragma once

#include <cstddef>
#include <cstdint>

namespace gooseguard::kernels {

// Output channels of one tile. A matrix is stored as tiles, one after another, N rounded up with zeros;
// inside a tile come groups of input channels (1 of f32, 2 of bf16, 4 of int8: four bytes of a row of
// activations), K rounded up with zeros, and inside a group the channels of the tile, each with its group
// side by side. All kernels of all instruction sets read this one layout.
inline constexpr int kTile = 32;

enum class Dtype : std::uint8_t { kF32, kBf16, kInt8 };

// Input channels of a group.
constexpr int group_size(Dtype dtype) { return dtype == Dtype::kF32 ? 1 : dtype == Dtype::kBf16 ? 2 : 4; }

constexpr int n_groups(Dtype dtype, int k) { return (k + group_size(dtype) - 1) / group_size(dtype); }

// Bytes of one row of activations, padding included, and of the tiles of a matrix.
constexpr std::ptrdiff_t row_bytes(Dtype dtype, int k) { return std::ptrdiff_t{4} * n_groups(dtype, k); }
constexpr std::ptrdiff_t tile_bytes(Dtype dtype, int n, int k) {
  return row_bytes(dtype, k) * kTile * ((n + kTile - 1) / kTile);
}

// Activations as a product reads them: M rows, `stride` bytes apart, what pads a row zero. An int8 value is
// scale * (stored - zero), stored unsigned.
struct Rows {
  Dtype dtype = Dtype::kF32;
  void* data = nullptr;
  std::ptrdiff_t stride = 0;
  float* scale = nullptr;        // (M), int8 only
  std::int32_t* zero = nullptr;  // (M), int8 only
  // Memory of kSpareRows rows, where many values are zero: the product may then leave out groups of input
  // channels that are zero in all rows of a tile, which changes no bit of a sum of finite weights.
  void* spare = nullptr;
};

// The rows of a tile (12), the weights of four tiles of half of the groups (4 * 32 / 2), and which groups they
// are.
inline constexpr int kSpareRows = 12 + 64 + 1;

// The rows from `first` on.
inline Rows rows_from(Rows rows, std::ptrdiff_t first) {
  rows.data = static_cast<char*>(rows.data) + first * rows.stride;
  rows.scale += first;
  rows.zero += first;
  return rows;
}

// Weights as a product reads them. An int8 weight is scale * stored, stored signed.
struct Matrix {
  Dtype dtype = Dtype::kF32;
  int n = 0;
  int k = 0;
  const void* tiles = nullptr;
  const float* scale = nullptr;        // (N rounded up), int8 only
  const std::int32_t* sums = nullptr;  // (N rounded up), int8 only: stored weights of a channel added up
};

// kDecay is that of RWKV-7, exp(kDecayScale * sigmoid(x)); kExpDecay that of RWKV-6, exp(-exp(x)); kSilu is
// x * sigmoid(x).
enum class Activation : std::uint8_t { kNone, kTanh, kSigmoid, kDecay, kSquaredRelu, kSilu, kExpDecay };

// -exp(-0.5) as RWKV-LM writes it.
inline constexpr float kDecayScale = -0.606531F;

enum class Store : std::uint8_t { kF32, kAddF32, kBf16 };

// What happens to a product before it is written: out = activation(product + bias), or added to what is
// there.
struct Epilogue {
  Activation activation = Activation::kNone;
  Store store = Store::kF32;
  const float* bias = nullptr;  // (N), or none
  void* out = nullptr;
  std::ptrdiff_t stride = 0;  // elements between rows of `out`
};

struct Norm {
  const float* weight = nullptr;  // (C)
  const float* bias = nullptr;    // (C)
  float epsilon = 0;
};

inline constexpr int kMaxLerps = 7;

// Lerps of one dtype that are made at once.
inline constexpr int kLerpsAtOnce = 3;

// One sequence's rows: layer norm, then for each lerp  n + (previous n - n) * mu  in the dtype of its
// product.
struct Mix {
  const float* x = nullptr;  // (M, C)
  int m = 0;
  int c = 0;
  Norm norm;
  float* shift = nullptr;  // (C): the normalised row before the first; becomes the last one
  int n_lerps = 0;
  const float* mu[kMaxLerps] = {};  // (C) each
  Rows out[kMaxLerps] = {};
  float* scratch = nullptr;  // (2 + kLerpsAtOnce, C)
  // (M, C), written, or none: the normalised rows, and previous n - n, for lerps that depend on the token.
  float* normed = nullptr;
  float* difference = nullptr;
};

// A lerp that depends on the token, of what `Mix` wrote: normed + difference * mu, in the dtype of its product.
struct Lerp {
  int m = 0;
  int c = 0;
  const float* normed = nullptr;      // (M, C)
  const float* difference = nullptr;  // (M, C)
  const float* mu = nullptr;          // (M, C)
  Rows out;
  float* scratch = nullptr;  // (C)
};

// Keys and values made ready for the recurrence; all (M, C) but where said.
struct Prepare {
  int m = 0;
  int c = 0;
  int head = 0;  // width N of one head
  const float* r = nullptr;
  float* k = nullptr;              // becomes k * (1 + (a - 1) * k_a)
  float* v = nullptr;              // becomes v + (v_first - v) * share, unless v_first is none
  float* a = nullptr;              // rate; becomes kk * a
  float* removal = nullptr;        // written: -kk
  const float* v_first = nullptr;  // values of layer 0, or none
  const float* share = nullptr;
  const float* k_k = nullptr;  // (C)
  const float* k_a = nullptr;  // (C)
  const float* r_k = nullptr;  // (C)
  float* bonus = nullptr;      // (M, H), written: sum of r * k * r_k
};

// The recurrence of one head of one sequence: S = S diag(w) + (S a) b^T + v k^T,  y = S r.
struct Wkv {
  int m = 0;
  int head = 0;
  std::ptrdiff_t stride = 0;  // elements between rows of all arrays
  const float* r = nullptr;
  const float* w = nullptr;
  const float* k = nullptr;
  const float* v = nullptr;
  const float* a = nullptr;  // -kk
  const float* b = nullptr;  // kk * rate
  float* y = nullptr;        // memory of its own
  float* state = nullptr;    // (N, N), [key index, value index]; updated
};

// The recurrence of RWKV-6 and RWKV-5.2, one head of one sequence: y = S r + (sum of r * u * k) v,  then
// S = S diag(w) + v k^T.
struct Wkv6 {
  int m = 0;
  int head = 0;
  std::ptrdiff_t stride = 0;    // elements between rows of all arrays but w
  std::ptrdiff_t w_stride = 0;  // elements between rows of w; 0 where all tokens have the same decays
  const float* r = nullptr;
  const float* w = nullptr;
  const float* k = nullptr;
  const float* v = nullptr;
  const float* u = nullptr;  // (N)
  float* y = nullptr;        // memory of its own
  float* state = nullptr;    // (N, N), [key index, value index]; updated
  float* scratch = nullptr;  // (M)
};

// out = (group norm of y's heads + bonus * v) * g, in the dtype of the product that reads it.
struct ReadOut {
  int m = 0;
  int c = 0;
  int head = 0;
  const float* y = nullptr;
  const float* v = nullptr;
  const float* g = nullptr;
  const float* bonus = nullptr;  // (M, H), or none: then nothing of v is added
  Norm norm;
  Rows out;
  float* scratch = nullptr;  // (C)
};

// One instruction set.
struct Kernels {
  const char* name;
  void (*product)(const Rows& rows, int m, const Matrix& matrix, const Epilogue& epilogue);
  void (*mix)(const Mix& mix);
  void (*prepare)(const Prepare& prepare);
  void (*wkv)(const Wkv& wkv);
  void (*read_out)(const ReadOut& read_out);
  // x (M, C) to its layer norm, out (M, C); they may be the same memory.
  void (*layer_norm)(const float* x, int m, int c, const Norm& norm, float* out);
  // x (M, K) to rows of any dtype.
  void (*convert)(const float* x, std::ptrdiff_t stride, int m, int k, const Rows& out);
  void (*lerp)(const Lerp& lerp);
  void (*wkv6)(const Wkv6& wkv);
  // Adds gate * value to x, n each.
  void (*add_gated)(const float* gate, const float* value, std::ptrdiff_t n, float* x);
};

// The table of `name` ("scalar", "avx2", "avx2vnni", "avx512", "neon"); none where this build or this CPU has
// no such instruction set. An empty name gives the best there is.
const Kernels* find(const char* name);

// The names this build knows, best first; the CPU may lack some.
int n_names();
const char* name_of(int i);

}  // namespace gooseguard::kernels
