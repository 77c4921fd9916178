// WorldTokenizer for Python.
#include "gooseguard/world.h"

#include <string>

#include <nanobind/stl/pair.h>

#include "bindings.h"
#include "texts.h"

namespace nb = nanobind;

namespace gooseguard::bindings {
namespace {

// Shorter texts are done before another thread could take over the interpreter.
constexpr std::size_t kReleasedBytes = 4096;

std::vector<std::string_view> views_of(const nb::list& tokens) {
  std::vector<std::string_view> views;
  views.reserve(tokens.size());
  for (const nb::handle token : tokens) {
    const auto bytes = nb::cast<nb::bytes>(token);
    views.emplace_back(bytes.c_str(), bytes.size());
  }
  return views;
}

// The tokenizer, and a Python int for each id: made once, since making them takes longer than finding the tokens.
class World {
 public:
  explicit World(const nb::list& tokens) : tokenizer_(views_of(tokens)) {
    for (std::size_t id = 0; id < tokens.size(); ++id) numbers_.push_back(nb::int_(id));
  }

  const WorldTokenizer& tokenizer() const { return tokenizer_; }

  // Give the ids of `data` as a list, and how many bytes they are of.
  std::pair<nb::object, std::size_t> encode(std::string_view data, bool is_last) const {
    std::vector<std::int32_t> ids;
    ids.reserve(data.size() / 3 + 8);
    std::size_t used = 0;
    if (data.size() < kReleasedBytes) {
      used = tokenizer_.encode(data, is_last, ids);
    } else {
      const nb::gil_scoped_release released;
      used = tokenizer_.encode(data, is_last, ids);
    }
    nb::object list = nb::steal(PyList_New(static_cast<Py_ssize_t>(ids.size())));
    if (!list.is_valid()) nb::raise_python_error();
    for (std::size_t i = 0; i < ids.size(); ++i) {
      PyObject* const number = numbers_[static_cast<std::size_t>(ids[i])].ptr();
      Py_INCREF(number);
      PyList_SET_ITEM(list.ptr(), static_cast<Py_ssize_t>(i), number);
    }
    return {std::move(list), used};
  }

 private:
  WorldTokenizer tokenizer_;
  std::vector<nb::int_> numbers_;
};

std::pair<nb::object, std::size_t> encode(const World& self, const nb::bytes& data, bool is_last) {
  return self.encode({data.c_str(), data.size()}, is_last);
}

// Of a str, bytes, or whatever else gives its bytes, such as a memoryview.
nb::object encode_text(const World& self, nb::handle text) {
  PyObject* const object = text.ptr();
  if (PyUnicode_Check(object)) {
    const TextView view = view_of(text);
    if (PyUnicode_IS_ASCII(object) != 0) {
      return self.encode({static_cast<const char*>(view.data), view.size}, true).first;
    }
    std::string bytes;
    append_utf8(view, bytes);
    return self.encode(bytes, true).first;
  }
  nb::object bytes = nb::borrow(text);
  if (!PyBytes_Check(object)) {
    const nb::object view = nb::steal(PyMemoryView_FromObject(object));
    if (!view.is_valid()) nb::raise_python_error();
    bytes = nb::steal(PyBytes_FromObject(view.ptr()));
    if (!bytes.is_valid()) nb::raise_python_error();
  }
  const auto size = static_cast<std::size_t>(PyBytes_GET_SIZE(bytes.ptr()));
  return self.encode({PyBytes_AS_STRING(bytes.ptr()), size}, true).first;
}

std::pair<Array<std::int32_t>, Array<std::int64_t>> encode_batch(const World& self, nb::handle sequence) {
  const Texts texts(sequence, true);
  std::vector<std::int32_t> ids;
  std::vector<std::int64_t> offsets{0};
  {
    const nb::gil_scoped_release released;
    std::string scratch;
    for (std::size_t i = 0; i < texts.size(); ++i) {
      self.tokenizer().encode(texts.bytes(i, scratch), true, ids);
      offsets.push_back(static_cast<std::int64_t>(ids.size()));
    }
  }
  return {to_array(std::move(ids)), to_array(std::move(offsets))};
}

}  // namespace

void add_world(nb::module_& module) {
  nb::class_<World>(module, "WorldTokenizer")
      .def(nb::init<const nb::list&>(), nb::arg("tokens"))
      .def("encode_text", &encode_text)
      .def("encode", &encode, nb::arg("data"), nb::kw_only(), nb::arg("is_last"))
      .def("encode_batch", &encode_batch, nb::arg("texts"));
}

}  // namespace gooseguard::bindings
