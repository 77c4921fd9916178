// Every instruction set of this CPU against the plain definition: odd sizes, nothing at all, unaligned
// memory, outputs poisoned with NaN, guard bytes around them.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "check.h"
#include "kernels/bfloat16.h"
#include "kernels/kernels.h"

namespace {

using namespace gooseguard::kernels;

const float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr Dtype kDtypes[] = {Dtype::kF32, Dtype::kBf16, Dtype::kInt8};
std::mt19937 generator(1);  // NOLINT: the same numbers each run are wanted

std::size_t size(std::ptrdiff_t n) { return static_cast<std::size_t>(n); }

std::vector<float> random_floats(std::ptrdiff_t n, float low = -1.0F, float high = 1.0F) {
  std::uniform_real_distribution<float> draw(low, high);
  std::vector<float> values(size(n));
  std::generate(values.begin(), values.end(), [&] { return draw(generator); });
  return values;
}

// Memory at an odd multiple of 4 bytes, with a guard after it that `check` finds untouched.
template <typename T>
class Guarded {
 public:
  explicit Guarded(std::ptrdiff_t n) : size_(size(n) * sizeof(T)), bytes_(size_ + 4 + kGuard, 0xA5) {
    static_assert(sizeof(T) <= 4);
    if constexpr (std::is_same_v<T, float>) {
      std::fill(data(), data() + n, kNan);
    }
  }
  T* data() { return reinterpret_cast<T*>(bytes_.data() + 4); }
  void check() const {
    CHECK(std::all_of(bytes_.begin() + static_cast<std::ptrdiff_t>(size_) + 4, bytes_.end(),
                      [](std::uint8_t byte) { return byte == 0xA5; }));
  }
  bool operator==(const Guarded& other) const { return bytes_ == other.bytes_; }

