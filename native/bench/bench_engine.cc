// How far the engine is from what this core can do: peaks of the instructions, then the forward and its
// kernels.
//
//   bench_engine [all | profile]
//
// One thread, processor time; each figure is the median of 9 runs, peaks and forward taken in turns. The floor
// of a forward is its products at the peak of their instruction plus its recurrences, the fastest run of each.
// `profile` prints where the time of a forward goes instead.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "gooseguard/engine.h"
#include "kernels/kernels.h"
#include "model/backbone.h"

namespace {

using namespace gooseguard;

constexpr int kRuns = 9;

// Processor time: on one thread that is what a quiet machine's clock would show.
double seconds(const std::function<void()>& work) {
  const std::clock_t begin = std::clock();
  work();
  return static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
}

struct Times {
  double median;
  double fastest;
};

Times measure(const std::function<void()>& work) {
  std::vector<double> times;
  for (int i = 0; i < kRuns; ++i) {
    times.push_back(seconds(work));
  }
  std::sort(times.begin(), times.end());
  return {times[kRuns / 2], times[0]};
}

#if defined(__x86_64__) && defined(__GNUC__)
#define GG_PEAK(name, op)                                                                                \
  __attribute__((target("avx512f,avx512vnni,avx512bf16"))) void name(long n) {                           \
    asm volatile("1:\n.irp r,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n" op                                 \
                 " %%zmm30, %%zmm31, %%zmm\\r\n.endr\ndec %0\njnz 1b\n"                                  \
                 : "+r"(n)                                                                               \
                 :                                                                                       \
                 : "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", \
                   "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");                                \
  }
GG_PEAK(peak_f32, "vfmadd231ps")
GG_PEAK(peak_bf16, "vdpbf16ps")
GG_PEAK(peak_int8, "vpdpbusd")

// Operations a second of the multiply-add of a dtype, everything in registers.
double peak(Dtype dtype) {
  const auto run = dtype == Dtype::kF32 ? peak_f32 : dtype == Dtype::kBf16 ? peak_bf16 : peak_int8;
  const double per_op = dtype == Dtype::kF32 ? 32 : dtype == Dtype::kBf16 ? 64 : 128;
  constexpr long kLoops = 400000;
  return 16.0 * kLoops * per_op / measure([&] { run(kLoops); }).fastest;
}
#else
double peak(Dtype) { return 0; }
#endif

// A random model; what the numbers are does not matter to time, as long as they stay ordinary ones.
class Model {
 public:
  Model(const Config& config, Dtype dtype) : config_(config), dtype_(dtype) {
    const int C = config.n_embd, F = config.n_ffn;
    if (dtype == Dtype::kF32) {
      floats("emb.weight", config.vocab_size * C, -0.5F, 0.5F);
    } else {
      // As in a file of these dtypes.
      embedding(static_cast<std::size_t>(config.vocab_size) * static_cast<std::size_t>(C));
    }
    norm("blocks.0.ln0");
    norm("ln_out");
    for (int i = 0; i < config.n_layer; ++i) {
      const std::string block = "blocks." + std::to_string(i) + ".", att = block + "att.",
                        ffn = block + "ffn.";
      for (const char* name : {"ln1", "ln2", "att.ln_x"}) {
        norm(block + name);
      }
      for (const char* name :
           {"x_r", "x_w", "x_k", "x_v", "x_a", "x_g", "k_k", "k_a", "r_k", "w0", "a0", "v0"}) {
        floats(att + name, C, 0.0F, 1.0F);
      }
      floats(ffn + "x_k", C, 0.0F, 1.0F);
      for (const char* name : {"receptance", "key", "value", "output"}) {
        matrix(att + name + ".weight", C, C, dtype);
      }
      matrix(ffn + "key.weight", F, C, dtype);
      matrix(ffn + "value.weight", C, F, dtype);
      const std::pair<const char*, int> ranks[] = {
          {"w", config.rank_w}, {"a", config.rank_a}, {"v", config.rank_v}, {"g", config.rank_g}};
      const Dtype small = dtype == Dtype::kF32 ? dtype : Dtype::kBf16;
      for (const auto& [name, rank] : ranks) {
        matrix(att + name + "1", rank, C, small);
        matrix(att + name + "2", C, rank, small);
      }
    }
    backbone = std::make_unique<Backbone>(config, tensors_, "");
  }

