// The tables of an n-gram head: token ids to logits by which tokens and pairs of tokens a text holds.
// src/gooseguard/codec/ngram_tables.py is the definition; the results are equal.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "gooseguard/engine.h"

namespace gooseguard {

// Reads every table where it lies. Safe to call from several threads at once.
class NgramTables {
 public:
  // Numbers of a sketch.
  static constexpr std::size_t kSlots = 1024;

  // `tensors` by the names of `ngram_shapes` in Python; they must stay where they are. Throws `ArtefactError` where
  // one is missing or of another size, pairs are not of tokens of the vocabulary or not in order, or a size is none.
  NgramTables(const Tensors& tensors, std::size_t n_categories);

  std::size_t n_categories() const { return n_categories_; }

  // Counts further tokens of a text whose last one so far was `previous`, -1 before the first, into `sums` (2, K) and
  // `sketches` (2, kSlots): first those of tokens, then of pairs. Throws `EngineError` where an id is outside the
  // vocabulary or a weight is none; what was counted then is worth nothing.
  void add(std::span<const std::int32_t> ids, std::int64_t previous, std::span<std::int64_t> sums,
           std::span<std::int64_t> sketches) const;

  // Gives the logits (n, K) of whole texts: text i has the ids [offsets[i], offsets[i + 1]). Throws `EngineError` as
  // `add` does, or where offsets do not fit.
  std::vector<float> logits(std::span<const std::int32_t> ids, std::span<const std::int64_t> offsets) const;

  // Gives the logits (K) of what was counted.
  void logits(std::span<const std::int64_t> sums, std::span<const std::int64_t> sketches,
              std::span<float> logits) const;

 private:
  // Of tokens, or of pairs.
  struct Table {
    Tensor weight;               // (rows, K)
    const char* size = nullptr;  // (rows), float32
    std::size_t n_rows = 0;
  };

  void read_pairs(const Tensors& tensors);
  std::ptrdiff_t find_pair(std::int32_t first, std::int32_t second) const;
  void add_row(const Table& table, std::size_t row, std::int64_t* sums, std::int64_t* sketch) const;

  std::size_t n_categories_;
  Table tokens_;
  Table pairs_;
  const char* second_ = nullptr;  // (P), float32
  // Where the pairs of each first token begin, (V + 1).
  std::vector<std::uint32_t> begins_;
};

}  // namespace gooseguard
