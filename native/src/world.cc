#include "gooseguard/world.h"

#include <algorithm>
#include <numeric>
#include <string>

#include "gooseguard/errors.h"

namespace gooseguard {

// The trie is a double array. Source: Aoe, An Efficient Digital Search Algorithm by Using a Double-Array Structure
// (1989): one array of cells, in which the children of a node lie at its base plus their byte, and each cell names its
// parent, so that a step is one read and one comparison.

namespace {

constexpr std::int32_t kRoot = 0;
constexpr std::size_t kBytes = 256;

std::uint8_t byte_at(std::string_view text, std::size_t index) { return static_cast<std::uint8_t>(text[index]); }

}  // namespace

// Tokens [begin, end) of the sorted list, which share their first `depth` bytes, those of `node`.
struct WorldTokenizer::Group {
  std::size_t begin, end, depth;
  std::int32_t node;
};

WorldTokenizer::WorldTokenizer(const std::vector<std::string_view>& tokens) : longest_(kBytes * kBytes, 1) {
  std::vector<std::int32_t> ids;
  for (std::size_t id = 0; id < tokens.size(); ++id) {
    if (!tokens[id].empty()) ids.push_back(static_cast<std::int32_t>(id));
  }
  const auto token = [&](std::int32_t id) { return tokens[static_cast<std::size_t>(id)]; };
  std::stable_sort(ids.begin(), ids.end(),
                   [&](std::int32_t left, std::int32_t right) { return token(left) < token(right); });
  std::vector<std::string_view> sorted;
  std::size_t single = 0;
  for (const std::int32_t id : ids) {
    const std::string_view text = token(id);
    if (!sorted.empty() && sorted.back() == text) {
      throw ArtefactError("vocabulary: id " + std::to_string(id) + " repeats an earlier token; expected each once");
    }
    sorted.push_back(text);
    if (text.size() == 1) {
      ++single;
    } else {
      std::uint16_t& longest = longest_[byte_at(text, 0) * kBytes + byte_at(text, 1)];
      longest = std::max(longest, static_cast<std::uint16_t>(std::min<std::size_t>(text.size(), UINT16_MAX)));
      if (text.size() > UINT16_MAX) {
        throw ArtefactError("vocabulary: id " + std::to_string(id) + " has " + std::to_string(text.size()) +
                            " bytes, expected at most 65535");
      }
    }
  }
  if (single != kBytes) {
    throw ArtefactError("vocabulary: " + std::to_string(kBytes - single) +
                        " of the 256 single bytes are no token; expected all, so that every text can be encoded");
  }
  insert(sorted, ids);
}

void WorldTokenizer::insert(const std::vector<std::string_view>& sorted, const std::vector<std::int32_t>& ids) {
  cells_.assign(kBytes, Cell{});
  cells_[kRoot].parent = kRoot;
  std::vector<Group> open{{0, sorted.size(), 0, kRoot}};
  std::vector<Group> children;
  std::array<std::uint8_t, kBytes> labels{};
  while (!open.empty()) {
    Group group = open.back();
    open.pop_back();
    if (sorted[group.begin].size() == group.depth) {
      cells_[static_cast<std::size_t>(group.node)].id = ids[group.begin];
      ++group.begin;
    }
    children.clear();
    std::size_t count = 0;
    for (std::size_t i = group.begin; i < group.end; ++i) {
      const std::uint8_t byte = byte_at(sorted[i], group.depth);
      if (count == 0 || labels[count - 1] != byte) {
        labels[count++] = byte;
        children.push_back({i, i, group.depth + 1, 0});
      }
      children.back().end = i + 1;
    }
    if (count == 0) continue;
    const std::int32_t base = place(labels, count);
    cells_[static_cast<std::size_t>(group.node)].base = base;
    for (std::size_t i = 0; i < count; ++i) {
      children[i].node = base + labels[i];
      cells_[static_cast<std::size_t>(children[i].node)].parent = group.node;
      open.push_back(children[i]);
    }
  }
  while (cells_.back().parent < 0) cells_.pop_back();
  // So that base + byte is always inside, whatever the byte.
  cells_.resize(cells_.size() + kBytes);
  cells_.shrink_to_fit();
}

// Give a base at which the cells of all labels are free; the array grows as needed.
std::int32_t WorldTokenizer::place(const std::array<std::uint8_t, 256>& labels, std::size_t count) {
  const auto is_free = [&](std::size_t cell) {
    if (cell >= cells_.size()) cells_.resize(cell + 1 + cell / 2);
    return cells_[cell].parent < 0;
  };
  while (!is_free(static_cast<std::size_t>(first_free_))) ++first_free_;
  std::size_t taken = 0;
  const std::size_t begin = std::max<std::size_t>(static_cast<std::size_t>(first_free_), labels[0] + std::size_t{1});
  for (std::size_t first = begin;; ++first) {
    if (!is_free(first)) {
      ++taken;
      continue;
    }
    const std::size_t base = first - labels[0];
    bool fits = true;
    for (std::size_t i = 1; i < count && fits; ++i) fits = is_free(base + labels[i]);
    if (!fits) continue;
    // Where nearly all is taken the next searches would only read; a few free cells are given up.
    if (first - begin >= 64 && taken * 20 >= (first - begin) * 19) first_free_ = static_cast<std::int32_t>(first);
    return static_cast<std::int32_t>(base);
  }
}

std::size_t WorldTokenizer::encode(std::string_view data, bool is_last, std::vector<std::int32_t>& ids) const {
  std::size_t position = 0;
  const Cell* const cells = cells_.data();
  while (position < data.size()) {
    if (!is_last) {
      const std::size_t rest = data.size() - position;
      if (rest < 2 || rest < longest_[byte_at(data, position) * kBytes + byte_at(data, position + 1)]) break;
    }
    std::int32_t node = kRoot;
    std::int32_t id = -1;
    std::size_t end = position;
    for (std::size_t next = position; next < data.size();) {
      const std::int32_t child = cells[node].base + byte_at(data, next);
      if (cells[child].parent != node) break;
      node = child;
      ++next;
      if (cells[node].id >= 0) {
        id = cells[node].id;
        end = next;
      }
    }
    // Every single byte is a token, so that this ends.
    ids.push_back(id);
    position = end;
  }
  return position;
}

}  // namespace gooseguard
