// libFuzzer target: any text, under any small vocabulary.
#include <cstddef>
#include <cstdint>
#include <string>

#include "gooseguard/errors.h"
#include "text_properties.h"

// The first byte says how many pairs of merges follow, two bytes an id; then a place to cut, then code points of
// three bytes, those beyond the last one folded back.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto take = [&](std::size_t n) {
    std::uint32_t value = 0;
    for (; n > 0; --n) {
      value <<= 8;
      if (size > 0) {
        value |= *data++;
        --size;
      }
    }
    return value;
  };
  std::vector<std::pair<std::int64_t, std::int64_t>> merges;
  for (std::uint32_t count = take(1) % 32; count > 0; --count) {
    const std::int64_t left = take(2);
    merges.emplace_back(left, take(2));
  }
  const std::uint32_t cut = take(1);
  std::u32string text;
  while (size > 0 && text.size() < 400) text.push_back(take(3) % 0x110000);
  static const gooseguard::Tokenizer plain({});
  try {
    gooseguard::check_text(gooseguard::Tokenizer(merges), text, cut);
  } catch (const gooseguard::ArtefactError&) {
    // No vocabulary; the text is still one.
    gooseguard::check_text(plain, text, cut);
  }
  return 0;
}
