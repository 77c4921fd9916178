#include "gooseguard/tokenizer.h"

#include <algorithm>
#include <bit>

#include "gooseguard/errors.h"
#include "pieces.h"

namespace gooseguard {

namespace {

// RESERVED, FIRST_BYTE and TOKEN_LIMIT of tokenizer.py.
constexpr std::int32_t kFirstByte = 1;
constexpr std::size_t kTokenLimit = 100;
constexpr std::int32_t kNone = -1;

// Mixes all bits of `key`. Source: Steele et al., Fast Splittable Pseudorandom Number Generators (2014), as used in
// the finalizer "Mix13" of Stafford.
std::uint64_t mix(std::uint64_t key) {
  key = (key ^ (key >> 30)) * 0xbf58476d1ce4e5b9U;
  key = (key ^ (key >> 27)) * 0x94d049bb133111ebU;
  return key ^ (key >> 31);
}

// FNV-1a, mixed. Source: Fowler, Noll, Vo, RFC 9923.
std::uint64_t hash_bytes(std::string_view bytes) {
  std::uint64_t hash = 0xcbf29ce484222325U;
  for (const char byte : bytes) hash = (hash ^ static_cast<std::uint8_t>(byte)) * 0x100000001b3U;
  return mix(hash);
}

std::uint64_t pair_of(std::int32_t left, std::int32_t right) {
  return (std::uint64_t{static_cast<std::uint32_t>(left)} << 32) | static_cast<std::uint32_t>(right);
}

[[noreturn]] void fail(std::size_t rank, const std::string& what) {
  throw ArtefactError("vocabulary: merge " + std::to_string(rank) + " " + what);
}

}  // namespace

Tokenizer::Tokenizer(const std::vector<std::pair<std::int64_t, std::int64_t>>& merges)
    : merges_(std::bit_ceil(2 * merges.size() + 1)),
      tokens_(std::bit_ceil(2 * (merges.size() + 257)), kNone),
      is_whole_(new std::atomic<std::uint8_t>[merges.size() + 257]()) {
  begins_.push_back(0);
  for (int byte = 0; byte < 256; ++byte) add_token(std::string(1, static_cast<char>(byte)));
  for (std::size_t rank = 0; rank < merges.size(); ++rank) add_merge(merges[rank].first, merges[rank].second, rank);
}

void Tokenizer::add_merge(std::int64_t left, std::int64_t right, std::size_t rank) {
  const auto size = static_cast<std::int64_t>(vocab_size());
  for (const std::int64_t id : {left, right}) {
    if (id < kFirstByte || id >= size) {
      fail(rank, "names id " + std::to_string(id) + ", expected " + std::to_string(kFirstByte) + " to " +
                     std::to_string(size - 1) + "; a merge joins tokens that exist before it");
    }
  }
  const std::uint64_t pair = pair_of(static_cast<std::int32_t>(left), static_cast<std::int32_t>(right));
  std::size_t slot = mix(pair) & (merges_.size() - 1);
  for (; merges_[slot].pair != 0; slot = (slot + 1) & (merges_.size() - 1)) {
    if (merges_[slot].pair == pair) {
      fail(rank, "repeats merge " + std::to_string(merges_[slot].rank) + "; expected it once");
    }
  }
  std::string bytes(token(static_cast<std::size_t>(left)));
  bytes += token(static_cast<std::size_t>(right));
  if (bytes.size() > kTokenLimit) {
    fail(rank, "gives " + std::to_string(bytes.size()) + " bytes, expected at most " + std::to_string(kTokenLimit));
  }
  const std::int32_t known = find_token(bytes);
  merges_[slot] = {pair, static_cast<std::int32_t>(rank), known == kNone ? add_token(bytes) : known};
}

std::int32_t Tokenizer::add_token(const std::string& bytes) {
  const auto id = static_cast<std::int32_t>(vocab_size());
  bytes_ += bytes;
  begins_.push_back(static_cast<std::uint32_t>(bytes_.size()));
  std::size_t slot = hash_bytes(bytes) & (tokens_.size() - 1);
  while (tokens_[slot] != kNone) slot = (slot + 1) & (tokens_.size() - 1);
  tokens_[slot] = id;
  return id;
}

std::int32_t Tokenizer::find_token(std::string_view bytes) const {
  for (std::size_t slot = hash_bytes(bytes);; ++slot) {
    const std::int32_t id = tokens_[slot & (tokens_.size() - 1)];
    if (id == kNone || token(static_cast<std::size_t>(id)) == bytes) return id;
  }
}

const Tokenizer::Merge* Tokenizer::find(std::int32_t left, std::int32_t right) const {
  const std::uint64_t pair = pair_of(left, right);
  for (std::size_t slot = mix(pair);; ++slot) {
    const Merge& found = merges_[slot & (merges_.size() - 1)];
    if (found.pair == pair) return &found;
    if (found.pair == 0) return nullptr;
  }
}

// Merge neighbours, the lowest rank first and of equal ranks the leftmost, until none is left; to `work.ids`.
void Tokenizer::merge(std::string_view bytes, Work& work) const {
  auto& [_, ids, merges] = work;
  ids.clear();
  merges.clear();
  for (const char byte : bytes) ids.push_back(static_cast<std::uint8_t>(byte) + kFirstByte);
  for (std::size_t i = 0; i + 1 < ids.size(); ++i) merges.push_back(find(ids[i], ids[i + 1]));
  for (;;) {
    std::size_t best = merges.size();
    for (std::size_t i = 0; i < merges.size(); ++i) {
      if (merges[i] != nullptr && (best == merges.size() || merges[i]->rank < merges[best]->rank)) best = i;
    }
    if (best == merges.size()) return;
    ids[best] = merges[best]->id;
    ids.erase(ids.begin() + static_cast<std::ptrdiff_t>(best) + 1);
    merges.erase(merges.begin() + static_cast<std::ptrdiff_t>(best));
    if (best > 0) merges[best - 1] = find(ids[best - 1], ids[best]);
    if (best < merges.size()) merges[best] = find(ids[best], ids[best + 1]);
  }
}

void Tokenizer::encode_piece(std::string_view bytes, Work& work, std::vector<std::int32_t>& ids) const {
  const std::int32_t id = find_token(bytes);
  if (id != kNone) {
    std::atomic<std::uint8_t>& is_whole = is_whole_[static_cast<std::size_t>(id)];
    const std::uint8_t known = is_whole.load(std::memory_order_relaxed);
    if (known == 1) {
      ids.push_back(id);
      return;
    }
    if (known == 0) {
      merge(bytes, work);
      is_whole.store(work.ids.size() == 1 ? 1 : 2, std::memory_order_relaxed);
      ids.insert(ids.end(), work.ids.begin(), work.ids.end());
      return;
    }
  }
  merge(bytes, work);
  ids.insert(ids.end(), work.ids.begin(), work.ids.end());
}

void Tokenizer::encode(const TextView& text, std::vector<std::int32_t>& ids) const {
  Work work;
  for (std::size_t begin = 0; begin < text.size;) {
    const std::size_t end = find_piece_end(text, begin);
    work.bytes.clear();
    append_utf8(text.from(begin, end), work.bytes);
    encode_piece(work.bytes, work, ids);
    begin = end;
  }
}

bool TextEncoder::encode(const TextView& text, std::vector<std::int32_t>& ids) {
  normalized_.text.clear();
  normalizer_.normalize(text, normalized_);
  tokenizer_.encode({normalized_.text.data(), normalized_.text.size(), sizeof(char32_t)}, ids);
  return !std::all_of(normalized_.text.begin(), normalized_.text.end(), is_space);
}

}  // namespace gooseguard
