// The tensors of an engine file as the library takes them, and the arrays whose memory they lie in.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "gooseguard/engine.h"

namespace gooseguard::bindings {

using Bytes = nanobind::ndarray<const std::uint8_t, nanobind::ndim<1>, nanobind::c_contig, nanobind::device::cpu>;

inline Dtype to_dtype(const std::string& name) {
  if (name == "F32") {
    return Dtype::kF32;
  }
  if (name == "BF16") {
    return Dtype::kBf16;
  }
  if (name == "I8") {
    return Dtype::kInt8;
  }
  throw EngineError("tensors: dtype is '" + name + "', expected F32, BF16 or I8");
}

struct HeldTensors {
  // Of a dict of names to (dtype, bytes).
  explicit HeldTensors(const nanobind::dict& tensors) {
    for (const auto& [name, value] : tensors) {
      const auto [dtype, array] = nanobind::cast<std::pair<std::string, Bytes>>(value);
      arrays.push_back(array);
      views[nanobind::cast<std::string>(name)] = {to_dtype(dtype), array.data(), array.size()};
    }
  }

  std::vector<Bytes> arrays;
  Tensors views;
};

}  // namespace gooseguard::bindings
