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

#include "arrays.h"
#include "bindings.h"
#include "held.h"

namespace nb = nanobind;

namespace gooseguard::bindings {
namespace {

using Tokens = nb::ndarray<const std::int32_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Floats = nb::ndarray<nb::numpy, float>;

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

void make(HeldBackbone* place, const nb::dict& config, const nb::dict& tensors, const std::string& isa) {
  HeldBackbone held{HeldTensors(tensors), nullptr};
  held.backbone = std::make_unique<Backbone>(to_config(config), held.tensors.views, isa);
  new (place) HeldBackbone(std::move(held));
}

std::vector<Floats> run(const HeldBackbone& held, const std::vector<Tokens>& tokens, const std::vector<Pool*>& pools,
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

// What a head reads of many texts, (n, 3 C): last, mean and maximum of each; zeros for one without tokens.
Floats features(const HeldBackbone& held, const Tokens& ids,
                const nb::ndarray<const std::int64_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>& offsets,
                int threads) {
  std::vector<float> values;
  {
    const nb::gil_scoped_release release;
    values = held.backbone->features({ids.data(), ids.size()}, {offsets.data(), offsets.size()}, threads);
  }
  const auto n_features = 3 * static_cast<std::size_t>(held.backbone->config().n_embd);
  const std::size_t n = values.size() / n_features;
  return to_array(std::move(values), {n, n_features});
}

Floats logits(const HeldBackbone& held,
              const nb::ndarray<const float, nb::ndim<2>, nb::c_contig, nb::device::cpu>& hidden) {
  const auto V = static_cast<std::size_t>(held.backbone->config().vocab_size);
  std::vector<float> values(hidden.shape(0) * V);
  held.backbone->logits({hidden.data(), hidden.size()}, values);
  return to_array(std::move(values), {hidden.shape(0), V});
}

Floats mean(const Pool& pool) { return to_array(pool.mean(), {pool.total.size()}); }

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

nb::ndarray<nb::numpy, double> total(const Pool& pool) { return to_array(pool.total, {pool.total.size()}); }

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
  nb::class_<HeldBackbone>(module, "Backbone")
      .def("__init__", &make, nb::arg("config"), nb::arg("tensors"), nb::arg("isa") = "")
      .def("run", &run, nb::arg("tokens"), nb::arg("pools"), nb::arg("keep_state"), nb::arg("want_hidden"),
           nb::arg("threads"))
      .def("features", &features, nb::arg("ids"), nb::arg("offsets"), nb::arg("threads"))
      .def("logits", &logits, nb::arg("hidden"))
      .def_prop_ro("isa", [](const HeldBackbone& held) { return held.backbone->isa(); });
  module.def("isa_names", &isa_names);
  module.def("has_isa", &has_isa, nb::arg("name"));
}

}  // namespace gooseguard::bindings
