// Where a piece of a text ends: the regular expression of src/gooseguard/codec/pieces.py by hand.
#pragma once

#include <cstddef>

#include "gooseguard/text_view.h"

namespace gooseguard {

// Give where the piece that begins at `begin`, which is below the size, ends.
std::size_t find_piece_end(const TextView& text, std::size_t begin);

// White space, as Python's str.isspace has it.
bool is_space(char32_t code);

}  // namespace gooseguard
