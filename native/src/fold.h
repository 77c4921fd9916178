// Look-alike letters of one word to the letters a reader sees. src/gooseguard/codec/homoglyphs.py is the definition.
#pragma once

#include <cstddef>

namespace gooseguard {

// Fold the word [word, word + size) in place; it is normalised, letters, digits and regional indicators only.
void fold_word(char32_t* word, std::size_t size);

}  // namespace gooseguard
