// Vectors handed over to Python as arrays that own them.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <cstddef>
#include <initializer_list>
#include <memory>
#include <utility>
#include <vector>

namespace gooseguard::bindings {

// An array of `shape` that owns its memory, holding `values`.
template <typename T>
nanobind::ndarray<nanobind::numpy, T> to_array(std::vector<T> values, std::initializer_list<std::size_t> shape) {
  auto owned = std::make_unique<std::vector<T>>(std::move(values));
  T* const data = owned->data();
  const nanobind::capsule owner(owned.release(),
                                [](void* vector) noexcept { delete static_cast<std::vector<T>*>(vector); });
  return nanobind::ndarray<nanobind::numpy, T>(data, shape.size(), shape.begin(), owner);
}

}  // namespace gooseguard::bindings
