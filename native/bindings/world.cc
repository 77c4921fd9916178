// WorldTokenizer for Python.
#include "gooseguard/world.h"

#include <string>

#include <nanobind/stl/pair.h>

#include "bindings.h"
#include "texts.h"

namespace nb = nanobind;

namespace gooseguard::bindings {
namespace {

void make(WorldTokenizer* self, const nb::list& tokens) {
  std::vector<std::string_view> views;
  views.reserve(tokens.size());
  for (const nb::handle token : tokens) {
    const auto bytes = nb::cast<nb::bytes>(token);
    views.emplace_back(bytes.c_str(), bytes.size());
  }
  new (self) WorldTokenizer(views);
}

std::pair<nb::object, std::size_t> encode(const WorldTokenizer& self, const nb::bytes& data,
                                           bool is_last) {
  std::vector<std::int32_t> ids;
  ids.reserve(data.size() / 3 + 8);
  const std::string_view view(data.c_str(), data.size());
  std::size_t used = 0;
  {
    const nb::gil_scoped_release released;
    used = self.encode(view, is_last, ids);
  }
  return {to_list(ids), used};
}

std::pair<Array<std::int32_t>, Array<std::int64_t>> encode_batch(const WorldTokenizer& self, nb::handle sequence) {
  const Texts texts(sequence, true);
  std::vector<std::int32_t> ids;
  std::vector<std::int64_t> offsets{0};
  {
    const nb::gil_scoped_release released;
    std::string scratch;
    for (std::size_t i = 0; i < texts.size(); ++i) {
      self.encode(texts.bytes(i, scratch), true, ids);
      offsets.push_back(static_cast<std::int64_t>(ids.size()));
    }
  }
  return {to_array(std::move(ids)), to_array(std::move(offsets))};
}

}  // namespace

void add_world(nb::module_& module) {
  nb::class_<WorldTokenizer>(module, "WorldTokenizer")
      .def("__init__", &make, nb::arg("tokens"))
      .def("encode", &encode, nb::arg("data"), nb::kw_only(), nb::arg("is_last"))
      .def("encode_batch", &encode_batch, nb::arg("texts"));
}

}  // namespace gooseguard::bindings