 private:
  static constexpr std::size_t kGuard = 128;
  std::size_t size_;
  std::vector<std::uint8_t> bytes_;
};

struct OwnRows {
  OwnRows(Dtype dtype, int m, int k)
      : data(row_bytes(dtype, k) * m),
        scale(m),
        zero(m),
        rows{dtype, data.data(), row_bytes(dtype, k), scale.data(), zero.data()} {}
  void check() const {
    data.check();
    scale.check();
    zero.check();
  }
  Guarded<std::uint8_t> data;
  Guarded<float> scale;
  Guarded<std::int32_t> zero;
  Rows rows;
};

struct OwnMatrix {
  OwnMatrix(Dtype dtype, int n, int k)
      : tiles(size(tile_bytes(dtype, n, k)) + 4), scale(size(n + kTile)), sums(size(n + kTile)) {
    std::uint8_t* place = tiles.data() + 4;
    const int group = group_size(dtype);
    for (int i = 0; i < n; ++i) {
      scale[size(i)] = random_floats(1, 0.001F, 0.02F)[0];
      for (int j = 0; j < k; ++j) {
        const std::ptrdiff_t at =
            ((std::ptrdiff_t{i / kTile} * n_groups(dtype, k) + j / group) * kTile + i % kTile) * group +
            j % group;
        const float value = random_floats(1)[0];
        if (dtype == Dtype::kF32) {
          std::memcpy(place + 4 * at, &value, 4);
        } else if (dtype == Dtype::kBf16) {
          const std::uint16_t bits = to_bf16(value);
          std::memcpy(place + 2 * at, &bits, 2);
        } else {
          const auto stored = static_cast<std::int8_t>(std::lround(value * 127.0F));
          std::memcpy(place + at, &stored, 1);
          sums[size(i)] += stored;
        }
      }
    }
    matrix = {dtype, n, k, place, scale.data(), sums.data()};
  }
  std::vector<std::uint8_t> tiles;
  std::vector<float> scale;
  std::vector<std::int32_t> sums;
  Matrix matrix;
};

template <typename Found, typename Expected>
void check_close(Found* found, Expected* expected, std::ptrdiff_t n, float tolerance) {
  for (std::ptrdiff_t i = 0; i < n; ++i) {
    CHECK(std::isfinite(expected[i]));
    CHECK(std::abs(found[i] - expected[i]) <= tolerance * std::max(1.0F, std::abs(expected[i])));
  }
}

void test_convert(const Kernels& kernels) {
  const Kernels& definition = *find("scalar");
  for (const Dtype dtype : kDtypes) {
    for (const int m : {0, 1, 3, 13}) {
      for (const int k : {1, 2, 3, 15, 16, 17, 64, 131}) {
        auto x = random_floats(std::ptrdiff_t{m} * k, -3.0F, 2.0F);
        OwnRows found(dtype, m, k), expected(dtype, m, k);
        kernels.convert(x.data(), k, m, k, found.rows);
        definition.convert(x.data(), k, m, k, expected.rows);
        found.check();
        CHECK(found.data == expected.data);
        CHECK(dtype != Dtype::kInt8 || (found.scale == expected.scale && found.zero == expected.zero));
      }
    }
  }
}

// A row of one sign, of zeros, of one value: the zero point at either end, no range at all.
void test_quantised_extremes(const Kernels& kernels) {
  const float rows[][4] = {{1, 2, 3, 4}, {-1, -2, -3, -4}, {0, 0, 0, 0}, {-5, 0, 0, 5}, {1e-30F, 0, 0, 0}};
  for (const auto& row : rows) {
    OwnRows found(Dtype::kInt8, 1, 4);
    kernels.convert(row, 4, 1, 4, found.rows);
    for (int i = 0; i < 4; ++i) {
      const float back =
          found.scale.data()[0] * static_cast<float>(found.data.data()[i] - found.zero.data()[0]);
      CHECK(std::abs(back - row[i]) <= found.scale.data()[0] * 0.5001F + 1e-38F);
      CHECK(row[i] != 0.0F || back == 0.0F);
    }
  }
}

void test_product(const Kernels& kernels, Dtype dtype, int n, int k) {
  const Kernels& definition = *find("scalar");
  const OwnMatrix own(dtype, n, k);
  const std::vector<float> bias = random_floats(n);
  for (const int m : {0, 1, 2, 5, 7, 11, 12, 13, 25}) {
    auto x = random_floats(std::ptrdiff_t{m} * k);
    OwnRows rows(dtype, m, k);
    definition.convert(x.data(), k, m, k, rows.rows);
    for (const Activation activation : {Activation::kNone, Activation::kTanh, Activation::kSigmoid,
                                        Activation::kDecay, Activation::kSquaredRelu, Activation::kSilu,
                                        Activation::kExpDecay}) {
      for (const Store store : {Store::kF32, Store::kAddF32, Store::kBf16}) {
        const float* maybe_bias = activation == Activation::kTanh ? nullptr : bias.data();
        const std::ptrdiff_t room = std::ptrdiff_t{m} * (n + 3);
        Guarded<float> found(room), expected(room);
        if (store == Store::kAddF32) {
          const auto before = random_floats(room);
          std::copy(before.begin(), before.end(), found.data());
          std::copy(before.begin(), before.end(), expected.data());
        }
        kernels.product(rows.rows, m, own.matrix, {activation, store, maybe_bias, found.data(), n + 3});
        definition.product(rows.rows, m, own.matrix, {activation, store, maybe_bias, expected.data(), n + 3});
        found.check();
        for (int i = 0; i < m; ++i) {
          if (store == Store::kBf16) {
            const auto* a = reinterpret_cast<std::uint16_t*>(found.data()) + i * (n + 3);
            const auto* b = reinterpret_cast<std::uint16_t*>(expected.data()) + i * (n + 3);
            for (int j = 0; j < n; ++j) {
              CHECK(std::abs(from_bf16(a[j]) - from_bf16(b[j])) <=
                    0.009F * std::max(1.0F, std::abs(from_bf16(b[j]))));
            }
          } else {
            check_close(found.data() + i * (n + 3), expected.data() + i * (n + 3), n, 2e-5F);
            // Room between rows is left alone.
            CHECK(store == Store::kAddF32 || std::isnan(found.data()[i * (n + 3) + n]));
          }
        }
      }
    }
  }
}

// A row gives the same bits alone, in company, and wherever it stands.
void test_rows_do_not_meet(const Kernels& kernels, Dtype dtype, int n, int k) {
  const OwnMatrix own(dtype, n, k);
  constexpr int kRows = 29;
  auto x = random_floats(std::ptrdiff_t{kRows} * k);
  OwnRows rows(dtype, kRows, k);
  kernels.convert(x.data(), k, kRows, k, rows.rows);
  std::vector<float> together(size(kRows * n)), some(size(kRows * n));
  kernels.product(rows.rows, kRows, own.matrix, {.out = together.data(), .stride = n});
  for (int first = 0; first < kRows; ++first) {
    for (int count = 1; first + count <= kRows; count += 3) {
      Rows part = rows.rows;
      part.data = static_cast<char*>(part.data) + first * part.stride;
      part.scale += first;
      part.zero += first;
      kernels.product(part, count, own.matrix, {.out = some.data(), .stride = n});
      CHECK(std::memcmp(some.data(), together.data() + first * n, size(count) * size(n) * 4) == 0);
    }
  }
}

// That rows of (m, c) values are those of `expected`, but for a step of their dtype.
void check_rows(const OwnRows& found, const OwnRows& expected, int m, int c) {
  const Dtype dtype = expected.rows.dtype;
  found.check();
  for (int i = 0; i < m; ++i) {
    const auto* a = static_cast<const std::uint8_t*>(found.rows.data) + i * row_bytes(dtype, c);
    const auto* b = static_cast<const std::uint8_t*>(expected.rows.data) + i * row_bytes(dtype, c);
    for (int j = 0; j < c; ++j) {
      if (dtype == Dtype::kF32) {
        check_close(reinterpret_cast<const float*>(a) + j, reinterpret_cast<const float*>(b) + j, 1, 1e-5F);
      } else if (dtype == Dtype::kBf16) {
        const float u = from_bf16(reinterpret_cast<const std::uint16_t*>(a)[j]);
        const float v = from_bf16(reinterpret_cast<const std::uint16_t*>(b)[j]);
        CHECK(std::abs(u - v) <= 0.009F * std::max(1.0F, std::abs(v)));
      } else {
        const float u = found.rows.scale[i] * static_cast<float>(a[j] - found.rows.zero[i]);
        const float v = expected.rows.scale[i] * static_cast<float>(b[j] - expected.rows.zero[i]);
        CHECK(std::abs(u - v) <= 1.01F * expected.rows.scale[i]);
      }
    }
  }
}

// Leaving out what is zero changes no bit, however much of it there is.
void test_sparse_rows(const Kernels& kernels, Dtype dtype, int n, int k) {
  const OwnMatrix own(dtype, n, k);
  const std::vector<float> bias = random_floats(n);
  for (const int m : {0, 1, 2, 3, 11, 12, 13, 25}) {
    for (const float share : {0.0F, 0.5F, 0.9F, 0.97F, 1.0F}) {
      // Not below zero, as a squared ReLU is; channels are on or off for all rows, or for one.
      auto x = random_floats(std::ptrdiff_t{m} * k, 0.0F, 1.0F);
      const std::vector<float> channels = random_floats(k, 0.0F, 1.0F);
      for (std::size_t i = 0; i < x.size(); ++i) {
        x[i] = channels[i % size(k)] < share || x[i] < share / 2 ? 0.0F : x[i];
      }
      OwnRows rows(dtype, m, k);
      kernels.convert(x.data(), k, m, k, rows.rows);
      Guarded<float> found(std::ptrdiff_t{m} * n), expected(std::ptrdiff_t{m} * n);
      kernels.product(rows.rows, m, own.matrix, {.bias = bias.data(), .out = expected.data(), .stride = n});
      Guarded<std::uint8_t> spare(kSpareRows * row_bytes(dtype, k));
      rows.rows.spare = spare.data();
      kernels.product(rows.rows, m, own.matrix, {.bias = bias.data(), .out = found.data(), .stride = n});
      CHECK(found == expected);
      found.check();
      spare.check();
      rows.check();
    }
  }
}

void test_norm_and_mix(const Kernels& kernels, int m, int c) {
  const Kernels& definition = *find("scalar");
  const std::ptrdiff_t all = std::ptrdiff_t{m} * c;
  const auto x = random_floats(all, -4.0F, 6.0F), weight = random_floats(c), bias = random_floats(c),
             shift = random_floats(c), mu = random_floats(c, 0.0F, 1.0F), own_mu = random_floats(all);
  const Norm norm{weight.data(), bias.data(), 1e-5F};
  Guarded<float> found(all), expected(all);
  kernels.layer_norm(x.data(), m, c, norm, found.data());
  definition.layer_norm(x.data(), m, c, norm, expected.data());
  found.check();
  check_close(found.data(), expected.data(), all, 1e-5F);
  for (const Dtype dtype : kDtypes) {
    const auto mixed = [&](const Kernels& by, OwnRows& rows, OwnRows& own_rows, Guarded<float>& last,
                           float* normed, float* difference) {
      Guarded<float> scratch((2 + kLerpsAtOnce) * c);
      std::copy(shift.begin(), shift.end(), last.data());
      by.mix({x.data(), m, c, norm, last.data(), 1, {mu.data()}, {rows.rows}, scratch.data(), normed,
              difference});
      if (normed != nullptr) {
        by.lerp({m, c, normed, difference, own_mu.data(), own_rows.rows, scratch.data()});
      }
      scratch.check();
      last.check();
    };
    OwnRows rows(dtype, m, c), rows_kept(dtype, m, c), rows_expected(dtype, m, c), own(dtype, m, c),
        own_expected(dtype, m, c);
    Guarded<float> last(c), last_kept(c), last_expected(c), normed(all), normed_expected(all),
        difference(all), difference_expected(all);
    mixed(kernels, rows, own, last, nullptr, nullptr);
    mixed(kernels, rows_kept, own, last_kept, normed.data(), difference.data());
    mixed(definition, rows_expected, own_expected, last_expected, normed_expected.data(),
          difference_expected.data());
    // Keeping what is lerped changes no bit of the rest.
    CHECK(rows.data == rows_kept.data && last == last_kept);
    normed.check();
    difference.check();
    check_close(last.data(), last_expected.data(), c, 1e-5F);
    check_close(normed.data(), normed_expected.data(), all, 1e-5F);
    check_close(difference.data(), difference_expected.data(), all, 1e-5F);
    check_rows(rows, rows_expected, m, c);
    check_rows(own, own_expected, m, c);
  }
}

void test_add_gated(const Kernels& kernels, std::ptrdiff_t n) {
  const auto gate = random_floats(n), value = random_floats(n), x = random_floats(n);
  Guarded<float> found(n), expected(n);
  std::copy(x.begin(), x.end(), found.data());
  std::copy(x.begin(), x.end(), expected.data());
  kernels.add_gated(gate.data(), value.data(), n, found.data());
  find("scalar")->add_gated(gate.data(), value.data(), n, expected.data());
  found.check();
  check_close(found.data(), expected.data(), n, 1e-6F);
}

// WKV-6 with decays of every token and with fixed ones, and what is read of it.
void test_earlier_recurrence(const Kernels& kernels, int m, int head) {
  const int n_heads = 3, c = head * n_heads;
  const std::ptrdiff_t all = std::ptrdiff_t{m} * c;
  const auto r = random_floats(all), k = random_floats(all), v = random_floats(all), g = random_floats(all),
             w = random_floats(all + c, 0.0F, 1.0F), u = random_floats(c), weight = random_floats(c),
             bias = random_floats(c), S = random_floats(std::ptrdiff_t{n_heads} * head * head);
  const auto read = [&](const Kernels& by, std::ptrdiff_t w_stride) {
    std::vector<float> state(S);
    Guarded<float> y(all), bonus(m), scratch(c);
    OwnRows out(Dtype::kF32, m, c);
    for (int h = 0; h < n_heads; ++h) {
      const int place = h * head;
      by.wkv6({m, head, c, w_stride, r.data() + place, w.data() + place, k.data() + place, v.data() + place,
               u.data() + place, y.data() + place, state.data() + place * head, bonus.data()});
    }
    by.read_out({m, c, head, y.data(), nullptr, g.data(), nullptr, {weight.data(), bias.data(), 64e-5F},
                 out.rows, scratch.data()});
    y.check();
    bonus.check();
    scratch.check();
    out.check();
    state.insert(state.end(), y.data(), y.data() + all);
    const auto* rows = reinterpret_cast<float*>(out.data.data());
    state.insert(state.end(), rows, rows + all);
    return state;
  };
  for (const std::ptrdiff_t w_stride : {c, 0}) {
    const auto found = read(kernels, w_stride), expected = read(*find("scalar"), w_stride);
    check_close(found.data(), expected.data(), static_cast<std::ptrdiff_t>(found.size()), 5e-4F);
  }
}

void test_recurrence(const Kernels& kernels, int m, int head) {
  const Kernels& definition = *find("scalar");
  const int n_heads = 3, c = head * n_heads;
  const std::ptrdiff_t all = std::ptrdiff_t{m} * c;
  auto prepared = [&](const Kernels& by, const std::vector<float>& r, std::vector<float> k,
                      std::vector<float> v, std::vector<float> a, const std::vector<float>& w,
                      const std::vector<float>& vectors, std::vector<float> S, bool is_first) {
    Guarded<float> removal(all), bonus(std::ptrdiff_t{m} * n_heads), y(all), scratch(c);
    OwnRows out(Dtype::kF32, m, c);
    by.prepare({m, c, head, r.data(), k.data(), v.data(), a.data(), removal.data(),
                is_first ? nullptr : w.data(), r.data(), vectors.data(), vectors.data() + c,
                vectors.data() + 2 * c, bonus.data()});
    for (int h = 0; h < n_heads; ++h) {
      by.wkv({m, head, c, r.data() + h * head, w.data() + h * head, k.data() + h * head, v.data() + h * head,
              removal.data() + h * head, a.data() + h * head, y.data() + h * head,
              S.data() + h * head * head});
    }
    by.read_out({m,
                 c,
                 head,
                 y.data(),
                 v.data(),
                 r.data(),
                 bonus.data(),
                 {vectors.data() + 3 * c, vectors.data() + 4 * c, 64e-5F},
                 out.rows,
                 scratch.data()});
    for (const auto* guarded : {&removal, &bonus, &y, &scratch}) {
      guarded->check();
    }
    out.check();
    std::vector<float> result(S);
    result.insert(result.end(), y.data(), y.data() + all);
    const auto* read = reinterpret_cast<float*>(out.data.data());
    result.insert(result.end(), read, read + all);
    return result;
  };
  const auto r = random_floats(all), k = random_floats(all), v = random_floats(all),
             a = random_floats(all, 0, 1), w = random_floats(all, 0.55F, 1.0F),
             vectors = random_floats(5 * c, 0.1F, 1.0F),
             S = random_floats(std::ptrdiff_t{n_heads} * head * head);
  for (const bool is_first : {false, true}) {
    const auto found = prepared(kernels, r, k, v, a, w, vectors, S, is_first);
    const auto expected = prepared(definition, r, k, v, a, w, vectors, S, is_first);
    check_close(found.data(), expected.data(), static_cast<std::ptrdiff_t>(found.size()), 5e-4F);
  }
}

// Activations of any numbers: a product of no input channels has its bias for a sum.
std::vector<float> activate(const Kernels& kernels, Activation activation, const std::vector<float>& x,
                            std::ptrdiff_t n) {
  std::vector<float> found(x.size(), kNan);
  kernels.product({}, 1, {.n = static_cast<int>(n)},
                  {.activation = activation, .bias = x.data(), .out = found.data(), .stride = n});
  return found;
}

// The bounds that vector_math.h states, over all of float's range: every 1021st number there is.
void test_activations(const Kernels& kernels) {
  std::vector<float> x;
  for (std::uint32_t bits = 0; bits < 0xFF800000U; bits += 1021) {
    const auto value = std::bit_cast<float>(bits);
    if (std::isfinite(value)) {
      x.push_back(value);
    }
  }
  for (float value = -20.0F; value < 20.0F; value += 1e-4F) {
    x.push_back(value);
  }
  const auto check = [&](Activation activation, double bound, auto exact) {
    const auto found = activate(kernels, activation, x, static_cast<std::ptrdiff_t>(x.size()));
    for (std::size_t i = 0; i < x.size(); ++i) {
      CHECK(std::abs(found[i] - exact(static_cast<double>(x[i]))) <= bound);
    }
  };
  const auto sigmoid = [](double value) { return 1.0 / (1.0 + std::exp(-value)); };
  check(Activation::kSigmoid, 2e-7, sigmoid);
  check(Activation::kTanh, 3.5e-7, [](double value) { return std::tanh(value); });
  check(Activation::kDecay, 2e-7,
        [&](double value) { return std::exp(double{kDecayScale} * sigmoid(value)); });
  check(Activation::kExpDecay, 2e-7, [](double value) { return std::exp(-std::exp(value)); });
  const auto silu = activate(kernels, Activation::kSilu, x, static_cast<std::ptrdiff_t>(x.size()));
  for (std::size_t i = 0; i < x.size(); ++i) {
    const auto value = static_cast<double>(x[i]);
    CHECK(std::abs(silu[i] - value * sigmoid(value)) <= 2e-7 * std::max(1.0, value));
  }
  for (const Activation activation : {Activation::kNone, Activation::kTanh, Activation::kSigmoid,
                                      Activation::kDecay, Activation::kSquaredRelu, Activation::kSilu,
                                      Activation::kExpDecay}) {
    for (const std::ptrdiff_t n : {0, 1, 3, 8, 17}) {
      const auto values = activate(kernels, activation, std::vector<float>(size(n) + 1, kNan), n);
      CHECK(std::all_of(values.begin(), values.end(), [](float value) { return std::isnan(value); }));
    }
  }
}

void test(const Kernels& kernels) {
  test_convert(kernels);
  test_quantised_extremes(kernels);
  for (const Dtype dtype : kDtypes) {
    for (const auto& [n, k] : {std::pair{1, 1}, {31, 3}, {32, 4}, {33, 66}, {130, 17}, {160, 33}}) {
      test_product(kernels, dtype, n, k);
    }
    test_rows_do_not_meet(kernels, dtype, 133, 37);
    test_sparse_rows(kernels, dtype, 133, 37);
    test_sparse_rows(kernels, dtype, 160, 256);
  }
  for (const int m : {0, 1, 2, 9}) {
    for (const int c : {1, 7, 16, 40, 67, 128}) {
      test_norm_and_mix(kernels, m, c);
    }
    for (const int head : {1, 8, 13, 24, 32, 64, 128}) {
      test_recurrence(kernels, m, head);
      test_earlier_recurrence(kernels, m, head);
    }
  }
  for (const std::ptrdiff_t n : {0, 1, 5, 16, 17, 67}) {
    test_add_gated(kernels, n);
  }
  test_activations(kernels);
}

}  // namespace

int main() {
  CHECK(find("none such") == nullptr);
  CHECK(find(name_of(0)) == nullptr || find("") == find(name_of(0)));
  for (int i = 0; i < n_names(); ++i) {
    const Kernels* kernels = find(name_of(i));
    std::printf("%s: %s\n", name_of(i), kernels == nullptr ? "not tested, this CPU lacks it" : "tested");
    if (kernels != nullptr) {
      CHECK(std::strcmp(kernels->name, name_of(i)) == 0);
      test(*kernels);
    }
  }
}
