// The recurrences over any vector type V: lanes are value indices, so that no step adds across lanes.
//
// One pass over the state a token updates it and reads y = S r; that of WKV-7 already forms S a of the next
// token.
#pragma once

#include "kernels.h"
#include "rows.h"

namespace gooseguard::kernels {
namespace {

// kVectors vectors of value indices, from `first` on, through all tokens.
template <typename V, std::size_t kVectors>
inline void wkv_columns(const Wkv& p, int first) {
  const int N = p.head;
  V Sa[kVectors];
  for (auto& sum : Sa) {
    sum = V::set(0.0F);
  }
  for (int j = 0; j < N; ++j) {
    const V a = V::set(p.a[j]);
    const float* S = p.state + std::ptrdiff_t(j) * N + first;
    for (std::size_t n = 0; n < kVectors; ++n) {
      Sa[n] = V::fma(V::load(S + n * V::kLanes), a, Sa[n]);
    }
  }
  for (int t = 0; t < p.m; ++t) {
    const std::ptrdiff_t row = t * p.stride;
    const float *r = p.r + row, *w = p.w + row, *k = p.k + row, *b = p.b + row;
    // After the last token nothing needs S a; any numbers will do.
    const float* a = t + 1 < p.m ? p.a + row + p.stride : p.a + row;
    V v[kVectors], y[kVectors], next[kVectors];
    for (std::size_t n = 0; n < kVectors; ++n) {
      v[n] = V::load(p.v + row + first + n * V::kLanes);
      y[n] = next[n] = V::set(0.0F);
    }
    for (int j = 0; j < N; ++j) {
      float* S = p.state + std::ptrdiff_t(j) * N + first;
      const V w_j = V::set(w[j]), k_j = V::set(k[j]), b_j = V::set(b[j]), r_j = V::set(r[j]),
              a_j = V::set(a[j]);
      for (std::size_t n = 0; n < kVectors; ++n) {
        V s = V::load(S + n * V::kLanes) * w_j;
        s = V::fma(Sa[n], b_j, s);
        s = V::fma(v[n], k_j, s);
        s.store(S + n * V::kLanes);
        y[n] = V::fma(s, r_j, y[n]);
        next[n] = V::fma(s, a_j, next[n]);
      }
    }
    for (std::size_t n = 0; n < kVectors; ++n) {
      y[n].store(p.y + row + first + n * V::kLanes);
      Sa[n] = next[n];
    }
  }
}

// One value index through all tokens.
inline void wkv_column(const Wkv& p, int i) {
  const int N = p.head;
  for (int t = 0; t < p.m; ++t) {
    const std::ptrdiff_t row = t * p.stride;
    float Sa = 0;
    for (int j = 0; j < N; ++j) {
      Sa += p.state[std::ptrdiff_t(j) * N + i] * p.a[row + j];
    }
    float y = 0;
    for (int j = 0; j < N; ++j) {
      float& S = p.state[std::ptrdiff_t(j) * N + i];
      S = S * p.w[row + j] + Sa * p.b[row + j] + p.v[row + i] * p.k[row + j];
      y += S * p.r[row + j];
    }
    p.y[row + i] = y;
  }
}

template <typename V, int kVectors>
void wkv(const Wkv& p) {
  // Without a token there is no row to begin S a from.
  if (p.m == 0) {
    return;
  }
  int i = 0;
  for (; i + kVectors * V::kLanes <= p.head; i += kVectors * V::kLanes) {
    wkv_columns<V, kVectors>(p, i);
  }
  for (; i + V::kLanes <= p.head; i += V::kLanes) {
    wkv_columns<V, 1>(p, i);
  }
  for (; i < p.head; ++i) {
    wkv_column(p, i);
  }
}

// kVectors vectors of value indices, from `first` on, through all tokens of WKV-6.
template <typename V, std::size_t kVectors>
inline void wkv6_columns(const Wkv6& p, int first) {
  const int N = p.head;
  for (int t = 0; t < p.m; ++t) {
    const std::ptrdiff_t row = t * p.stride;
    const float *r = p.r + row, *w = p.w + t * p.w_stride, *k = p.k + row;
    const V bonus = V::set(p.scratch[t]);
    V v[kVectors], y[kVectors];
    for (std::size_t n = 0; n < kVectors; ++n) {
      v[n] = V::load(p.v + row + first + n * V::kLanes);
      y[n] = bonus * v[n];
    }
    for (int j = 0; j < N; ++j) {
      float* S = p.state + std::ptrdiff_t(j) * N + first;
      const V w_j = V::set(w[j]), k_j = V::set(k[j]), r_j = V::set(r[j]);
      for (std::size_t n = 0; n < kVectors; ++n) {
        const V s = V::load(S + n * V::kLanes);
        y[n] = V::fma(s, r_j, y[n]);
        V::fma(v[n], k_j, s * w_j).store(S + n * V::kLanes);
      }
    }
    for (std::size_t n = 0; n < kVectors; ++n) {
      y[n].store(p.y + row + first + n * V::kLanes);
    }
  }
}

// One value index through all tokens of WKV-6.
inline void wkv6_column(const Wkv6& p, int i) {
  const int N = p.head;
  for (int t = 0; t < p.m; ++t) {
    const std::ptrdiff_t row = t * p.stride;
    const float* w = p.w + t * p.w_stride;
    float y = p.scratch[t] * p.v[row + i];
    for (int j = 0; j < N; ++j) {
      float& S = p.state[std::ptrdiff_t(j) * N + i];
      y += S * p.r[row + j];
      S = S * w[j] + p.v[row + i] * p.k[row + j];
    }
    p.y[row + i] = y;
  }
}

template <typename V, int kVectors>
void wkv6(const Wkv6& p) {
  for (int t = 0; t < p.m; ++t) {
    const std::ptrdiff_t row = t * p.stride;
    V own = V::set(0.0F);
    each<V>(p.head, [&](int i, auto lanes) {
      const V r = load<V>(p.r + row + i, lanes) * load<V>(p.u + i, lanes);
      own = V::fma(r, load<V>(p.k + row + i, lanes), own);
    });
    p.scratch[t] = V::sum(own);
  }
  int i = 0;
  for (; i + kVectors * V::kLanes <= p.head; i += kVectors * V::kLanes) {
    wkv6_columns<V, kVectors>(p, i);
  }
  for (; i + V::kLanes <= p.head; i += V::kLanes) {
    wkv6_columns<V, 1>(p, i);
  }
  for (; i < p.head; ++i) {
    wkv6_column(p, i);
  }
}

}  // namespace
}  // namespace gooseguard::kernels
