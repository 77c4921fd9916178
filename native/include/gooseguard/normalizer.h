// Text to normalised text, with a map back to the original code points. src/gooseguard/codec/normalize.py is the
// definition, and says what it does and why; the results are equal.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "gooseguard/text_view.h"

namespace gooseguard {

// The version of Unicode of the tables, such as "14.0.0": that of the Python they were built with.
const char* unicode_version();

// Normalised text and, if they are wanted, where each of its code points begins and ends in the original.
struct Normalized {
  std::u32string text;
  std::vector<std::int64_t> begins;
  std::vector<std::int64_t> ends;
};

// Normalises a text that arrives in pieces; holds back what later pieces may change, which is bounded.
class Normalizer {
 public:
  // Without offsets, `begins` and `ends` stay empty, and it is faster.
  explicit Normalizer(bool has_offsets) : has_offsets_(has_offsets) {}

  // Take the next piece; append what is now certain to `out`.
  void push(const TextView& text, Normalized& out);

  // Append the rest. The normaliser then begins anew, at offset 0.
  void finish(Normalized& out);

  // The whole of a text: `push` and `finish`, a little faster. The normaliser must be at the beginning.
  void normalize(const TextView& text, Normalized& out);

 private:
  void scan(const TextView& text);
  void open(char32_t code, std::int64_t offset, unsigned marks, unsigned last);
  void close();
  void release(bool is_last, Normalized& out);
  void append(char32_t code);

  bool has_offsets_;
  // Code points of the pieces before this one.
  std::int64_t offset_ = 0;
  // The cluster that may still grow: its text, its span, its marks, and what may compose with its last letter.
  std::u32string cluster_;
  std::int64_t begin_ = 0;
  std::int64_t end_ = 0;
  std::size_t n_marks_ = 0;
  unsigned last_ = 0;
  // Clusters that are finished, but whose word may not be.
  Normalized out_;
  // Room for the work on one cluster.
  std::u32string scratch_[2];
};

}  // namespace gooseguard
