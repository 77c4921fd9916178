// The Python module gooseguard._native: arrays and exceptions across, nothing else.
// src/gooseguard/_native.pyi documents what is here.
#include <exception>

#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>

#include "bindings.h"
#include "gooseguard/build.h"
#include "gooseguard/errors.h"

namespace nb = nanobind;

namespace {

// Raise the class `name` of gooseguard.core.errors.
void raise_python(const char* name, const std::exception& error) {
  nb::object type = nb::module_::import_("gooseguard.core.errors").attr(name);
  PyErr_SetString(type.ptr(), error.what());
}

void translate(const std::exception_ptr& thrown, void* /*payload*/) {
  try {
    std::rethrow_exception(thrown);
  } catch (const gooseguard::ConfigError& error) {
    raise_python("ConfigError", error);
  } catch (const gooseguard::DataError& error) {
    raise_python("DataError", error);
  } catch (const gooseguard::ArtefactError& error) {
    raise_python("ArtefactError", error);
  } catch (const gooseguard::ContentError& error) {
    raise_python("ContentError", error);
  } catch (const gooseguard::EngineError& error) {
    raise_python("EngineError", error);
  }
}

}  // namespace

NB_MODULE(_native, module) {
  // Threads of a server that ends may hold the types past the interpreter; the process frees them.
  nb::set_leak_warnings(false);
  nb::register_exception_translator(translate);
  module.def("describe_build", &gooseguard::describe_build);
  gooseguard::bindings::add_engine(module);
  gooseguard::bindings::add_heads(module);
  gooseguard::bindings::add_ngrams(module);
  gooseguard::bindings::add_text(module);
  gooseguard::bindings::add_text_scorer(module);
  gooseguard::bindings::add_world(module);
}
