// What the Python normaliser and tokenizer say of each code point, as tables. native/tables/generate.py writes them
// at build time from the very modules of Python that are the definition, with the `unicodedata` of that Python.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace gooseguard::unicode {

// What a code point does at the end of a cluster; `_IGNORE` and so on of normalize.py.
enum class Kind : std::uint8_t { kIgnore, kStart, kMark, kAccent };

// In the order of `flags_of_all` in native/tables/generate.py.
enum Flag : std::uint8_t {
  kWord = 1,          // letter, digit or regional indicator
  kForeign = 2,       // of an alphabet that is folded
  kDropped = 4,       // ignorable or an accent
  kLatin = 8,         // for folding; without capitals, which words do not have
  kCyrillic = 16,     // of any kind
  kOtherLetter = 32,  // neither Latin nor a digit
  kInert = 64,        // its own normal form, and composes with nothing before it
};

// In which alternative of a piece a code point may be; `pieces.CLASSES`.
enum class PieceClass : std::uint8_t { kLetter, kSymbol, kDigit, kHanKana, kUnspaced, kSpace };

struct Record {
  Kind kind;
  // How many marks it adds to a cluster.
  std::uint8_t n_marks;
  // A letter may compose with one before it if `first` has a bit in common with `last` of that: Hangul, Kirat Rai.
  std::uint8_t first;
  std::uint8_t last;
  // Canonical_Combining_Class.
  std::uint8_t combining;
  std::uint8_t flags;
  PieceClass piece;
  // The Latin letter it looks like, or 0.
  char look;
};

// The version of Unicode of the tables, such as "14.0.0".
const char* version();

// `code` is at most 0x10ffff in all of these.
const Record& record_of(char32_t code);

// Full compatibility decomposition, without reordering; empty where it is the code point itself. Hangul included.
std::u32string_view nfkd_of(char32_t code);

// Lower case with variants of Latin letters replaced; empty where it is the code point itself.
std::u32string_view small_of(char32_t code);

// The normal form of the code point as a cluster. `is_itself` tells; if not so, it may well be empty.
std::u32string_view normal_of(char32_t code, bool& is_itself);

// The primary composite of two code points; 0 where there is none.
char32_t compose(char32_t first, char32_t second);

// The Cyrillic letter that a small Latin letter looks like; 0 where there is none.
char32_t cyrillic_look(char32_t latin);

}  // namespace gooseguard::unicode
