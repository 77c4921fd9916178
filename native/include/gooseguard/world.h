// The RWKV World tokenizer: greedy longest match over bytes. src/gooseguard/codec/world.py is its definition.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace gooseguard {

// Immutable, so that threads may share one.
class WorldTokenizer {
 public:
  // `tokens`: the bytes of each id, empty for ids that stand for nothing. Throws ArtefactError unless every single
  // byte is a token and no token is there twice.
  explicit WorldTokenizer(const std::vector<std::string_view>& tokens);

  // Append the ids of `data`, and give how many bytes they are of. With `is_last` that is all; without, it ends before
  // the first token that could be another one if more bytes followed.
  std::size_t encode(std::string_view data, bool is_last, std::vector<std::int32_t>& ids) const;

 private:
  struct Cell {
    // Where the children of this node begin; the child for byte b is at base + b.
    std::int32_t base = 0;
    // The parent; -1 where no node is.
    std::int32_t parent = -1;
    // The token that ends here; -1 for none.
    std::int32_t id = -1;
  };
  struct Group;

  std::int32_t place(const std::array<std::uint8_t, 256>& labels, std::size_t count);
  void insert(const std::vector<std::string_view>& sorted, const std::vector<std::int32_t>& ids);

  std::vector<Cell> cells_;
  // Bytes of the longest token that begins with the two bytes (first * 256 + second) or, if there is none, with one.
  std::vector<std::uint16_t> longest_;
  // Cells before it are all taken.
  std::int32_t first_free_ = 1;
};

}  // namespace gooseguard
