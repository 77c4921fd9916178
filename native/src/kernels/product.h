// Products of any instruction set: which rows and tiles go together, and what becomes of their sums.
//
// A sum is made of the same terms in the same order whatever its row's neighbours are: every way through here
// adds the groups of input channels one after another to one accumulator.
#pragma once

#include <cstring>

#include "kernels.h"
#include "rows.h"

namespace gooseguard::kernels {
namespace {

// Sums of some rows times one tile, (rows, 32), float or int32, aligned to 64.
using TileSums = void (*)(const char* a, std::ptrdiff_t lda, const char* tile, long groups, void* sums);

// Sums of one row times four tiles, (4, 32), `step` bytes apart.
using QuadSums = void (*)(const char* a, const char* tiles, std::ptrdiff_t step, long groups, void* sums);

template <typename V, Activation kActivation, Store kStore>
inline void finish(V value, void* memory, std::ptrdiff_t place, auto lanes) {
  value = activated(kActivation, value);
  if constexpr (kStore == Store::kBf16) {
    auto* out = static_cast<std::uint16_t*>(memory) + place;
    if constexpr (requires { lanes.n; }) {
      V::store_bf16_first(value, out, lanes.n);
    } else {
      V::store_bf16(value, out);
    }
  } else {
    auto* out = static_cast<float*>(memory) + place;
    if constexpr (kStore == Store::kAddF32) {
      value = load<V>(out, lanes) + value;
    }
    store(value, out, lanes);
  }
}

// Write `rows` rows of sums from row m and output channel n on. What belongs to a channel is loaded once for
// all rows.
template <typename Isa, typename V, Activation kActivation, Store kStore, bool kIsInt8>
void write_sums(const void* sums, const Rows& a, int m, int rows, const Matrix& w, int n,
                const Epilogue& epilogue) {
  const auto column = [&](int j, auto lanes) {
    const V bias = epilogue.bias == nullptr ? V::set(0.0F) : load<V>(epilogue.bias + n + j, lanes);
    const std::ptrdiff_t stride = epilogue.stride;
    std::ptrdiff_t place = m * stride + n + j;
    if constexpr (kIsInt8) {
      const typename Isa::Channels channels(w.sums + n + j, w.scale + n + j);
      const auto* sum = static_cast<const std::int32_t*>(sums) + j;
      for (int i = 0; i < rows; ++i, sum += kTile, place += stride) {
        const V value = channels.scaled(sum, a.zero[m + i], a.scale[m + i]) + bias;
        finish<V, kActivation, kStore>(value, epilogue.out, place, lanes);
      }
    } else {
      const auto* sum = static_cast<const float*>(sums) + j;
      for (int i = 0; i < rows; ++i, sum += kTile, place += stride) {
        finish<V, kActivation, kStore>(V::load(sum) + bias, epilogue.out, place, lanes);
      }
    }
  };
  if (w.n - n >= kTile) {
    each<V>(kTile, column);
  } else {
    each<V>(w.n - n, column);
  }
}

using WriteSums = void (*)(const void*, const Rows&, int, int, const Matrix&, int, const Epilogue&);

template <typename Isa, typename V, Activation kActivation, Store kStore>
WriteSums writer_of(Dtype dtype) {
  return dtype == Dtype::kInt8 ? write_sums<Isa, V, kActivation, kStore, true>
                               : write_sums<Isa, V, kActivation, kStore, false>;
}

template <typename Isa, typename V, Activation kActivation>
WriteSums writer_to(Store store, Dtype dtype) {
  switch (store) {
    case Store::kF32:
      return writer_of<Isa, V, kActivation, Store::kF32>(dtype);
    case Store::kAddF32:
      return writer_of<Isa, V, kActivation, Store::kAddF32>(dtype);
    case Store::kBf16:
      return writer_of<Isa, V, kActivation, Store::kBf16>(dtype);
  }
  return nullptr;
}

template <typename Isa, typename V>
WriteSums writer(const Epilogue& epilogue, Dtype dtype) {
  switch (epilogue.activation) {
    case Activation::kNone:
      return writer_to<Isa, V, Activation::kNone>(epilogue.store, dtype);
    case Activation::kTanh:
      return writer_to<Isa, V, Activation::kTanh>(epilogue.store, dtype);
    case Activation::kSigmoid:
      return writer_to<Isa, V, Activation::kSigmoid>(epilogue.store, dtype);
    case Activation::kDecay:
      return writer_to<Isa, V, Activation::kDecay>(epilogue.store, dtype);
    case Activation::kSquaredRelu:
      return writer_to<Isa, V, Activation::kSquaredRelu>(epilogue.store, dtype);
    case Activation::kSilu:
      return writer_to<Isa, V, Activation::kSilu>(epilogue.store, dtype);
    case Activation::kExpDecay:
      return writer_to<Isa, V, Activation::kExpDecay>(epilogue.store, dtype);
  }
  return nullptr;
}

// Groups of input channels that are not zero in all of some rows, and a tile's rows and weights with nothing but
// these.
class Compact {
 public:
  // Memory for rows of `groups` groups.
  Compact(void* spare, long groups)
      : rows_(static_cast<std::uint32_t*>(spare)),
        weights_(static_cast<char*>(spare) + 12 * 4 * groups),
        numbers_(reinterpret_cast<std::int32_t*>(weights_ + 64 * 4 * groups)),
        groups_(groups) {}

