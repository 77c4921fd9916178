// The token ids of several texts, one after another, in memory that somebody else owns.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "gooseguard/errors.h"

namespace gooseguard {

// Text i has the ids [offsets[i], offsets[i + 1]).
class TextIds {
 public:
  // Throws `EngineError` where offsets do not rise from 0 to the number of ids.
  TextIds(std::span<const std::int32_t> ids, std::span<const std::int64_t> offsets) : ids_(ids), offsets_(offsets) {
    for (std::size_t i = 0; i < size(); ++i) {
      if (offsets[i] < 0 || offsets[i + 1] < offsets[i] || static_cast<std::size_t>(offsets[i + 1]) > ids.size()) {
        throw EngineError("texts: offsets do not rise from 0 to the number of ids");
      }
    }
  }

  std::size_t size() const { return offsets_.empty() ? 0 : offsets_.size() - 1; }

  std::span<const std::int32_t> operator[](std::size_t index) const {
    const auto begin = static_cast<std::size_t>(offsets_[index]), end = static_cast<std::size_t>(offsets_[index + 1]);
    return ids_.subspan(begin, end - begin);
  }

 private:
  std::span<const std::int32_t> ids_;
  std::span<const std::int64_t> offsets_;
};

}  // namespace gooseguard
