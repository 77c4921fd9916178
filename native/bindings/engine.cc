// Backbone and Pool: NumPy arrays to the engine's spans and back, the interpreter let go while tokens run.
#include "gooseguard/engine.h"

#include <nanobind/ndarray.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bindings.h"
#include "tensors.h"

namespace nb = nanobind;

namespace gooseguard::bindings {
namespace {

using Tokens = nb::ndarray<const std::int32_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Floats = nb::ndarray<nb::numpy, float>;

// A backbone and the arrays whose memory it reads.
struct Held {
  HeldTensors tensors;
  std::unique_ptr<Backbone> backbone;
};

int size_of(const nb::dict& config, const char* name) {
  if (!config.contains(name)) {
    throw EngineError(std::string("config: ") + name + " is missing");
  }
  return nb::cast<int>(config[name]);
}

Version to_version(const std::string& name) {
  const std::pair<const char*, Version> versions[] = {
      {"x052", Version::kX052}, {"x060", Version::kX060}, {"x070", Version::kX070}};
  for (const auto& [known, version] : versions) {
    if (name == known) {
      return version;
    }
  }
  throw EngineError("config: version is '" + name + "', expected x052, x060 or x070");
}

Config to_config(const nb::dict& config) {
  if (!config.contains("version")) {
    throw EngineError("config: version is missing");
  }
  Config found{.n_layer = size_of(config, "n_layer"),
               .n_embd = size_of(config, "n_embd"),
               .vocab_size = size_of(config, "vocab_size"),
               .head_size = size_of(config, "head_size"),
               .n_ffn = size_of(config, "n_ffn"),
               .version = to_version(nb::cast<std::string>(config["version"]))};
  if (found.version != Version::kX052) {
    found.rank_w = size_of(config, "rank_w");
  }
  if (found.version == Version::kX060) {
    found.rank_mix = size_of(config, "rank_mix");
  }
  if (found.version == Version::kX070) {
    found.rank_a = size_of(config, "rank_a");
    found.rank_v = size_of(config, "rank_v");
    found.rank_g = size_of(config, "rank_g");
  }
  return found;
}

void make(Held* place, const nb::dict& config, const nb::dict& tensors, const std::string& isa) {
  Held held{HeldTensors(tensors), nullptr};
  held.backbone = std::make_unique<Backbone>(to_config(config), held.tensors.views, isa);
  new (place) Held(std::move(held));
}

// An array of `shape` that owns its memory, holding `values`.
Floats to_array(std::vector<float> values, std::vector<std::size_t> shape) {
  auto owned = std::make_unique<std::vector<float>>(std::move(values));
  float* data = owned->data();
  const nb::capsule owner(owned.release(),
                          [](void* vector) noexcept { delete static_cast<std::vector<float>*>(vector); });
  return Floats(data, shape.size(), shape.data(), owner);
}

std::vector<Floats> run(const Held& held, const std::vector<Tokens>& tokens, const std::vector<Pool*>& pools,
                        bool keep_state, bool want_hidden, int threads) {
  if (tokens.size() != pools.size()) {
    throw EngineError(std::to_string(pools.size()) + " pools for " + std::to_string(tokens.size()) +
                      " sequences, expected one each");
  }
  const auto C = static_cast<std::size_t>(held.backbone->config().n_embd);
  std::vector<std::vector<float>> hidden(want_hidden ? tokens.size() : 0);
  std::vector<Sequence> sequences;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    float* out = nullptr;
    if (want_hidden) {
      hidden[i].resize(tokens[i].size() * C);
      out = hidden[i].data();
    }
    sequences.push_back({{tokens[i].data(), tokens[i].size()}, pools[i], keep_state, out});
  }
  {
    const nb::gil_scoped_release release;
    held.backbone->run(sequences, threads);
  }
  std::vector<Floats> arrays;
  for (auto& values : hidden) {
    const std::size_t n = values.size() / C;
    arrays.push_back(to_array(std::move(values), {n, C}));
  }
  return arrays;
}

// Writes the mean of the hidden states, rounded once.
std::vector<float>::iterator mean_of(const Pool& pool, std::vector<float>::iterator out) {
  const auto count = static_cast<double>(std::max<std::int64_t>(pool.count, 1));
  return std::transform(pool.total.begin(), pool.total.end(), out,
                        [count](double total) { return static_cast<float>(total / count); });
}

// What a head reads of many texts, (n, 3 C): last, mean and maximum of each; zeros for one without tokens.
Floats features(const Held& held, const Tokens& ids,
                const nb::ndarray<const std::int64_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>& offsets,
                int threads) {
  const std::size_t n = offsets.size() == 0 ? 0 : offsets.size() - 1;
  const auto C = static_cast<std::size_t>(held.backbone->config().n_embd);
  std::vector<Pool> pools(n);
  std::vector<Sequence> sequences;
  for (std::size_t i = 0; i < n; ++i) {
    const std::int64_t begin = offsets.data()[i], end = offsets.data()[i + 1];
    if (begin < 0 || end < begin || static_cast<std::size_t>(end) > ids.size()) {
      throw EngineError("features: offsets do not rise from 0 to the number of ids");
    }
    sequences.push_back(
        {{ids.data() + begin, static_cast<std::size_t>(end - begin)}, &pools[i], false, nullptr});
  }
  std::vector<float> values(n * 3 * C);
  {
    const nb::gil_scoped_release release;
    held.backbone->run(sequences, threads);
    auto out = values.begin();
    for (const Pool& pool : pools) {
      out = std::copy(pool.last.begin(), pool.last.end(), out);
      out = mean_of(pool, out);
      out = std::copy(pool.maximum.begin(), pool.maximum.end(), out);
    }
  }
  return to_array(std::move(values), {n, 3 * C});
}

Floats logits(const Held& held,
              const nb::ndarray<const float, nb::ndim<2>, nb::c_contig, nb::device::cpu>& hidden) {
  const auto V = static_cast<std::size_t>(held.backbone->config().vocab_size);
  std::vector<float> values(hidden.shape(0) * V);
  held.backbone->logits({hidden.data(), hidden.size()}, values);
  return to_array(std::move(values), {hidden.shape(0), V});
}

Floats mean(const Pool& pool) {
  std::vector<float> values(pool.total.size());
  mean_of(pool, values.begin());
  const std::size_t n = values.size();
  return to_array(std::move(values), {n});
}

template <typename T>
using Flat = nb::ndarray<const T, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

template <typename T>
std::vector<T> to_vector(const Flat<T>& array) {
  return std::vector<T>(array.data(), array.data() + array.size());
}

// Whether it fits a model is checked where it is run.
Pool pool_of(const Flat<float>& last, const Flat<double>& total, const Flat<float>& maximum,
             std::int64_t count, const Flat<float>& attention_shift, const Flat<float>& wkv,
             const Flat<float>& ffn_shift) {
  if (count < 0) {
    throw EngineError("pool: count is " + std::to_string(count) + ", expected at least 0");
  }
  return {to_vector(last),
          to_vector(total),
          to_vector(maximum),
          count,
          {to_vector(attention_shift), to_vector(wkv), to_vector(ffn_shift)}};
}

nb::ndarray<nb::numpy, double> total(const Pool& pool) {
  auto owned = std::make_unique<std::vector<double>>(pool.total);
  double* data = owned->data();
  const std::size_t n = owned->size();
  const nb::capsule owner(owned.release(),
                          [](void* vector) noexcept { delete static_cast<std::vector<double>*>(vector); });
  return nb::ndarray<nb::numpy, double>(data, {n}, owner);
}

}  // namespace