  // Find the groups of `rows` rows; gives how many there are.
  long find(const char* a, std::ptrdiff_t stride, int rows) {
    std::memcpy(rows_, a, static_cast<std::size_t>(4 * groups_));
    for (int i = 1; i < rows; ++i) {
      const auto* row = reinterpret_cast<const std::uint32_t*>(a + i * stride);
      for (long g = 0; g < groups_; ++g) {
        rows_[g] |= row[g];
      }
    }
    long found = 0;
    for (long g = 0; g < groups_; ++g) {
      numbers_[found] = static_cast<std::int32_t>(g);
      found += rows_[g] != 0 ? 1 : 0;
    }
    return found_ = found;
  }

  // The rows, `stride()` bytes apart.
  const char* take_rows(const char* a, std::ptrdiff_t stride, int rows) {
    for (int i = 0; i < rows; ++i) {
      const auto* row = reinterpret_cast<const std::uint32_t*>(a + i * stride);
      std::uint32_t* out = rows_ + i * found_;
      for (long j = 0; j < found_; ++j) {
        out[j] = row[numbers_[j]];
      }
    }
    return reinterpret_cast<const char*>(rows_);
  }
  std::ptrdiff_t stride() const { return 4 * found_; }

  // The weights of `tiles` tiles that are `step` bytes apart; here `step()` bytes.
  const char* take_weights(const char* w, std::ptrdiff_t step, int tiles) {
    constexpr std::ptrdiff_t kBytes = 4 * kTile;
    char* out = weights_;
    for (int i = 0; i < tiles; ++i, w += step) {
      for (long j = 0; j < found_; ++j, out += kBytes) {
        std::memcpy(out, w + numbers_[j] * kBytes, kBytes);
      }
    }
    return weights_;
  }
  std::ptrdiff_t step() const { return 4 * kTile * found_; }

 private:
  std::uint32_t* rows_;
  char* weights_;
  std::int32_t* numbers_;
  long groups_;
  long found_ = 0;
};

// Product of rows of which most groups are zero; gives false, with nothing done, where too few are.
template <typename Isa, typename V>
bool sparse_product(const Rows& rows, int m, const Matrix& matrix, const Epilogue& epilogue) {
  alignas(64) float sums[(Isa::kRows < 4 ? 4 : Isa::kRows) * kTile];
  const auto* a = static_cast<const char*>(rows.data);
  const long groups = n_groups(matrix.dtype, matrix.k);
  const std::ptrdiff_t step = tile_bytes(matrix.dtype, kTile, matrix.k);
  const WriteSums write = writer<Isa, V>(epilogue, matrix.dtype);
  Compact compact(rows.spare, groups);
  long found = 0;
  int blocks = 0;
  for (int i = 0; i < m; i += Isa::kRows, ++blocks) {
    found += compact.find(a + i * rows.stride, rows.stride, m - i < Isa::kRows ? m - i : Isa::kRows);
  }
  // Copying a group's weights costs about as much as two rows do that use it.
  const long row_count = m < Isa::kRows ? m : Isa::kRows;
  if (10 * found * (row_count + 2) > 9 * groups * blocks * row_count) {
    return false;
  }
  for (int i = 0; i < m; i += Isa::kRows) {
    const int count = m - i < Isa::kRows ? m - i : Isa::kRows;
    const char* first = a + i * rows.stride;
    const long kept = compact.find(first, rows.stride, count);
    const char* packed = compact.take_rows(first, rows.stride, count);
    const char* w = static_cast<const char*>(matrix.tiles);
    int n = 0;
    if (m == 1) {
      const QuadSums quad = Isa::quad(matrix.dtype);
      for (; n + 4 * kTile <= matrix.n; n += 4 * kTile, w += 4 * step) {
        quad(packed, compact.take_weights(w, step, 4), compact.step(), kept, sums);
        for (int tile = 0; tile < 4; ++tile) {
          write(sums + tile * kTile, rows, 0, 1, matrix, n + tile * kTile, epilogue);
        }
      }
    }
    for (; n < matrix.n; n += kTile, w += step) {
      Isa::tile(matrix.dtype, count)(packed, compact.stride(), compact.take_weights(w, step, 1), kept, sums);
      write(sums, rows, i, count, matrix, n, epilogue);
    }
  }
  return true;
}

template <typename Isa, typename V>
void product(const Rows& rows, int m, const Matrix& matrix, const Epilogue& epilogue) {
  if (rows.spare != nullptr && Isa::adds_nothing_for_zeros(matrix.dtype) &&
      sparse_product<Isa, V>(rows, m, matrix, epilogue)) {
    return;
  }
  alignas(64) float sums[(Isa::kRows < 4 ? 4 : Isa::kRows) * kTile];
  const auto* a = static_cast<const char*>(rows.data);
  const auto* w = static_cast<const char*>(matrix.tiles);
  const long groups = n_groups(matrix.dtype, matrix.k);
  const std::ptrdiff_t step = tile_bytes(matrix.dtype, kTile, matrix.k);
  const WriteSums write = writer<Isa, V>(epilogue, matrix.dtype);
  int n = 0;
  if (m == 1) {
    const QuadSums quad = Isa::quad(matrix.dtype);
    for (; n + 4 * kTile <= matrix.n; n += 4 * kTile, w += 4 * step) {
      quad(a, w, step, groups, sums);
      for (int i = 0; i < 4; ++i) {
        write(sums + i * kTile, rows, 0, 1, matrix, n + i * kTile, epilogue);
      }
    }
  }
  for (; n < matrix.n; n += kTile, w += step) {
    for (int i = 0; i < m; i += Isa::kRows) {
      const int count = m - i < Isa::kRows ? m - i : Isa::kRows;
      Isa::tile(matrix.dtype, count)(a + i * rows.stride, rows.stride, w, groups, sums);
      write(sums, rows, i, count, matrix, n, epilogue);
    }
  }
}

}  // namespace
}  // namespace gooseguard::kernels
