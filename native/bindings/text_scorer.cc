// TextScorer for Python: texts to scores in one call, the interpreter let go meanwhile.
#include "gooseguard/text_scorer.h"

#include <nanobind/stl/tuple.h>

#include <tuple>
#include <utility>
#include <vector>

#include "arrays.h"
#include "bindings.h"
#include "held.h"
#include "texts.h"

namespace nb = nanobind;

namespace gooseguard::bindings {
namespace {

void make(TextScorer* place, const Tokenizer& tokenizer, const HeldBackbone& backbone, const HeldNgrams* ngrams,
          const Heads& heads) {
  new (place) TextScorer(tokenizer, *backbone.backbone, ngrams == nullptr ? nullptr : &ngrams->tables, heads);
}

std::tuple<nb::ndarray<nb::numpy, double>, Array<std::uint8_t>> score(const TextScorer& self, nb::handle sequence) {
  const Texts texts(sequence, false);
  std::vector<TextView> views;
  for (std::size_t i = 0; i < texts.size(); ++i) views.push_back(texts[i]);
  TextScores found;
  {
    const nb::gil_scoped_release release;
    found = self.score(views);
  }
  const std::size_t n = views.size(), K = self.n_categories();
  return {to_array(std::move(found.scores), {n, K}), to_array(std::move(found.is_visible))};
}

}  // namespace

void add_text_scorer(nb::module_& module) {
  nb::class_<TextScorer>(module, "TextScorer")
      .def("__init__", &make, nb::arg("tokenizer"), nb::arg("backbone"), nb::arg("ngrams").none(), nb::arg("heads"),
           nb::keep_alive<1, 2>(), nb::keep_alive<1, 3>(), nb::keep_alive<1, 4>(), nb::keep_alive<1, 5>())
      .def("score", &score, nb::arg("texts"));
}

}  // namespace gooseguard::bindings
