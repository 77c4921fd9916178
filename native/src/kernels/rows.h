// Everything but products and the recurrence, over any vector type V: row by row, in the first-level cache.
//
// What a row comes out as does not depend on where it lies or on the rows beside it. In an unnamed namespace,
// as each instruction set compiles its own with flags of its own.
#pragma once

#include <math.h>

#include "vector_math.h"

namespace gooseguard::kernels {
namespace {

// Not std::sqrt: an instance of it that is not inlined would be shared with code for older processors.
inline float root(float x) {
#if defined(_MSC_VER)
  return sqrtf(x);
#else
  return __builtin_sqrtf(x);
#endif
}

// Lanes that are there: all of them, or the first ones.
struct Whole {};
struct First {
  int n;
};

template <typename V>
inline V load(const float* p, Whole) {
  return V::load(p);
}
template <typename V>
inline V load(const float* p, First first) {
  return V::load_first(p, first.n);
}
template <typename V>
inline void store(V v, float* p, Whole) {
  v.store(p);
}
template <typename V>
inline void store(V v, float* p, First first) {
  v.store_first(p, first.n);
}

// Call work(begin, lanes) for each vector of n values.
template <typename V, typename Work>
inline void each(int n, Work work) {
  int i = 0;
  for (; i + V::kLanes <= n; i += V::kLanes) {
    work(i, Whole{});
  }
  if (i < n) {
    work(i, First{n - i});
  }
}

// Write the values of one row, quantised; `low` and `high` bound them and have 0 between them.
template <typename V>
inline void quantise(const float* x, int k, float low, float high, const Rows& out, int m) {
  auto* row = static_cast<std::uint8_t*>(out.data) + m * out.stride;
  const float range = high - low;
  const float inverse = range == 0.0F ? 0.0F : 255.0F / range;
  // A range that is not finite leaves its mark in the scale.
  const float shift = -low * inverse;
  const std::int32_t zero = shift >= 0.0F && shift < 256.0F ? V::nearest(shift) : 0;
  out.scale[m] = range * (1.0F / 255.0F);
  out.zero[m] = zero;
  const V factor = V::set(inverse);
  each<V>(k, [&](int i, auto lanes) {
    if constexpr (requires { lanes.n; }) {
      V::store_uint8_first(load<V>(x + i, lanes) * factor, zero, row + i, lanes.n);
    } else {
      V::store_uint8(load<V>(x + i, lanes) * factor, zero, row + i);
    }
  });
  for (std::ptrdiff_t i = k; i < row_bytes(Dtype::kInt8, k); ++i) {
    row[i] = 0;
  }
}

// Write one vector of a row that is f32 or bf16.
template <typename V, Dtype kDtype>
inline void write_vector(V v, void* row, int i, auto lanes) {
  if constexpr (kDtype == Dtype::kF32) {
    store(v, static_cast<float*>(row) + i, lanes);
  } else if constexpr (requires { lanes.n; }) {
    V::store_bf16_first(v, static_cast<std::uint16_t*>(row) + i, lanes.n);
  } else {
    V::store_bf16(v, static_cast<std::uint16_t*>(row) + i);
  }
}

// Write kCount rows of k values each, at(row, i, lanes) from i on, all in kDtype. Integers take two passes, as
// their range must be known: `scratch` (kCount, k) holds the values between.
template <typename V, Dtype kDtype, std::size_t kCount>
inline void write_rows(int k, const Rows* out, int m, float* scratch, auto at) {
  void* rows[kCount];
  V low[kCount], high[kCount];
  for (std::size_t n = 0; n < kCount; ++n) {
    rows[n] = static_cast<char*>(out[n].data) + m * out[n].stride;
    low[n] = high[n] = V::set(0.0F);
  }
  each<V>(k, [&](int i, auto lanes) {
    for (std::size_t n = 0; n < kCount; ++n) {
      const V v = at(n, i, lanes);
      if constexpr (kDtype == Dtype::kInt8) {
        store(v, scratch + std::ptrdiff_t(n) * k + i, lanes);
        low[n] = V::min(low[n], v);
        high[n] = V::max(high[n], v);
      } else {
        write_vector<V, kDtype>(v, rows[n], i, lanes);
      }
    }
  });
  for (std::size_t n = 0; n < kCount; ++n) {
    if constexpr (kDtype == Dtype::kInt8) {
      quantise<V>(scratch + std::ptrdiff_t(n) * k, k, V::lowest(low[n]), V::highest(high[n]), out[n], m);
    } else if (kDtype == Dtype::kBf16 && k % 2 != 0) {
      static_cast<std::uint16_t*>(rows[n])[k] = 0;
    }
  }
}

template <typename V>
inline void write_row(const float* x, int k, const Rows& out, int m) {
  const auto at = [&](std::size_t, int i, auto lanes) { return load<V>(x + i, lanes); };
  if (out.dtype == Dtype::kF32) {
    write_rows<V, Dtype::kF32, 1>(k, &out, m, nullptr, at);
  } else if (out.dtype == Dtype::kBf16) {
    write_rows<V, Dtype::kBf16, 1>(k, &out, m, nullptr, at);
  } else {
    V low = V::set(0.0F);
    V high = V::set(0.0F);
    each<V>(k, [&](int i, auto lanes) {
      const V v = load<V>(x + i, lanes);
      low = V::min(low, v);
      high = V::max(high, v);
    });
    quantise<V>(x, k, V::lowest(low), V::highest(high), out, m);
  }
}

template <typename V>
void convert(const float* x, std::ptrdiff_t stride, int m, int k, const Rows& out) {
  for (int i = 0; i < m; ++i) {
    write_row<V>(x + i * stride, k, out, i);
  }
}

// What a layer norm takes from a row: normed is (x - mean) * scale.
struct Statistics {
  float mean;
  float scale;
};

template <typename V>
inline Statistics statistics(const float* x, int n, float epsilon) {
  V sum = V::set(0.0F);
  each<V>(n, [&](int i, auto lanes) { sum = sum + load<V>(x + i, lanes); });
  const float mean = V::sum(sum) / static_cast<float>(n);
  V squares = V::set(0.0F);
  each<V>(n, [&](int i, auto lanes) {
    V centred = load<V>(x + i, lanes) - V::set(mean);
    if constexpr (requires { lanes.n; }) {
      // Lanes that are not there hold -mean; read back, they hold 0.
      float rest[V::kLanes];
      centred.store(rest);
      centred = load<V>(rest, lanes);
    }
    squares = V::fma(centred, centred, squares);
  });
  const float variance = V::sum(squares) / static_cast<float>(n);
  return {mean, 1.0F / root(variance + epsilon)};
}

template <typename V>
inline V normed_at(const float* x, int i, auto lanes, Statistics of, const Norm& norm) {
  const V normed = (load<V>(x + i, lanes) - V::set(of.mean)) * V::set(of.scale);
  return V::fma(normed, load<V>(norm.weight + i, lanes), load<V>(norm.bias + i, lanes));
}

template <typename V>
inline void norm_row(const float* x, int n, const Norm& norm, float* out) {
  const Statistics of = statistics<V>(x, n, norm.epsilon);
  each<V>(n, [&](int i, auto lanes) { store(normed_at<V>(x, i, lanes, of, norm), out + i, lanes); });
}

template <typename V>
void layer_norm(const float* x, int m, int c, const Norm& norm, float* out) {
  for (int i = 0; i < m; ++i) {
    norm_row<V>(x + std::ptrdiff_t(i) * c, c, norm, out + std::ptrdiff_t(i) * c);
  }
}

// kCount lerps of a row of c values, as the next products read them; `lerped` is memory for as many rows.
template <typename V, Dtype kDtype, std::size_t kCount>
inline void lerp_rows(const float* normed, const float* difference, const float* const* mu, int c,
                      float* lerped, const Rows* out, int m) {
  const float* shares[kCount];
  for (std::size_t n = 0; n < kCount; ++n) {
    shares[n] = mu[n];
  }
  write_rows<V, kDtype, kCount>(c, out, m, lerped, [&](std::size_t n, int i, auto lanes) {
    return V::fma(load<V>(difference + i, lanes), load<V>(shares[n] + i, lanes), load<V>(normed + i, lanes));
  });
}

// Lerps of a row that are of one dtype.
template <typename V, Dtype kDtype>
inline void lerp_all(const float* normed, const float* difference, const float* const* mu, int count, int c,
                     float* lerped, const Rows* out, int m) {
  int n = 0;
  for (; n + kLerpsAtOnce <= count; n += kLerpsAtOnce) {
    lerp_rows<V, kDtype, kLerpsAtOnce>(normed, difference, mu + n, c, lerped, out + n, m);
  }
  for (; n < count; ++n) {
    lerp_rows<V, kDtype, 1>(normed, difference, mu + n, c, lerped, out + n, m);
  }
}

// Lerps of a row; those that follow each other and are of one dtype go together.
template <typename V>
inline void lerp_row(const float* normed, const float* difference, const float* const* mu, int count, int c,
                     float* lerped, const Rows* out, int m) {
  for (int n = 0; n < count;) {
    const Dtype dtype = out[n].dtype;
    const int first = n;
    while (n < count && out[n].dtype == dtype) {
      ++n;
    }
    const auto run = dtype == Dtype::kF32    ? lerp_all<V, Dtype::kF32>
                     : dtype == Dtype::kBf16 ? lerp_all<V, Dtype::kBf16>
                                             : lerp_all<V, Dtype::kInt8>;
    run(normed, difference, mu + first, n - first, c, lerped, out + first, m);
  }
}

template <typename V>
void mix(const Mix& mix) {
  // The sums of a row wait for each other; those of several rows do not.
  constexpr int kRows = 8;
  Statistics of[kRows];
  float* lerped = mix.scratch + 2 * std::ptrdiff_t(mix.c);
  for (int m = 0; m < mix.m; ++m) {
    if (m % kRows == 0) {
      for (int i = 0; i < kRows && m + i < mix.m; ++i) {
        of[i] = statistics<V>(mix.x + std::ptrdiff_t(m + i) * mix.c, mix.c, mix.norm.epsilon);
      }
    }
    const std::ptrdiff_t row = std::ptrdiff_t(m) * mix.c;
    float* normed = mix.normed != nullptr ? mix.normed + row : mix.scratch;
    float* difference = mix.difference != nullptr ? mix.difference + row : mix.scratch + mix.c;
    each<V>(mix.c, [&](int i, auto lanes) {
      const V n = normed_at<V>(mix.x + row, i, lanes, of[m % kRows], mix.norm);
      store(n, normed + i, lanes);
      store(load<V>(mix.shift + i, lanes) - n, difference + i, lanes);
      store(n, mix.shift + i, lanes);
    });
    lerp_row<V>(normed, difference, mix.mu, mix.n_lerps, mix.c, lerped, mix.out, m);
  }
}

template <typename V>
void lerp(const Lerp& p) {
  for (int m = 0; m < p.m; ++m) {
    const std::ptrdiff_t row = std::ptrdiff_t(m) * p.c;
    const float* mu = p.mu + row;
    lerp_row<V>(p.normed + row, p.difference + row, &mu, 1, p.c, p.scratch, &p.out, m);
  }
}

template <typename V>
void add_gated(const float* gate, const float* value, std::ptrdiff_t n, float* x) {
  const auto add = [&](std::ptrdiff_t i, auto lanes) {
    const V product = load<V>(gate + i, lanes) * load<V>(value + i, lanes);
    store(load<V>(x + i, lanes) + product, x + i, lanes);
  };
  std::ptrdiff_t i = 0;
  for (; i + V::kLanes <= n; i += V::kLanes) {
    add(i, Whole{});
  }
  if (i < n) {
    add(i, First{static_cast<int>(n - i)});
  }
}

template <typename V>
inline void prepare_head(const Prepare& p, std::ptrdiff_t place, int channel, float& bonus) {
  float* k = p.k + place;
  float* a = p.a + place;
  float* removal = p.removal + place;
  V length = V::set(0.0F);
  each<V>(p.head, [&](int i, auto lanes) {
    const V kk = load<V>(k + i, lanes) * load<V>(p.k_k + channel + i, lanes);
    store(kk, removal + i, lanes);
    length = V::fma(kk, kk, length);
  });
  const float norm = root(V::sum(length));
  // Written so that a NaN stays one.
  const float inverse = 1.0F / (norm < kNormFloor ? kNormFloor : norm);
  V own = V::set(0.0F);
  each<V>(p.head, [&](int i, auto lanes) {
    const V kk = load<V>(removal + i, lanes) * V::set(inverse);
    const V rate = load<V>(a + i, lanes);
    store(V::set(0.0F) - kk, removal + i, lanes);
    store(kk * rate, a + i, lanes);
    const V key = load<V>(k + i, lanes);
    const V k_a = load<V>(p.k_a + channel + i, lanes);
    const V scaled = key * V::fma(rate - V::set(1.0F), k_a, V::set(1.0F));
    store(scaled, k + i, lanes);
    const V r = load<V>(p.r + place + i, lanes) * load<V>(p.r_k + channel + i, lanes);
    own = V::fma(r, scaled, own);
  });
  bonus = V::sum(own);
}

template <typename V>
void prepare(const Prepare& p) {
  const int n_heads = p.c / p.head;
  for (int m = 0; m < p.m; ++m) {
    const std::ptrdiff_t row = std::ptrdiff_t(m) * p.c;
    for (int h = 0; h < n_heads; ++h) {
      prepare_head<V>(p, row + h * p.head, h * p.head, p.bonus[m * n_heads + h]);
    }
    if (p.v_first != nullptr) {
      each<V>(p.c, [&](int i, auto lanes) {
        const V v = load<V>(p.v + row + i, lanes);
        const V share = load<V>(p.share + row + i, lanes);
        store(V::fma(load<V>(p.v_first + row + i, lanes) - v, share, v), p.v + row + i, lanes);
      });
    }
  }
}

template <typename V>
void read_out(const ReadOut& p) {
  const int n_heads = p.c / p.head;
  for (int m = 0; m < p.m; ++m) {
    for (int h = 0; h < n_heads; ++h) {
      const int channel = h * p.head;
      const std::ptrdiff_t place = std::ptrdiff_t(m) * p.c + channel;
      const Norm norm{p.norm.weight + channel, p.norm.bias + channel, p.norm.epsilon};
      const Statistics of = statistics<V>(p.y + place, p.head, norm.epsilon);
      each<V>(p.head, [&](int i, auto lanes) {
        V y = normed_at<V>(p.y + place, i, lanes, of, norm);
        if (p.bonus != nullptr) {
          y = V::fma(V::set(p.bonus[m * n_heads + h]), load<V>(p.v + place + i, lanes), y);
        }
        store(y * load<V>(p.g + place + i, lanes), p.scratch + channel + i, lanes);
      });
    }
    write_row<V>(p.scratch, p.c, p.out, m);
  }
}

}  // namespace
}  // namespace gooseguard::kernels
