// Python strings and bytes as views without a copy, and results as arrays.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include <nanobind/nanobind.h>

#include "arrays.h"
#include "gooseguard/text_view.h"

namespace gooseguard::bindings {

template <typename T>
using Array = nanobind::ndarray<nanobind::numpy, T>;

// An array of one axis.
template <typename T>
Array<T> to_array(std::vector<T> values) {
  const std::size_t n = values.size();
  return to_array(std::move(values), {n});
}

// A Python list of ids; the general conversion takes more than twice as long.
inline nanobind::object to_list(const std::vector<std::int32_t>& ids) {
  nanobind::object list = nanobind::steal(PyList_New(static_cast<Py_ssize_t>(ids.size())));
  if (!list.is_valid()) nanobind::raise_python_error();
  for (std::size_t i = 0; i < ids.size(); ++i) {
    PyObject* const id = PyLong_FromLong(ids[i]);
    if (id == nullptr) nanobind::raise_python_error();
    PyList_SET_ITEM(list.ptr(), static_cast<Py_ssize_t>(i), id);
  }
  return list;
}

// The code points of a str, which must outlive the view.
inline TextView view_of(nanobind::handle text) {
  return {PyUnicode_DATA(text.ptr()), static_cast<std::size_t>(PyUnicode_GET_LENGTH(text.ptr())),
          static_cast<unsigned>(PyUnicode_KIND(text.ptr()))};
}

// References to the items of a sequence, each checked, so that they live while the GIL is released.
class Texts {
 public:
  // Throws TypeError when an item is neither str nor, if `takes_bytes`, bytes.
  Texts(nanobind::handle sequence, bool takes_bytes) {
    const auto fast = nanobind::steal(PySequence_Fast(sequence.ptr(), "expected a sequence of texts"));
    if (!fast.is_valid()) nanobind::raise_python_error();
    const Py_ssize_t size = PySequence_Fast_GET_SIZE(fast.ptr());
    views_.reserve(static_cast<std::size_t>(size));
    for (Py_ssize_t i = 0; i < size; ++i) {
      owners_.push_back(nanobind::borrow(PySequence_Fast_GET_ITEM(fast.ptr(), i)));
      const nanobind::handle item = owners_.back();
      if (PyUnicode_Check(item.ptr())) {
        views_.push_back({view_of(item), PyUnicode_IS_ASCII(item.ptr()) != 0});
      } else if (takes_bytes && PyBytes_Check(item.ptr())) {
        const auto bytes = static_cast<std::size_t>(PyBytes_GET_SIZE(item.ptr()));
        views_.push_back({{PyBytes_AS_STRING(item.ptr()), bytes, 1}, true});
      } else {
        PyErr_Format(PyExc_TypeError, "item %zd is %s, expected %s", i, Py_TYPE(item.ptr())->tp_name,
                     takes_bytes ? "str or bytes" : "str");
        nanobind::raise_python_error();
      }
    }
  }

  std::size_t size() const { return views_.size(); }
  const TextView& operator[](std::size_t index) const { return views_[index].first; }

  // The bytes of an item, in UTF-8; `scratch` holds them where a copy is needed.
  std::string_view bytes(std::size_t index, std::string& scratch) const {
    const auto& [view, is_bytes] = views_[index];
    if (is_bytes) return {static_cast<const char*>(view.data), view.size};
    scratch.clear();
    append_utf8(view, scratch);
    return scratch;
  }

 private:
  std::vector<nanobind::object> owners_;
  // The text, and whether its memory is its bytes already.
  std::vector<std::pair<TextView, bool>> views_;
};

}  // namespace gooseguard::bindings