  // Multiply-adds a token, matrices only.
  double operations(Dtype dtype) const {
    const double C = config_.n_embd, F = config_.n_ffn;
    const double large = 4 * C * C + 2 * C * F;
    const double ranks = config_.rank_w + config_.rank_a + config_.rank_g + config_.rank_v;
    const double small = 2 * C * ranks;
    const double all = config_.n_layer * 2.0;
    if (dtype_ != Dtype::kInt8) {
      return dtype == dtype_ ? all * (large + small) : 0;
    }
    return dtype == Dtype::kInt8 ? all * large : dtype == Dtype::kBf16 ? all * small : 0;
  }

  const Tensors& tensors() const { return tensors_; }

  std::unique_ptr<Backbone> backbone;

 private:
  std::vector<float>& draw(std::size_t n, float low, float high) {
    std::uniform_real_distribution<float> distribution(low, high);
    auto& values = memory_.emplace_back(n + 16);
    std::generate(values.begin(), values.end(), [&] { return distribution(generator_); });
    return values;
  }
  void floats(const std::string& name, int n, float low, float high) {
    const auto count = static_cast<std::size_t>(n);
    tensors_[name] = {Dtype::kF32, draw(count, low, high).data(), count * 4};
  }
  void embedding(std::size_t n) {
    auto* place = reinterpret_cast<char*>(draw(n / 2, 0.0F, 1.0F).data());
    for (std::size_t i = 0; i < n; ++i) {
      const auto bits = static_cast<std::uint16_t>((generator_() % 2 << 15) | (0x3E80U + generator_() % 128));
      std::memcpy(place + 2 * i, &bits, 2);
    }
    tensors_["emb.weight"] = {Dtype::kBf16, place, 2 * n};
  }
  void norm(const std::string& prefix) {
    floats(prefix + ".weight", config_.n_embd, 0.8F, 1.2F);
    floats(prefix + ".bias", config_.n_embd, -0.1F, 0.1F);
  }
  void matrix(const std::string& name, int n, int k, Dtype dtype) {
    const auto bytes =
        static_cast<std::size_t>(kernels::tile_bytes(static_cast<kernels::Dtype>(dtype), n, k));
    auto& values = draw(bytes / 4, -0.05F, 0.05F);
    char* place = reinterpret_cast<char*>(values.data());
    place += (64 - reinterpret_cast<std::uintptr_t>(place) % 64) % 64;
    if (dtype == Dtype::kBf16) {
      for (std::size_t i = 0; i < bytes / 2; ++i) {
        const auto bits =
            static_cast<std::uint16_t>((generator_() % 2 << 15) | (0x3C00U + generator_() % 256));
        std::memcpy(place + 2 * i, &bits, 2);
      }
    } else if (dtype == Dtype::kInt8) {
      std::generate(place, place + bytes, [&] { return static_cast<char>(generator_() % 255 - 127); });
      floats(name + ".scale", n, 0.0003F, 0.0005F);
    }
    tensors_[name] = {dtype, place, bytes};
  }

