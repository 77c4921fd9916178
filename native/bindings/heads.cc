// Heads for Python.
#include "gooseguard/heads.h"

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <span>
#include <utility>
#include <vector>

#include "arrays.h"
#include "bindings.h"
#include "gooseguard/errors.h"

namespace nb = nanobind;

namespace gooseguard::bindings {
namespace {

template <typename T, std::size_t kAxes>
using Input = nb::ndarray<const T, nb::ndim<kAxes>, nb::c_contig, nb::device::cpu>;

template <typename Array>
auto span_of(const Array& array) {
  return std::span(array.data(), array.size());
}

void make(Heads* place, const Input<float, 2>& weight, const Input<float, 1>& bias, const Input<double, 1>& scale,
          const Input<double, 1>& offset) {
  new (place) Heads(span_of(weight), span_of(bias), span_of(scale), span_of(offset));
}

// The scores of texts, (n, K), of features (n, F) and logits to add (n, K).
nb::ndarray<nb::numpy, double> scores(const Heads& self, const Input<float, 2>& features,
                                      const Input<float, 2>& added) {
  const std::size_t n = features.shape(0), K = self.n_categories();
  if (added.shape(0) != n || added.shape(1) != K) {
    throw EngineError("heads: features or logits are of another model");
  }
  return to_array(self.scores(span_of(features), span_of(added)), {n, K});
}

}  // namespace

void add_heads(nb::module_& module) {
  nb::class_<Heads>(module, "Heads")
      .def("__init__", &make, nb::arg("weight"), nb::arg("bias"), nb::arg("scale"), nb::arg("offset"))
      .def("scores", &scores, nb::arg("features"), nb::arg("added"));
}

}  // namespace gooseguard::bindings
