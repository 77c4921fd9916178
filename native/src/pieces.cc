#include "pieces.h"

#include <algorithm>

#include "unicode.h"

namespace gooseguard {

namespace {

using unicode::PieceClass;

PieceClass class_of(char32_t code) { return unicode::record_of(code).piece; }

// How many code points of a class a piece has at most, in the order of PieceClass.
constexpr std::size_t kLimits[] = {24, 4, 3, 4, 8, 8};

// Where the run of `piece` that begins at `begin` ends, at its limit at the latest.
std::size_t run_end(const TextView& text, std::size_t begin, PieceClass piece) {
  const std::size_t limit = std::min(text.size, begin + kLimits[static_cast<std::size_t>(piece)]);
  std::size_t end = begin;
  while (end < limit && class_of(text[end]) == piece) ++end;
  return end;
}

}  // namespace

std::size_t find_piece_end(const TextView& text, std::size_t begin) {
  const char32_t code = text[begin];
  // A space may stand before letters, symbols, digits and unspaced scripts; an apostrophe, else a symbol, before letters.
  if ((code == ' ' || code == '\'' || code == 0x2019) && begin + 1 < text.size) {
    const PieceClass next = class_of(text[begin + 1]);
    if (next == PieceClass::kLetter ||
        (code == ' ' && next != PieceClass::kSpace && next != PieceClass::kHanKana)) {
      return run_end(text, begin + 1, next);
    }
  }
  return run_end(text, begin, class_of(code));
}

bool is_space(char32_t code) { return class_of(code) == PieceClass::kSpace; }

}  // namespace gooseguard