  Config config_;
  Dtype dtype_;
  Tensors tensors_;
  std::mt19937 generator_{7};
  std::vector<std::vector<float>> memory_;
};

double recurrence(int head) {
  constexpr int kTokens = 64;
  std::vector<float> all(static_cast<std::size_t>(kTokens * head), 0.1F), y(all);
  std::vector<float> w(all.size(), 0.9F), state(static_cast<std::size_t>(head * head));
  const kernels::Kernels& kernels = *kernels::find("");
  const kernels::Wkv wkv{kTokens,    head,       head,       all.data(), w.data(),    all.data(),
                         all.data(), all.data(), all.data(), y.data(),   state.data()};
  return measure([&] {
           for (int i = 0; i < 20; ++i) {
             kernels.wkv(wkv);
           }
         }).fastest /
         (20 * kTokens);
}

void bench(const Config& config, Dtype dtype, const char* name) {
  const Model model(config, dtype);
  std::mt19937 generator(1);
  std::vector<std::vector<std::int32_t>> texts(64);
  std::size_t tokens = 0;
  for (auto& text : texts) {
    text.resize(30 + generator() % 31);
    tokens += text.size();
    for (auto& token : text) {
      token = static_cast<std::int32_t>(generator() % static_cast<unsigned>(config.vocab_size));
    }
  }
  std::vector<double> forwards, floors, steps;
  double wkv = 0;
  Pool stream;
  for (int run = 0; run < kRuns; ++run) {
    std::vector<Pool> pools(texts.size());
    std::vector<Sequence> sequences;
    for (std::size_t i = 0; i < texts.size(); ++i) {
      sequences.push_back({texts[i], &pools[i], false, nullptr});
    }
    forwards.push_back(seconds([&] { model.backbone->run(sequences, 1); }) / static_cast<double>(tokens));
    wkv = config.n_layer * (config.n_embd / config.head_size) * recurrence(config.head_size);
    double floor = wkv;
    for (const Dtype part : {Dtype::kF32, Dtype::kBf16, Dtype::kInt8}) {
      if (model.operations(part) > 0) {
        floor += model.operations(part) / peak(part);
      }
    }
    floors.push_back(floor);
    const std::int32_t token[] = {1};
    const Sequence step{token, &stream, true, nullptr};
    steps.push_back(seconds([&] {
                      for (int i = 0; i < 100; ++i) {
                        model.backbone->run({&step, 1}, 1);
                      }
                    }) /
                    100);
  }
  for (auto* times : {&forwards, &floors, &steps}) {
    std::sort(times->begin(), times->end());
  }
  const double forward = forwards[kRuns / 2], floor = floors[kRuns / 2];
  std::printf(
      "%-14s %6.1f us/token (fastest %6.1f), floor %6.1f of which recurrence %5.1f, distance %.2f (fastest "
      "%.2f); "
      "one token %7.0f us\n",
      name, forward * 1e6, forwards[0] * 1e6, floor * 1e6, wkv * 1e6, forward / floor,
      forwards[0] / floors[0], steps[kRuns / 2] * 1e6);
}

// Where the time of a forward goes: the table of kernels once more, each timed, products by dtype and shape.
kernels::Kernels plain;
std::map<std::string, double> spent;

template <auto kMember, typename... Arguments>
void timed(const std::string& name, Arguments... arguments) {
  spent[name] += seconds([&] { (plain.*kMember)(arguments...); });
}

kernels::Kernels timed_kernels() {
  using namespace kernels;
  static constexpr const char* kDtypes[] = {"f32", "bf16", "int8"};
  plain = *find("");
  Kernels all = plain;
  all.product = [](const Rows& rows, int m, const Matrix& matrix, const Epilogue& epilogue) {
    timed<&Kernels::product, const Rows&, int, const Matrix&, const Epilogue&>(
        std::string("product ") + kDtypes[static_cast<int>(matrix.dtype)] + " " + std::to_string(matrix.n) +
            " x " + std::to_string(matrix.k) + (epilogue.activation == Activation::kNone ? "" : ", activated"),
        rows, m, matrix, epilogue);
  };
  all.mix = [](const Mix& p) {
    timed<&Kernels::mix, const Mix&>("mix, " + std::to_string(p.n_lerps) + " lerps", p);
  };
  all.prepare = [](const Prepare& p) { timed<&Kernels::prepare, const Prepare&>("prepare", p); };
  all.wkv = [](const Wkv& p) { timed<&Kernels::wkv, const Wkv&>("recurrence", p); };
  all.read_out = [](const ReadOut& p) { timed<&Kernels::read_out, const ReadOut&>("read out", p); };
  all.layer_norm = [](const float* x, int m, int c, const Norm& norm, float* out) {
    timed<&Kernels::layer_norm, const float*, int, int, const Norm&, float*>("layer norm", x, m, c, norm,
                                                                              out);
  };
  all.convert = [](const float* x, std::ptrdiff_t stride, int m, int k, const Rows& out) {
    timed<&Kernels::convert, const float*, std::ptrdiff_t, int, int, const Rows&>("quantise", x, stride, m, k,
                                                                                   out);
  };
  return all;
}

// Print microseconds a token of each kernel, in units of `kTexts` texts of 43 tokens.
void profile(const Config& config, Dtype dtype, const char* name) {
  constexpr int kTexts = 5, kLength = 43, kTimes = 200;
  const Model model(config, dtype);
  const model::Weights weights = model::read_weights(config, model.tensors());
  const kernels::Kernels all = timed_kernels();
  std::vector<State> states;
  std::vector<std::int32_t> tokens;
  std::mt19937 generator(1);
  const auto shift = static_cast<std::size_t>(config.n_layer * config.n_embd);
  for (int i = 0; i < kTexts; ++i) {
    states.push_back({std::vector<float>(shift), {}, std::vector<float>(shift)});
    for (int t = 0; t < kLength; ++t) {
      tokens.push_back(static_cast<std::int32_t>(generator() % static_cast<unsigned>(config.vocab_size)));
    }
  }
  std::vector<model::Segment> segments;
  for (int i = 0; i < kTexts; ++i) {
    segments.push_back({i * kLength, (i + 1) * kLength, &states[static_cast<std::size_t>(i)], false});
  }
  model::Scratch scratch;
  const auto forward = [&](const kernels::Kernels& with) {
    return measure([&] {
             for (int i = 0; i < kTimes / 10; ++i) {
               model::forward(weights, with, tokens, segments, scratch);
             }
           }).median /
           (kTimes / 10 * kTexts * kLength);
  };
  const double whole = forward(*kernels::find(""));
  spent.clear();
  const double watched = forward(all);
  std::printf("%s: %.2f us/token, watched %.2f\n", name, whole * 1e6, watched * 1e6);
  std::vector<std::pair<double, std::string>> order;
  double sum = 0;
  for (const auto& [kernel, time] : spent) {
    order.push_back({time / (kRuns * kTimes / 10 * kTexts * kLength), kernel});
    sum += order.back().first;
  }
  std::sort(order.rbegin(), order.rend());
  for (const auto& [time, kernel] : order) {
    std::printf("  %-32s %6.2f\n", kernel.c_str(), time * 1e6);
  }
  std::printf("  %-32s %6.2f\n", "sum of kernels", sum * 1e6);
}

Config make_config(int n_layer, int n_embd, int vocab_size) {
  return {n_layer, n_embd, vocab_size, 64, 4 * n_embd, 32, 32, 32, 32};
}

}  // namespace

