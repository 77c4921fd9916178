// A text in memory that somebody else owns: code points of one width, as Python holds its strings, or bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace gooseguard {

// Code points 0 to 0x10ffff, lone surrogates among them.
struct TextView {
  const void* data = nullptr;
  // In code points.
  std::size_t size = 0;
  // Bytes a code point: 1, 2 or 4.
  unsigned width = 1;

  char32_t operator[](std::size_t index) const {
    switch (width) {
      case 1:
        return static_cast<const std::uint8_t*>(data)[index];
      case 2:
        return static_cast<const std::uint16_t*>(data)[index];
      default:
        return static_cast<const std::uint32_t*>(data)[index];
    }
  }

  TextView from(std::size_t begin, std::size_t end) const {
    return {static_cast<const char*>(data) + begin * width, end - begin, width};
  }
};

// Append a code point in UTF-8; a lone surrogate in three bytes, as Python's "surrogatepass" does.
inline void append_utf8(char32_t code, std::string& out) {
  if (code < 0x80) {
    out.push_back(static_cast<char>(code));
  } else if (code < 0x800) {
    out.push_back(static_cast<char>(0xc0 | (code >> 6)));
    out.push_back(static_cast<char>(0x80 | (code & 0x3f)));
  } else if (code < 0x10000) {
    out.push_back(static_cast<char>(0xe0 | (code >> 12)));
    out.push_back(static_cast<char>(0x80 | ((code >> 6) & 0x3f)));
    out.push_back(static_cast<char>(0x80 | (code & 0x3f)));
  } else {
    out.push_back(static_cast<char>(0xf0 | (code >> 18)));
    out.push_back(static_cast<char>(0x80 | ((code >> 12) & 0x3f)));
    out.push_back(static_cast<char>(0x80 | ((code >> 6) & 0x3f)));
    out.push_back(static_cast<char>(0x80 | (code & 0x3f)));
  }
}

inline void append_utf8(const TextView& text, std::string& out) {
  for (std::size_t i = 0; i < text.size; ++i) append_utf8(text[i], out);
}

}  // namespace gooseguard
