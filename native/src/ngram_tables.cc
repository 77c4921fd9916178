#include "gooseguard/ngram_tables.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "gooseguard/errors.h"
#include "gooseguard/text_ids.h"
#include "kernels/bfloat16.h"

namespace gooseguard {
namespace {

// STEPS, SIZE_STEPS, LARGEST_SIZE and LARGEST_WEIGHT of ngram_tables.py.
constexpr double kSteps = 1 << 20;
constexpr double kSizeSteps = 1 << 8;
constexpr float kLargestSize = 1 << 16;
constexpr float kLargestWeight = 1 << 16;

// A table may lie at any place of a file.
float float_at(const char* table, std::size_t place) {
  float value = 0;
  std::memcpy(&value, table + place * sizeof(value), sizeof(value));
  return value;
}

float weight_at(const Tensor& tensor, std::size_t place) {
  const char* const table = static_cast<const char*>(tensor.data);
  if (tensor.dtype == Dtype::kF32) return float_at(table, place);
  std::uint16_t bits = 0;
  std::memcpy(&bits, table + place * sizeof(bits), sizeof(bits));
  return kernels::from_bf16(bits);
}

// Rounds to a whole number, ties to even: far from 2^52 that is what adding a number that large does, in a few
// cycles, where a call of the mathematics library takes twenty.
std::int64_t round_even(double x) {
  constexpr double kLarge = 6755399441055744.0;  // 1.5 * 2^52
  return static_cast<std::int64_t>((x + kLarge) - kLarge);
}

// A sum without undefined behaviour: only a text of 2^26 tokens, or a damaged state, comes near the end.
void add_to(std::int64_t& sum, std::int64_t value) {
  sum = static_cast<std::int64_t>(static_cast<std::uint64_t>(sum) + static_cast<std::uint64_t>(value));
}

// Source: the finaliser of MurmurHash3 (A. Appleby, 2011).
std::uint32_t mix(std::uint32_t x) {
  x = (x ^ (x >> 16)) * 0x85EBCA6BU;
  x = (x ^ (x >> 13)) * 0xC2B2AE35U;
  return x ^ (x >> 16);
}

// Sum of the squares; exact as long as it is below 2^53, in whatever order.
double square(std::span<const std::int64_t> sketch) {
  // Four, since each waits for the one before.
  double sums[4] = {};
  for (std::size_t i = 0; i < sketch.size(); ++i) {
    const auto value = static_cast<double>(sketch[i]);
    sums[i % 4] += value * value;
  }
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

const Tensor& find(const Tensors& tensors, const std::string& name) {
  const auto found = tensors.find(name);
  if (found == tensors.end()) throw ArtefactError(name + " is missing; export it again");
  if (found->second.dtype == Dtype::kInt8) throw ArtefactError(name + " is int8, expected F32 or BF16");
  return found->second;
}

void check_size(const std::string& name, const Tensor& tensor, std::size_t n) {
  const std::size_t expected = n * (tensor.dtype == Dtype::kF32 ? 4 : 2);
  if (tensor.size_bytes != expected) {
    throw ArtefactError(name + " has " + std::to_string(tensor.size_bytes) + " bytes, expected " +
                        std::to_string(expected) + "; export it again");
  }
}

// A vector of floats, and how many they are.
const char* vector(const Tensors& tensors, const std::string& name, std::size_t& n) {
  const Tensor& tensor = find(tensors, name);
  if (tensor.dtype != Dtype::kF32) throw ArtefactError(name + " is BF16, expected F32; export it again");
  n = tensor.size_bytes / 4;
  check_size(name, tensor, n);
  return static_cast<const char*>(tensor.data);
}

}  // namespace

NgramTables::NgramTables(const Tensors& tensors, std::size_t n_categories) : n_categories_(n_categories) {
  for (Table* table : {&tokens_, &pairs_}) {
    const std::string name = table == &tokens_ ? "ngrams.token_" : "ngrams.pair_";
    table->size = vector(tensors, name + "size", table->n_rows);
    table->weight = find(tensors, name + "weight");
    check_size(name + "weight", table->weight, table->n_rows * n_categories);
    for (std::size_t row = 0; row < table->n_rows; ++row) {
      const float size = float_at(table->size, row);
      if (!(size >= 0.0F && size < kLargestSize)) {
        throw ArtefactError("ngrams.token_size or pair_size has what is no size; export it again");
      }
    }
  }
  read_pairs(tensors);
}

void NgramTables::read_pairs(const Tensors& tensors) {
  std::size_t n_first = 0, n_second = 0;
  const char* const first = vector(tensors, "ngrams.pair_first", n_first);
  second_ = vector(tensors, "ngrams.pair_second", n_second);
  const auto n_tokens = static_cast<float>(tokens_.n_rows);
  const auto is_token = [&](float id) { return id >= 0.0F && id < n_tokens && std::trunc(id) == id; };
  bool is_good = n_first == pairs_.n_rows && n_second == pairs_.n_rows && n_tokens <= 1 << 24;
  begins_.assign(tokens_.n_rows + 1, 0);
  for (std::size_t row = 0; row < pairs_.n_rows && is_good; ++row) {
    const float left = float_at(first, row), right = float_at(second_, row);
    is_good = is_token(left) && is_token(right);
    if (is_good && row > 0) {
      const float before = float_at(first, row - 1);
      is_good = before < left || (before == left && float_at(second_, row - 1) < right);
    }
    if (is_good) ++begins_[static_cast<std::size_t>(left) + 1];
  }
  if (!is_good) {
    throw ArtefactError("ngrams.pair_first and pair_second are no pairs of " + std::to_string(tokens_.n_rows) +
                        " tokens in order");
  }
  for (std::size_t token = 0; token < tokens_.n_rows; ++token) begins_[token + 1] += begins_[token];
}

std::ptrdiff_t NgramTables::find_pair(std::int32_t first, std::int32_t second) const {
  std::size_t begin = begins_[static_cast<std::size_t>(first)];
  const std::size_t end = begins_[static_cast<std::size_t>(first) + 1];
  const auto wanted = static_cast<float>(second);
  for (std::size_t n = end - begin; n > 0;) {
    const std::size_t half = n / 2;
    const bool is_below = float_at(second_, begin + half) < wanted;
    begin = is_below ? begin + half + 1 : begin;
    n = is_below ? n - half - 1 : half;
  }
  return begin < end && float_at(second_, begin) == wanted ? static_cast<std::ptrdiff_t>(begin) : -1;
}

void NgramTables::add_row(const Table& table, std::size_t row, std::int64_t* sums, std::int64_t* sketch) const {
  for (std::size_t i = 0; i < n_categories_; ++i) {
    const float weight = weight_at(table.weight, row * n_categories_ + i);
    // Loading maps a file and does not read it through; and as a whole number NaN would be some score.
    if (!(std::abs(weight) < kLargestWeight)) {
      throw EngineError("n-gram head: a weight is no weight; the file is damaged, export it again");
    }
    add_to(sums[i], round_even(double{weight} * kSteps));
  }
  const std::uint32_t mixed = mix(static_cast<std::uint32_t>(row));
  const std::int64_t size = round_even(double{float_at(table.size, row)} * kSizeSteps);
  add_to(sketch[mixed >> 22], (mixed & 2U) != 0 ? -size : size);
}

void NgramTables::add(std::span<const std::int32_t> ids, std::int64_t previous, std::span<std::int64_t> sums,
                      std::span<std::int64_t> sketches) const {
  const auto n_tokens = static_cast<std::int64_t>(tokens_.n_rows);
  const auto check = [&](std::int64_t id) {
    if (id < 0 || id >= n_tokens) {
      throw EngineError("n-gram head: an id is " + std::to_string(id) + ", expected 0 to " +
                        std::to_string(n_tokens - 1));
    }
  };
  if (previous != -1) check(previous);
  for (const std::int32_t id : ids) {
    check(id);
    add_row(tokens_, static_cast<std::size_t>(id), sums.data(), sketches.data());
    if (previous != -1) {
      const std::ptrdiff_t pair = find_pair(static_cast<std::int32_t>(previous), id);
      if (pair >= 0) {
        add_row(pairs_, static_cast<std::size_t>(pair), &sums[n_categories_], &sketches[kSlots]);
      }
    }
    previous = id;
  }
}

std::vector<float> NgramTables::logits(std::span<const std::int32_t> ids,
                                       std::span<const std::int64_t> offsets) const {
  const TextIds texts(ids, offsets);
  std::vector<float> values(texts.size() * n_categories_);
  std::vector<std::int64_t> sums(2 * n_categories_), sketches(2 * kSlots);
  for (std::size_t i = 0; i < texts.size(); ++i) {
    std::fill(sums.begin(), sums.end(), 0);
    std::fill(sketches.begin(), sketches.end(), 0);
    add(texts[i], -1, sums, sketches);
    logits(sums, sketches, std::span(values).subspan(i * n_categories_, n_categories_));
  }
  return values;
}

void NgramTables::logits(std::span<const std::int64_t> sums, std::span<const std::int64_t> sketches,
                         std::span<float> logits) const {
  double norms[2];
  for (std::size_t block = 0; block < 2; ++block) {
    // Where nothing was counted the sums are zero.
    norms[block] = std::sqrt(std::max(square(sketches.subspan(block * kSlots, kSlots)), 1.0)) / kSizeSteps;
  }
  for (std::size_t i = 0; i < n_categories_; ++i) {
    const double of_tokens = static_cast<double>(sums[i]) / kSteps / norms[0];
    const double of_pairs = static_cast<double>(sums[n_categories_ + i]) / kSteps / norms[1];
    logits[i] = static_cast<float>(of_tokens + of_pairs);
  }
}

}  // namespace gooseguard
