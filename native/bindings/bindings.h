// What each file of the bindings adds to the module.
#pragma once

#include <nanobind/nanobind.h>

namespace gooseguard::bindings {

void add_engine(nanobind::module_& module);
void add_heads(nanobind::module_& module);
void add_ngrams(nanobind::module_& module);
void add_text(nanobind::module_& module);
void add_text_scorer(nanobind::module_& module);
void add_world(nanobind::module_& module);

}  // namespace gooseguard::bindings
