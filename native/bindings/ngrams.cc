// NgramTables for Python.
#include "gooseguard/ngram_tables.h"

#include <span>
#include <utility>
#include <vector>

#include "arrays.h"
#include "bindings.h"
#include "held.h"

namespace nb = nanobind;

namespace gooseguard::bindings {
namespace {

template <typename T, std::size_t kAxes>
using Input = nb::ndarray<const T, nb::ndim<kAxes>, nb::c_contig, nb::device::cpu>;
using Counts = nb::ndarray<std::int64_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

void make(HeldNgrams* place, const nb::dict& tensors, std::size_t n_categories) {
  HeldTensors held(tensors);
  NgramTables tables(held.views, n_categories);
  new (place) HeldNgrams{std::move(held), std::move(tables)};
}

// Both arrays are (2, …) of this model.
template <typename T>
std::span<T> span_of(const nb::ndarray<T, nb::ndim<2>, nb::c_contig, nb::device::cpu>& array, std::size_t n) {
  if (array.size() != 2 * n) throw EngineError("n-gram head: counts are of another model");
  return {array.data(), array.size()};
}

void add(const HeldNgrams& self, const Input<std::int32_t, 1>& ids, std::int64_t previous, const Counts& sums,
         const Counts& sketches) {
  self.tables.add({ids.data(), ids.size()}, previous, span_of(sums, self.tables.n_categories()),
                  span_of(sketches, NgramTables::kSlots));
}

// The logits of whole texts, (n, K).
nb::ndarray<nb::numpy, float> logits(const HeldNgrams& self, const Input<std::int32_t, 1>& ids,
                                     const Input<std::int64_t, 1>& offsets) {
  std::vector<float> values;
  {
    const nb::gil_scoped_release release;
    values = self.tables.logits({ids.data(), ids.size()}, {offsets.data(), offsets.size()});
  }
  const std::size_t K = self.tables.n_categories(), n = values.size() / K;
  return to_array(std::move(values), {n, K});
}

// The logits of what was counted, (K).
nb::ndarray<nb::numpy, float> logits_of(const HeldNgrams& self, const Input<std::int64_t, 2>& sums,
                                        const Input<std::int64_t, 2>& sketches) {
  const std::size_t K = self.tables.n_categories();
  std::vector<float> values(K);
  self.tables.logits(span_of(sums, K), span_of(sketches, NgramTables::kSlots), values);
  return to_array(std::move(values), {K});
}

}  // namespace

void add_ngrams(nb::module_& module) {
  nb::class_<HeldNgrams>(module, "NgramTables")
      .def("__init__", &make, nb::arg("tensors"), nb::arg("n_categories"))
      .def("add", &add, nb::arg("ids"), nb::arg("previous"), nb::arg("sums").noconvert(),
           nb::arg("sketches").noconvert())
      .def("logits", &logits, nb::arg("ids"), nb::arg("offsets"))
      .def("logits_of", &logits_of, nb::arg("sums"), nb::arg("sketches"));
}

}  // namespace gooseguard::bindings
