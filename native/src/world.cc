#include "gooseguard/world.h"

#include <algorithm>
#include <numeric>
#include <string>

#include "gooseguard/errors.h"

namespace gooseguard {

// The trie is a double array. Source: Aoe, An Efficient Digital Search Algorithm by Using a Double-Array Structure
// (1989): one array of cells, in which the children of a node lie at its base plus their byte. There a cell names its
// parent; here bases are unique, and the byte is enough. A step is one read and one comparison.

namespace {

constexpr std::size_t kBytes = 256;
constexpr std::size_t kMostIds = 65536;

std::uint8_t byte_at(std::string_view text, std::size_t index) { return static_cast<std::uint8_t>(text[index]); }

std::uint16_t bit_of(std::uint8_t byte) { return static_cast<std::uint16_t>(1U << (byte % 16)); }

}  // namespace

// Tokens [begin, end) of the sorted list, which share their first `depth` bytes, those of `node`.
struct WorldTokenizer::Group {
  std::size_t begin, end, depth, node;
};

WorldTokenizer::WorldTokenizer(const std::vector<std::string_view>& tokens) : starts_(kBytes * kBytes) {
  if (tokens.size() > kMostIds) {
    throw ArtefactError("vocabulary: " + std::to_string(tokens.size()) + " ids, expected at most 65536");
  }
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
      std::uint16_t& longest = starts_[byte_at(text, 0) * kBytes + byte_at(text, 1)].longest;
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
  fill_starts();
}

void WorldTokenizer::fill_starts() {
  for (std::size_t first = 0; first < kBytes; ++first) {
    // Every single byte is a token, and so a node.
    const Cell& one = cells_[cells_[0].base() + first];
    for (std::size_t second = 0; second < kBytes; ++second) {
      Start& start = starts_[first * kBytes + second];
      const Cell& two = cells_[one.base() + second];
      const bool is_node = (one.children & bit_of(static_cast<std::uint8_t>(second))) != 0 && two.byte() == second;
      if (is_node) start.cell = two;
      if (is_node && two.id != 0) {
        start.length = 2;
      } else {
        start.cell.id = one.id;
      }
    }
  }
}

void WorldTokenizer::insert(const std::vector<std::string_view>& sorted, const std::vector<std::int32_t>& ids) {
  cells_.assign(kBytes, Cell{});
  // The root, which no byte leads to.
  cells_[0].base_and_byte = 0;
  std::vector<Group> open{{0, sorted.size(), 0, 0}};
  std::vector<Group> children;
  std::array<std::uint8_t, kBytes> labels{};
  // By depth, so that the nodes near the root, which every text passes, lie together.
  for (std::size_t at = 0; at < open.size(); ++at) {
    Group group = open[at];
    if (sorted[group.begin].size() == group.depth) {
      cells_[group.node].id = static_cast<std::uint16_t>(ids[group.begin]);
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
    const std::uint32_t base = place(labels, count);
    cells_[group.node].base_and_byte += base * 512;
    for (std::size_t i = 0; i < count; ++i) {
      cells_[group.node].children |= bit_of(labels[i]);
      children[i].node = base + labels[i];
      cells_[children[i].node].base_and_byte = labels[i];
      open.push_back(children[i]);
    }
  }
  while (cells_.back().byte() == Cell::kNoByte) cells_.pop_back();
  // So that base + byte is always inside, whatever the byte.
  cells_.resize(cells_.size() + kBytes);
  cells_.shrink_to_fit();
  std::vector<bool>().swap(is_base_);
}

// Give a base that no node has yet, at which the cells of all labels are free; the array grows as needed.
std::uint32_t WorldTokenizer::place(const std::array<std::uint8_t, 256>& labels, std::size_t count) {
  const auto is_free = [&](std::size_t cell) {
    if (cell >= cells_.size()) cells_.resize(cell + 1 + cell / 2);
    return cells_[cell].byte() == Cell::kNoByte;
  };
  while (!is_free(first_free_)) ++first_free_;
  std::size_t taken = 0;
  const std::size_t begin = std::max(first_free_, labels[0] + std::size_t{1});
  for (std::size_t first = begin;; ++first) {
    if (!is_free(first)) {
      ++taken;
      continue;
    }
    const std::size_t base = first - labels[0];
    if (base >= is_base_.size()) is_base_.resize(base + 1 + base / 2);
    bool fits = !is_base_[base];
    for (std::size_t i = 1; i < count && fits; ++i) fits = is_free(base + labels[i]);
    if (!fits) continue;
    is_base_[base] = true;
    // Where nearly all is taken the next searches would only read; a few free cells are given up.
    if (first - begin >= 64 && taken * 20 >= (first - begin) * 19) first_free_ = first;
    return static_cast<std::uint32_t>(base);
  }
}

std::size_t WorldTokenizer::encode(std::string_view data, bool is_last, std::vector<std::int32_t>& ids) const {
  std::size_t position = 0;
  const Cell* const cells = cells_.data();
  while (position + 1 < data.size()) {
    const Start& start = starts_[byte_at(data, position) * kBytes + byte_at(data, position + 1)];
    if (!is_last && data.size() - position < start.longest) return position;
    Cell cell = start.cell;
    std::int32_t id = cell.id;
    std::size_t end = position + start.length;
    for (std::size_t next = position + 2; next < data.size();) {
      const std::uint8_t byte = byte_at(data, next);
      if ((cell.children & bit_of(byte)) == 0) break;
      const Cell child = cells[cell.base() + byte];
      if (child.byte() != byte) break;
      cell = child;
      ++next;
      if (cell.id != 0) {
        id = cell.id;
        end = next;
      }
    }
    ids.push_back(id);
    position = end;
  }
  // One byte is a token; it could begin a longer one if more followed.
  if (is_last && position < data.size()) {
    ids.push_back(cells[cells[0].base() + byte_at(data, position)].id);
    ++position;
  }
  return position;
}

}  // namespace gooseguard
