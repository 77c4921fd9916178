#include "fold.h"

#include <algorithm>

#include "unicode.h"

namespace gooseguard {

namespace {

constexpr char32_t kFirstIndicator = 0x1f1e6;
constexpr char32_t kLastIndicator = 0x1f1ff;

bool is_indicator(char32_t code) { return code >= kFirstIndicator && code <= kLastIndicator; }

bool has(char32_t code, unicode::Flag flag) { return (unicode::record_of(code).flags & flag) != 0; }

char32_t look(char32_t code) { return static_cast<unsigned char>(unicode::record_of(code).look); }

// Call `fold` for each run of code points for which `is_in` holds.
template <typename IsIn, typename Fold>
void for_runs(char32_t* word, std::size_t size, IsIn is_in, Fold fold) {
  char32_t* const end = word + size;
  for (char32_t* begin = std::find_if(word, end, is_in); begin != end; begin = std::find_if(begin, end, is_in)) {
    char32_t* const last = std::find_if_not(begin, end, is_in);
    fold(begin, last);
    begin = last;
  }
}

// A run of indicators spells letters, but for two, which make a flag.
void spell_indicators(char32_t* begin, char32_t* end) {
  if (end - begin == 2) return;
  std::for_each(begin, end, [](char32_t& code) { code = code - kFirstIndicator + 'a'; });
}

// A run of other letters becomes Latin if all of them look so.
void fold_run(char32_t* begin, char32_t* end) {
  if (std::all_of(begin, end, [](char32_t code) { return look(code) != 0; })) {
    std::for_each(begin, end, [](char32_t& code) { code = look(code); });
  }
}

}  // namespace

void fold_word(char32_t* word, std::size_t size) {
  char32_t* const end = word + size;
  for_runs(word, size, is_indicator, spell_indicators);
  const auto is_latin = [](char32_t code) { return has(code, unicode::kLatin); };
  if (std::any_of(word, end, is_latin)) {
    const bool looks_cyrillic = std::all_of(
        word, end, [&](char32_t code) { return !is_latin(code) || unicode::cyrillic_look(code) != 0; });
    const bool is_cyrillic = std::any_of(
        word, end, [](char32_t code) { return has(code, unicode::kCyrillic) && look(code) == 0; });
    if (looks_cyrillic && is_cyrillic) {
      std::for_each(word, end, [](char32_t& code) {
        if (const char32_t cyrillic = unicode::cyrillic_look(code)) code = cyrillic;
      });
    } else {
      for_runs(word, size, [](char32_t code) { return has(code, unicode::kOtherLetter); }, fold_run);
    }
  }
  // Capitals that were kept for their shape.
  std::for_each(word, end, [](char32_t& code) {
    if (code == 0x39d || code == 0x397 || code == 0x3a5 || code == 0x39c) code += 0x20;
  });
}

}  // namespace gooseguard
