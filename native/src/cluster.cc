#include "cluster.h"

#include <algorithm>

#include "unicode.h"

namespace gooseguard {

// Source of the algorithms: UAX #15 (Unicode Normalization Forms) and The Unicode Standard, section 3.11.

namespace {

using unicode::record_of;

// Append the compatibility decomposition of `code`.
void decompose(char32_t code, std::u32string& out) {
  const std::u32string_view parts = unicode::nfkd_of(code);
  if (parts.empty()) {
    out.push_back(code);
  } else {
    out.append(parts);
  }
}

// Sort each run of marks by combining class, keeping the order of equals.
void reorder(std::u32string& text) {
  for (std::size_t i = 1; i < text.size(); ++i) {
    const unsigned combining = record_of(text[i]).combining;
    if (combining == 0) continue;
    const char32_t code = text[i];
    std::size_t j = i;
    for (; j > 0 && record_of(text[j - 1]).combining > combining; --j) text[j] = text[j - 1];
    text[j] = code;
  }
}

// Join what composes; `text` is decomposed and in order.
void compose(std::u32string& text) {
  std::size_t size = 0;
  std::size_t starter = std::u32string::npos;
  unsigned before = 0;
  for (const char32_t code : text) {
    const unsigned combining = record_of(code).combining;
    // A mark reaches its starter unless one of its class or a starter stands between.
    if (starter != std::u32string::npos && (size == starter + 1 || before < combining)) {
      if (const char32_t whole = unicode::compose(text[starter], code)) {
        text[starter] = whole;
        continue;
      }
    }
    if (combining == 0) starter = size;
    before = combining;
    text[size++] = code;
  }
  text.resize(size);
}

// Whether `cluster` is its own normal form, told at a glance: as most letters with the signs of their script are.
bool is_normal(const std::u32string& cluster) {
  unsigned before = 0;
  for (const char32_t code : cluster) {
    const unicode::Record& record = record_of(code);
    if ((record.flags & unicode::kInert) == 0 || (record.combining != 0 && record.combining < before)) return false;
    before = record.combining;
  }
  return true;
}

bool is_cased_capital(const std::u32string& text) {
  return text.size() == 1 && (text[0] == 0x39d || text[0] == 0x397 || text[0] == 0x3a5 || text[0] == 0x39c);
}

}  // namespace

void normalize_cluster(std::u32string& cluster, std::u32string& parts, std::u32string& composed) {
  if (is_normal(cluster)) return;
  for (;;) {
    parts.clear();
    for (const char32_t code : cluster) decompose(code, parts);
    reorder(parts);
    if (is_cased_capital(parts)) {
      cluster = parts;
      return;
    }
    composed.clear();
    for (const char32_t code : parts) {
      const std::u32string_view small = unicode::small_of(code);
      if (small.empty()) {
        decompose(code, composed);
      } else {
        for (const char32_t letter : small) decompose(letter, composed);
      }
    }
    reorder(composed);
    compose(composed);
    const auto is_dropped = [](char32_t code) { return (record_of(code).flags & unicode::kDropped) != 0; };
    composed.erase(std::remove_if(composed.begin(), composed.end(), is_dropped), composed.end());
    if (composed == cluster) return;
    cluster.swap(composed);
  }
}

}  // namespace gooseguard
