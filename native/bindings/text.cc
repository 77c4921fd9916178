// Normaliser and starter tokenizer for Python.
#include <string>
#include <tuple>

#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include "bindings.h"
#include "gooseguard/errors.h"
#include "gooseguard/normalizer.h"
#include "gooseguard/tokenizer.h"
#include "texts.h"

namespace nb = nanobind;

namespace gooseguard::bindings {
namespace {

using Ids = std::vector<std::int32_t>;
using Offsets = std::vector<std::int64_t>;

nb::object to_str(const std::u32string& text) {
  PyObject* made = PyUnicode_FromKindAndData(PyUnicode_4BYTE_KIND, text.data(), static_cast<Py_ssize_t>(text.size()));
  if (made == nullptr) nb::raise_python_error();
  return nb::steal(made);
}

std::tuple<nb::object, Offsets, Offsets> to_python(Normalized&& normalized) {
  return {to_str(normalized.text), std::move(normalized.begins), std::move(normalized.ends)};
}

// Run `work` on a str, without the interpreter's lock; gives what it gives.
template <typename Work>
auto released(const nb::str& text, Work work) {
  const TextView view = view_of(text);
  const nb::gil_scoped_release release;
  return work(view);
}

auto normalize(const nb::str& text) {
  return to_python(released(text, [](const TextView& view) {
    Normalized normalized;
    Normalizer(true).normalize(view, normalized);
    return normalized;
  }));
}

auto push(Normalizer& self, const nb::str& text) {
  Normalized normalized;
  self.push(view_of(text), normalized);
  return to_python(std::move(normalized));
}

auto finish(Normalizer& self) {
  Normalized normalized;
  self.finish(normalized);
  return to_python(std::move(normalized));
}

// The pairs of a Python list of lists or tuples of two int.
std::vector<std::pair<std::int64_t, std::int64_t>> to_merges(nb::handle sequence) {
  const auto all = nb::steal(PySequence_Fast(sequence.ptr(), "expected a sequence of pairs"));
  if (!all.is_valid()) nb::raise_python_error();
  std::vector<std::pair<std::int64_t, std::int64_t>> merges;
  const Py_ssize_t size = PySequence_Fast_GET_SIZE(all.ptr());
  merges.reserve(static_cast<std::size_t>(size));
  for (Py_ssize_t rank = 0; rank < size; ++rank) {
    PyObject* pair = PySequence_Fast_GET_ITEM(all.ptr(), rank);
    std::int64_t ids[2] = {};
    bool is_pair = (PyList_Check(pair) || PyTuple_Check(pair)) && PySequence_Fast_GET_SIZE(pair) == 2;
    for (int i = 0; is_pair && i < 2; ++i) {
      PyObject* id = PySequence_Fast_GET_ITEM(pair, i);
      int overflow = 0;
      // Not bool, which is an int to Python.
      is_pair = PyLong_CheckExact(id);
      if (is_pair) ids[i] = PyLong_AsLongLongAndOverflow(id, &overflow);
      is_pair = is_pair && overflow == 0;
    }
    if (!is_pair) throw ArtefactError("vocabulary: merge " + std::to_string(rank) + " is no pair of ids");
    merges.emplace_back(ids[0], ids[1]);
  }
  return merges;
}

std::vector<nb::bytes> tokens(const Tokenizer& self) {
  std::vector<nb::bytes> all;
  for (std::size_t id = 0; id < self.vocab_size(); ++id) {
    all.emplace_back(self.token(id).data(), self.token(id).size());
  }
  return all;
}

nb::object encode(const Tokenizer& self, const nb::str& text) {
  return to_list(released(text, [&](const TextView& view) {
    Ids ids;
    ids.reserve(view.size / 3 + 8);
    self.encode(view, ids);
    return ids;
  }));
}

std::tuple<Array<std::int32_t>, Array<std::int64_t>, Array<std::uint8_t>> encode_texts(const Tokenizer& self,
                                                                                    nb::handle sequence) {
  const Texts texts(sequence, false);
  Ids ids;
  Offsets offsets{0};
  std::vector<std::uint8_t> is_visible;
  {
    const nb::gil_scoped_release release;
    TextEncoder encoder(self);
    for (std::size_t i = 0; i < texts.size(); ++i) {
      is_visible.push_back(encoder.encode(texts[i], ids) ? 1 : 0);
      offsets.push_back(static_cast<std::int64_t>(ids.size()));
    }
  }
  return {to_array(std::move(ids)), to_array(std::move(offsets)), to_array(std::move(is_visible))};
}

}  // namespace

void add_text(nb::module_& module) {
  module.attr("UNICODE_VERSION") = unicode_version();
  module.def("normalize", &normalize, nb::arg("text"));
  nb::class_<Normalizer>(module, "Normalizer")
      .def("__init__", [](Normalizer* self) { new (self) Normalizer(true); })
      .def("push", &push, nb::arg("text"))
      .def("finish", &finish);
  nb::class_<Tokenizer>(module, "Tokenizer")
      .def("__init__", [](Tokenizer* self, nb::handle merges) { new (self) Tokenizer(to_merges(merges)); },
           nb::arg("merges"))
      .def_prop_ro("vocab_size", &Tokenizer::vocab_size)
      .def("tokens", &tokens)
      .def("encode", &encode, nb::arg("text"))
      .def("encode_texts", &encode_texts, nb::arg("texts"));
}

}  // namespace gooseguard::bindings
