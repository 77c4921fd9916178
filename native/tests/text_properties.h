// What must hold of the normaliser and the tokenizer whatever the text; the tests and the fuzz target share it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "check.h"
#include "gooseguard/normalizer.h"
#include "gooseguard/tokenizer.h"

namespace gooseguard {

inline TextView view_of(const std::u32string& text) { return {text.data(), text.size(), 4}; }

inline Normalized normalize(const std::u32string& text) {
  Normalized normalized;
  Normalizer(true).normalize(view_of(text), normalized);
  return normalized;
}

// Cut anywhere, a text gives what it gives in one; it normalises to itself; its offsets are spans in order; the
// bytes of its tokens are its own.
inline void check_text(const Tokenizer& tokenizer, const std::u32string& text, std::size_t cut) {
  const Normalized whole = normalize(text);
  CHECK(whole.begins.size() == whole.text.size() && whole.ends.size() == whole.text.size());
  for (std::size_t i = 0; i < whole.text.size(); ++i) {
    CHECK(whole.begins[i] < whole.ends[i] && whole.ends[i] <= static_cast<std::int64_t>(text.size()));
    CHECK(i == 0 || (whole.begins[i - 1] <= whole.begins[i] && whole.ends[i - 1] <= whole.ends[i]));
  }
  CHECK(normalize(whole.text).text == whole.text);

  Normalizer normalizer(true);
  Normalized pieces;
  const std::size_t middle = text.empty() ? 0 : cut % (text.size() + 1);
  normalizer.push(view_of(text).from(0, middle), pieces);
  for (std::size_t i = middle; i < text.size(); ++i) normalizer.push(view_of(text).from(i, i + 1), pieces);
  normalizer.finish(pieces);
  CHECK(pieces.text == whole.text && pieces.begins == whole.begins && pieces.ends == whole.ends);

  std::vector<std::int32_t> ids;
  TextEncoder encoder(tokenizer);
  const bool is_visible = encoder.encode(view_of(text), ids);
  std::string bytes;
  for (const std::int32_t id : ids) bytes += tokenizer.token(static_cast<std::size_t>(id));
  std::string expected;
  append_utf8(view_of(whole.text), expected);
  CHECK(bytes == expected);
  CHECK(!is_visible || !ids.empty());
  // The same again, from what it remembers by now.
  std::vector<std::int32_t> again;
  encoder.encode(view_of(text), again);
  CHECK(again == ids);
}

}  // namespace gooseguard
