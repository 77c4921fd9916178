// What each file of this folder adds to the module.
#pragma once

#include <nanobind/nanobind.h>

void bind_world(nanobind::module_& module);
