// Normalised text to token ids and back: byte-level byte pair encoding. src/gooseguard/codec/tokenizer.py is the
// definition, pieces.py says how a text is cut; the results are equal.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gooseguard/normalizer.h"
#include "gooseguard/text_view.h"

namespace gooseguard {

// A vocabulary and its encoder. Threads may share one: what it remembers of its tokens is atomic.
class Tokenizer {
 public:
  // Pairs of ids, the one learnt first first. Throws ArtefactError when one names an id that does not exist yet, is
  // there twice or gives more than 100 bytes; the message names the pair.
  explicit Tokenizer(const std::vector<std::pair<std::int64_t, std::int64_t>>& merges);

  // Number of ids, the reserved one included.
  std::size_t vocab_size() const { return begins_.size() - 1; }

  // The bytes of an id; empty for the reserved one. `id` is below vocab_size().
  std::string_view token(std::size_t id) const {
    return std::string_view(bytes_).substr(begins_[id], begins_[id + 1] - begins_[id]);
  }

  // Append the ids of `text`, which is normalised already.
  void encode(const TextView& text, std::vector<std::int32_t>& ids) const;

 private:
  struct Merge {
    // Both ids, left above right; 0 where the slot is free.
    std::uint64_t pair = 0;
    std::int32_t rank = 0;
    std::int32_t id = 0;
  };
  // Room for one piece.
  struct Work {
    std::string bytes;
    std::vector<std::int32_t> ids;
    std::vector<const Merge*> merges;
  };

  const Merge* find(std::int32_t left, std::int32_t right) const;
  void add_merge(std::int64_t left, std::int64_t right, std::size_t rank);
  std::int32_t find_token(std::string_view bytes) const;
  std::int32_t add_token(const std::string& bytes);
  void encode_piece(std::string_view bytes, Work& work, std::vector<std::int32_t>& ids) const;
  void merge(std::string_view bytes, Work& work) const;

  // The bytes of all tokens, one after another, and where each begins.
  std::string bytes_;
  std::vector<std::uint32_t> begins_{0};
  // Open addressing; sizes are powers of two, and at least half is free.
  std::vector<Merge> merges_;
  std::vector<std::int32_t> tokens_;
  // Whether a piece of the bytes of a token is that token alone, which merges need not give: 0 not known yet, 1 yes,
  // 2 no. Whoever asks finds the same, so that races do no harm.
  std::unique_ptr<std::atomic<std::uint8_t>[]> is_whole_;
};

// Normalises and encodes texts, one after another; keeps its memory. One thread at a time.
class TextEncoder {
 public:
  explicit TextEncoder(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {}

  // Append the ids of a whole text; give whether it shows anything but white space once normalised.
  bool encode(const TextView& text, std::vector<std::int32_t>& ids);

 private:
  const Tokenizer& tokenizer_;
  Normalizer normalizer_{false};
  Normalized normalized_;
};

}  // namespace gooseguard