int main(int argc, char** argv) {
  std::printf("%s; peaks: f32 %.0f, bf16 %.0f, int8 %.0f G/s; recurrence %.3f us a token and head of 64\n",
              kernels::find("")->name, peak(Dtype::kF32) / 1e9, peak(Dtype::kBf16) / 1e9,
              peak(Dtype::kInt8) / 1e9, recurrence(64) * 1e6);
  const Config small = make_config(6, 256, 8192), large = make_config(12, 768, 65536);
  if (argc > 1 && std::strcmp(argv[1], "profile") == 0) {
    profile(small, Dtype::kF32, "L6 D256 f32");
    profile(small, Dtype::kBf16, "L6 D256 bf16");
    profile(small, Dtype::kInt8, "L6 D256 int8");
    profile(large, Dtype::kInt8, "L12 D768 int8");
    return 0;
  }
  bench(small, Dtype::kF32, "L6 D256 f32");
  bench(small, Dtype::kBf16, "L6 D256 bf16");
  bench(small, Dtype::kInt8, "L6 D256 int8");
  if (argc > 1) bench(large, Dtype::kF32, "L12 D768 f32");
  if (argc > 1) bench(large, Dtype::kBf16, "L12 D768 bf16");
  if (argc > 1) bench(large, Dtype::kInt8, "L12 D768 int8");
}