void add_engine(nb::module_& module) {
  constexpr auto kMove = nb::rv_policy::move;
  nb::class_<Pool> pool(module, "Pool");
  pool.def(nb::init<>())
      .def("copy", [](const Pool& pool) { return Pool(pool); })
      .def_prop_ro(
          "last", [](const Pool& pool) { return to_array(pool.last, {pool.last.size()}); }, kMove)
      .def_prop_ro("mean", &mean, kMove)
      .def_prop_ro("total", &total, kMove)
      .def_prop_ro(
          "maximum", [](const Pool& pool) { return to_array(pool.maximum, {pool.maximum.size()}); }, kMove)
      .def_ro("count", &Pool::count)
      .def_prop_ro(
          "attention_shift",
          [](const Pool& pool) {
            return to_array(pool.state.attention_shift, {pool.state.attention_shift.size()});
          },
          kMove)
      .def_prop_ro(
          "wkv", [](const Pool& pool) { return to_array(pool.state.wkv, {pool.state.wkv.size()}); }, kMove)
      .def_prop_ro(
          "ffn_shift",
          [](const Pool& pool) { return to_array(pool.state.ffn_shift, {pool.state.ffn_shift.size()}); },
          kMove);
  pool.def_static("of", &pool_of, nb::arg("last"), nb::arg("total"), nb::arg("maximum"), nb::arg("count"),
                  nb::arg("attention_shift"), nb::arg("wkv"), nb::arg("ffn_shift"));
  nb::class_<Held>(module, "Backbone")
      .def("__init__", &make, nb::arg("config"), nb::arg("tensors"), nb::arg("isa") = "")
      .def("run", &run, nb::arg("tokens"), nb::arg("pools"), nb::arg("keep_state"), nb::arg("want_hidden"),
           nb::arg("threads"))
      .def("features", &features, nb::arg("ids"), nb::arg("offsets"), nb::arg("threads"))
      .def("logits", &logits, nb::arg("hidden"))
      .def_prop_ro("isa", [](const Held& held) { return held.backbone->isa(); });
  module.def("isa_names", &isa_names);
  module.def("has_isa", &has_isa, nb::arg("name"));
}

}  // namespace gooseguard::bindings
