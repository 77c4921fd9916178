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
  // byte is a token, no token is there twice, and there are at most 65,536 ids.
  explicit WorldTokenizer(const std::vector<std::string_view>& tokens);

  // Append the ids of `data`, and give how many bytes they are of. With `is_last` that is all; without, it ends before
  // the first token that could be another one if more bytes followed.
  std::size_t encode(std::string_view data, bool is_last, std::vector<std::int32_t>& ids) const;

 private:
  // A node in eight bytes: what a text walks through should stay in the processor's cache.
  struct Cell {
    // Where the children begin, the child for byte b at base + b, times 512, plus the byte that leads here; kNoByte
    // where no node is. No two nodes have the same base, so that the byte tells whose child a cell is.
    std::uint32_t base_and_byte = kNoByte;
    // The token that ends here; 0 for none.
    std::uint16_t id = 0;
    // Bit b modulo 16 is set where there is a child for byte b: most tokens end where there is none, which is then
    // known without a look at another cell.
    std::uint16_t children = 0;

    static constexpr std::uint32_t kNoByte = 256;
    std::uint32_t base() const { return base_and_byte / 512; }
    std::uint32_t byte() const { return base_and_byte % 512; }
  };
  // What two bytes begin with: half of the steps of a token are its first two.
  struct Start {
    // The node of both bytes; one without children where no token begins with them.
    Cell cell;
    // The longest token of at most two bytes is `cell.id`; its bytes.
    std::uint16_t length = 1;
    // Bytes of the longest token that begins with both or, if there is none, with one.
    std::uint16_t longest = 1;
  };
  struct Group;

  std::uint32_t place(const std::array<std::uint8_t, 256>& labels, std::size_t count);
  void insert(const std::vector<std::string_view>& sorted, const std::vector<std::int32_t>& ids);

  void fill_starts();

  std::vector<Cell> cells_;
  // For each two bytes, at first * 256 + second.
  std::vector<Start> starts_;
  // Bases that are taken, and the cell before which all are: for building alone.
  std::vector<bool> is_base_;
  std::size_t first_free_ = 1;
};

}  // namespace gooseguard
