// What every kernel means, in plain C++: the definition that the vector kernels are tested against.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>

#include "bfloat16.h"
#include "tables.h"

namespace gooseguard::kernels {
namespace {

// Written so that a NaN stays one.
float activated(Activation activation, float x) {
  switch (activation) {
    case Activation::kNone:
      return x;
    case Activation::kTanh:
      return std::tanh(x);
    case Activation::kSigmoid:
      return 1.0F / (1.0F + std::exp(-x));
    case Activation::kDecay:
      return std::exp(kDecayScale / (1.0F + std::exp(-x)));
    case Activation::kSquaredRelu:
      return x < 0.0F ? 0.0F : x * x;
    case Activation::kSilu:
      // Through exp(-|x|), which cannot overflow.
      return x < 0.0F ? x * std::exp(x) / (1.0F + std::exp(x)) : x / (1.0F + std::exp(-x));
    case Activation::kExpDecay:
      return std::exp(-std::exp(x));
  }
  return x;
}

// Stored values of one row of activations and one channel of weights.
template <typename A, typename W, typename Sum, typename ReadA, typename ReadW>
Sum dot(const A* row, const W* tile, int channel, int k, int group, ReadA read_a, ReadW read_w) {
  Sum sum = 0;
  for (int i = 0; i < k; ++i) {
    sum += read_a(row[i]) * read_w(tile[(i / group * kTile + channel) * group + i % group]);
  }
  return sum;
}

float product_of(const Rows& rows, int m, const Matrix& matrix, int n) {
  const auto* row = static_cast<const char*>(rows.data) + m * rows.stride;
  const auto* tile =
      static_cast<const char*>(matrix.tiles) + n / kTile * tile_bytes(matrix.dtype, kTile, matrix.k);
  const int channel = n % kTile;
  const int group = group_size(matrix.dtype);
  const auto same = [](auto value) { return value; };
  if (matrix.dtype == Dtype::kF32) {
    return dot<float, float, float>(reinterpret_cast<const float*>(row), reinterpret_cast<const float*>(tile),
                                    channel, matrix.k, group, same, same);
  }
  if (matrix.dtype == Dtype::kBf16) {
    return dot<std::uint16_t, std::uint16_t, float>(reinterpret_cast<const std::uint16_t*>(row),
                                                    reinterpret_cast<const std::uint16_t*>(tile), channel,
                                                    matrix.k, group, from_bf16, from_bf16);
  }
  const auto widen = [](auto value) { return std::int32_t{value}; };
  const auto sum = dot<std::uint8_t, std::int8_t, std::int32_t>(reinterpret_cast<const std::uint8_t*>(row),
                                                                reinterpret_cast<const std::int8_t*>(tile),
                                                                channel, matrix.k, group, widen, widen);
  return static_cast<float>(sum - rows.zero[m] * matrix.sums[n]) * (rows.scale[m] * matrix.scale[n]);
}

void product(const Rows& rows, int m, const Matrix& matrix, const Epilogue& epilogue) {
  for (int i = 0; i < m; ++i) {
    for (int n = 0; n < matrix.n; ++n) {
      const float bias = epilogue.bias != nullptr ? epilogue.bias[n] : 0.0F;
      const float value = activated(epilogue.activation, product_of(rows, i, matrix, n) + bias);
      const std::ptrdiff_t place = i * epilogue.stride + n;
      switch (epilogue.store) {
        case Store::kF32:
          static_cast<float*>(epilogue.out)[place] = value;
          break;
        case Store::kAddF32:
          static_cast<float*>(epilogue.out)[place] += value;
          break;
        case Store::kBf16:
          static_cast<std::uint16_t*>(epilogue.out)[place] = to_bf16(value);
          break;
      }
    }
  }
}

// Quantise one row: 0 is among the values there are, so that what is 0 stays 0.
void quantise(const float* x, int k, std::uint8_t* out, float& scale, std::int32_t& zero) {
  float low = 0;
  float high = 0;
  for (int i = 0; i < k; ++i) {
    low = x[i] > low ? low : x[i];
    high = x[i] < high ? high : x[i];
  }
  const float range = high - low;
  const float inverse = range == 0.0F ? 0.0F : 255.0F / range;
  scale = range * (1.0F / 255.0F);
  zero = std::isfinite(range) ? static_cast<std::int32_t>(std::nearbyint(-low * inverse)) : 0;
  for (int i = 0; i < k; ++i) {
    const float stored = std::nearbyint(x[i] * inverse) + static_cast<float>(zero);
    out[i] = static_cast<std::uint8_t>(stored > 0.0F ? std::min(stored, 255.0F) : 0.0F);
  }
  std::fill(out + k, out + row_bytes(Dtype::kInt8, k), std::uint8_t{0});
}

void write_row(const float* x, int k, const Rows& out, int m) {
  auto* row = static_cast<char*>(out.data) + m * out.stride;
  if (out.dtype == Dtype::kF32) {
    std::copy(x, x + k, reinterpret_cast<float*>(row));
  } else if (out.dtype == Dtype::kBf16) {
    auto* bits = reinterpret_cast<std::uint16_t*>(row);
    std::transform(x, x + k, bits, to_bf16);
    std::fill(bits + k, bits + row_bytes(Dtype::kBf16, k) / 2, std::uint16_t{0});
  } else {
    quantise(x, k, reinterpret_cast<std::uint8_t*>(row), out.scale[m], out.zero[m]);
  }
}

void convert(const float* x, std::ptrdiff_t stride, int m, int k, const Rows& out) {
  for (int i = 0; i < m; ++i) {
    write_row(x + i * stride, k, out, i);
  }
}

void norm_row(const float* x, int n, const Norm& norm, float* out) {
  float mean = 0;
  for (int i = 0; i < n; ++i) {
    mean += x[i];
  }
  mean /= static_cast<float>(n);
  float variance = 0;
  for (int i = 0; i < n; ++i) {
    variance += (x[i] - mean) * (x[i] - mean);
  }
  const float scale = 1.0F / std::sqrt(variance / static_cast<float>(n) + norm.epsilon);
  for (int i = 0; i < n; ++i) {
    out[i] = (x[i] - mean) * scale * norm.weight[i] + norm.bias[i];
  }
}

void layer_norm(const float* x, int m, int c, const Norm& norm, float* out) {
  for (int i = 0; i < m; ++i) {
    norm_row(x + std::ptrdiff_t(i) * c, c, norm, out + std::ptrdiff_t(i) * c);
  }
}

void lerp_row(const float* normed, const float* difference, const float* mu, int c, float* lerped,
              const Rows& out, int m) {
  for (int j = 0; j < c; ++j) {
    lerped[j] = normed[j] + difference[j] * mu[j];
  }
  write_row(lerped, c, out, m);
}

void mix(const Mix& mix) {
  for (int i = 0; i < mix.m; ++i) {
    const std::ptrdiff_t row = std::ptrdiff_t(i) * mix.c;
    float* normed = mix.normed != nullptr ? mix.normed + row : mix.scratch;
    float* difference = mix.difference != nullptr ? mix.difference + row : mix.scratch + mix.c;
    norm_row(mix.x + row, mix.c, mix.norm, normed);
    std::transform(mix.shift, mix.shift + mix.c, normed, difference, std::minus<>());
    std::copy(normed, normed + mix.c, mix.shift);
    for (int lerp = 0; lerp < mix.n_lerps; ++lerp) {
      lerp_row(normed, difference, mix.mu[lerp], mix.c, mix.scratch + 2 * std::ptrdiff_t(mix.c),
               mix.out[lerp], i);
    }
  }
}

void lerp(const Lerp& p) {
  for (int i = 0; i < p.m; ++i) {
    const std::ptrdiff_t row = std::ptrdiff_t(i) * p.c;
    lerp_row(p.normed + row, p.difference + row, p.mu + row, p.c, p.scratch, p.out, i);
  }
}

void add_gated(const float* gate, const float* value, std::ptrdiff_t n, float* x) {
  for (std::ptrdiff_t i = 0; i < n; ++i) {
    x[i] += gate[i] * value[i];
  }
}

void prepare_head(const Prepare& p, std::ptrdiff_t place, int channel, float& bonus) {
  float length = 0;
  for (int j = 0; j < p.head; ++j) {
    const float kk = p.k[place + j] * p.k_k[channel + j];
    length += kk * kk;
  }
  const float inverse = 1.0F / std::max(std::sqrt(length), kNormFloor);
  bonus = 0;
  for (int j = 0; j < p.head; ++j) {
    const float kk = p.k[place + j] * p.k_k[channel + j] * inverse;
    const float rate = p.a[place + j];
    p.removal[place + j] = -kk;
    p.a[place + j] = kk * rate;
    p.k[place + j] *= 1.0F + (rate - 1.0F) * p.k_a[channel + j];
    bonus += p.r[place + j] * p.k[place + j] * p.r_k[channel + j];
    if (p.v_first != nullptr) {
      p.v[place + j] += (p.v_first[place + j] - p.v[place + j]) * p.share[place + j];
    }
  }
}

void prepare(const Prepare& p) {
  const int n_heads = p.c / p.head;
  for (int i = 0; i < p.m; ++i) {
    for (int h = 0; h < n_heads; ++h) {
      prepare_head(p, std::ptrdiff_t(i) * p.c + h * p.head, h * p.head, p.bonus[i * n_heads + h]);
    }
  }
}

void wkv(const Wkv& p) {
  const int N = p.head;
  for (int t = 0; t < p.m; ++t) {
    const std::ptrdiff_t row = t * p.stride;
    const float *r = p.r + row, *w = p.w + row, *k = p.k + row, *v = p.v + row, *a = p.a + row,
                *b = p.b + row;
    for (int i = 0; i < N; ++i) {
      float* S = p.state + i;
      float Sa = 0;
      for (int j = 0; j < N; ++j) {
        Sa += S[j * N] * a[j];
      }
      for (int j = 0; j < N; ++j) {
        S[j * N] = S[j * N] * w[j] + Sa * b[j] + v[i] * k[j];
      }
    }
    for (int i = 0; i < N; ++i) {
      float y = 0;
      for (int j = 0; j < N; ++j) {
        y += p.state[j * N + i] * r[j];
      }
      p.y[row + i] = y;
    }
  }
}

void wkv6(const Wkv6& p) {
  const int N = p.head;
  for (int t = 0; t < p.m; ++t) {
    const std::ptrdiff_t row = t * p.stride;
    const float *r = p.r + row, *w = p.w + t * p.w_stride, *k = p.k + row, *v = p.v + row;
    float bonus = 0;
    for (int j = 0; j < N; ++j) {
      bonus += r[j] * p.u[j] * k[j];
    }
    for (int i = 0; i < N; ++i) {
      float y = bonus * v[i];
      for (int j = 0; j < N; ++j) {
        float& S = p.state[j * N + i];
        y += S * r[j];
        S = S * w[j] + v[i] * k[j];
      }
      p.y[row + i] = y;
    }
  }
}

void read_out(const ReadOut& p) {
  const int n_heads = p.c / p.head;
  for (int i = 0; i < p.m; ++i) {
    for (int h = 0; h < n_heads; ++h) {
      const std::ptrdiff_t place = std::ptrdiff_t(i) * p.c + h * p.head;
      const Norm norm{p.norm.weight + h * p.head, p.norm.bias + h * p.head, p.norm.epsilon};
      float* out = p.scratch + h * p.head;
      norm_row(p.y + place, p.head, norm, out);
      for (int j = 0; j < p.head; ++j) {
        const float own = p.bonus == nullptr ? 0.0F : p.bonus[i * n_heads + h] * p.v[place + j];
        out[j] = (out[j] + own) * p.g[place + j];
      }
    }
    write_row(p.scratch, p.c, p.out, i);
  }
}

}  // namespace

const Kernels& scalar() {
  static constexpr Kernels kTable{"scalar",   product, mix,      prepare, wkv,  read_out,
                                  layer_norm, convert, lerp, wkv6, add_gated};
  return kTable;
}

}  // namespace gooseguard::kernels
