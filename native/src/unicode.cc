#include "unicode.h"

#include <algorithm>
#include <iterator>

namespace gooseguard::unicode {

namespace {

struct Composition {
  char32_t first, second, whole;
};

constexpr char32_t kHangulBegin = 0xac00;
constexpr char32_t kHangulEnd = 0xd7a4;

// A table in two stages: k…Blocks[code / 128] names a block of 128 entries in k…Entries. An entry of a mapping is a
// place in kSequences, where a sequence stands behind its length, or 0 for the code point itself.
#include "unicode_tables.inc"

template <typename Blocks, typename Entries>
std::size_t entry(const Blocks& blocks, const Entries& entries, char32_t code) {
  return entries[blocks[code >> 7] * std::size_t{128} + (code & 127)];
}

std::u32string_view sequence(std::size_t place) {
  if (place == 0) return {};
  return {kSequences + place + 1, static_cast<std::size_t>(kSequences[place])};
}

// Decompositions of the Hangul syllables, made once for each thread that needs them: they are regular.
// Source: The Unicode Standard, section 3.12, Conjoining Jamo Behavior.
std::u32string_view decompose_hangul(char32_t code) {
  thread_local char32_t jamo[3];
  const char32_t index = code - kHangulBegin;
  jamo[0] = 0x1100 + index / 588;
  jamo[1] = 0x1161 + index % 588 / 28;
  jamo[2] = 0x11a7 + index % 28;
  return {jamo, index % 28 == 0 ? std::size_t{2} : std::size_t{3}};
}

}  // namespace

const char* version() { return kUnicodeVersion; }

const Record& record_of(char32_t code) { return kRecords[entry(kRecordBlocks, kRecordEntries, code)]; }

std::u32string_view nfkd_of(char32_t code) {
  if (code >= kHangulBegin && code < kHangulEnd) return decompose_hangul(code);
  return sequence(entry(kNfkdBlocks, kNfkdEntries, code));
}

std::u32string_view small_of(char32_t code) { return sequence(entry(kSmallBlocks, kSmallEntries, code)); }

std::u32string_view normal_of(char32_t code, bool& is_itself) {
  const std::size_t place = entry(kNormalBlocks, kNormalEntries, code);
  is_itself = place == 0;
  return sequence(place);
}

char32_t compose(char32_t first, char32_t second) {
  if (first >= 0x1100 && first < 0x1113 && second >= 0x1161 && second < 0x1176) {
    return kHangulBegin + ((first - 0x1100) * 21 + (second - 0x1161)) * 28;
  }
  if (first >= kHangulBegin && first < kHangulEnd && (first - kHangulBegin) % 28 == 0 && second > 0x11a7 &&
      second < 0x11c3) {
    return first + (second - 0x11a7);
  }
  const auto is_before = [](const Composition& left, const Composition& right) {
    return left.first != right.first ? left.first < right.first : left.second < right.second;
  };
  const auto* const found = std::lower_bound(std::begin(kCompositions), std::end(kCompositions),
                                             Composition{first, second, 0}, is_before);
  return found != std::end(kCompositions) && found->first == first && found->second == second ? found->whole : 0;
}

char32_t cyrillic_look(char32_t latin) {
  return latin >= 'a' && latin <= 'z' ? kCyrillicLooks[latin - 'a'] : char32_t{0};
}

}  // namespace gooseguard::unicode
