// Sequences to units of work, and those to threads.
#include "gooseguard/engine.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <numeric>
#include <string>
#include <thread>

#include "gooseguard/text_ids.h"
#include "kernels/kernels.h"
#include "model/backbone.h"

#if defined(__SSE__)
#include <xmmintrin.h>
#endif

namespace gooseguard {
namespace {

// Tokens of a unit: enough for products to run at speed, few enough for the second-level cache.
constexpr std::size_t kUnitTokens = 256;

// Numbers of sequences, by falling length.
using Unit = std::vector<std::size_t>;

// Group sequences, longest first; one longer than a unit is a unit of its own, an empty one is in none.
std::vector<Unit> cut_units(std::span<const Sequence> sequences) {
  std::vector<std::size_t> order(sequences.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return sequences[a].tokens.size() > sequences[b].tokens.size();
  });
  std::vector<Unit> units;
  std::size_t room = 0;
  for (const std::size_t number : order) {
    const std::size_t length = sequences[number].tokens.size();
    if (length == 0) {
      break;
    }
    if (units.empty() || length > room) {
      units.emplace_back();
      room = std::max(kUnitTokens, length);
    }
    units.back().push_back(number);
    room -= length;
  }
  return units;
}

// Same rounding and the same treatment of numbers near zero on every thread, whatever its caller had set.
class FloatMode {
 public:
#if defined(__SSE__)
  FloatMode() : before_(_mm_getcsr()) { _mm_setcsr(0x9FC0U); }
  ~FloatMode() { _mm_setcsr(before_); }

 private:
  unsigned before_;
#else
  FloatMode() {}
  ~FloatMode() {}
#endif
};

void add_hidden(const float* hidden, std::size_t n, std::size_t C, Pool& pool) {
  for (std::size_t t = 0; t < n; ++t) {
    const float* row = hidden + t * C;
    const bool is_first = pool.count == 0 && t == 0;
    for (std::size_t i = 0; i < C; ++i) {
      pool.total[i] += row[i];
      // Written so that a NaN stays one.
      pool.maximum[i] = is_first || !(row[i] <= pool.maximum[i]) ? row[i] : pool.maximum[i];
    }
  }
  std::copy(hidden + (n - 1) * C, hidden + n * C, pool.last.begin());
  pool.count += static_cast<std::int64_t>(n);
}

}  // namespace

struct Backbone::Implementation {
  model::Weights weights;
  const kernels::Kernels* kernels = nullptr;
  mutable std::mutex mutex;
  mutable std::vector<std::unique_ptr<model::Scratch>> idle;

  std::size_t width() const { return model::to_size(weights.config.n_embd); }

  std::unique_ptr<model::Scratch> take_scratch() const {
    const std::scoped_lock lock(mutex);
    if (idle.empty()) {
      return std::make_unique<model::Scratch>();
    }
    auto scratch = std::move(idle.back());
    idle.pop_back();
    return scratch;
  }

  void give_back(std::unique_ptr<model::Scratch> scratch) const {
    const std::scoped_lock lock(mutex);
    idle.push_back(std::move(scratch));
  }

  void check(const Sequence& sequence) const;
  void open(Pool& pool, bool is_wkv_kept) const;
  void run_unit(std::span<const Sequence> sequences, const Unit& unit, model::Scratch& scratch) const;
};

void Backbone::Implementation::check(const Sequence& sequence) const {
  const Config& config = weights.config;
  for (const std::int32_t token : sequence.tokens) {
    if (token < 0 || token >= config.vocab_size) {
      throw EngineError("tokens: an id is " + std::to_string(token) + ", expected 0 to " +
                        std::to_string(config.vocab_size - 1) +
                        "; was the text encoded with another vocabulary?");
    }
  }
  if (sequence.pool == nullptr) {
    throw EngineError("run: a sequence has no pool");
  }
  if (sequence.pool->count == 0) {
    return;
  }
  const std::size_t shift = width() * model::to_size(config.n_layer);
  const State& state = sequence.pool->state;
  if (state.wkv.empty()) {
    throw EngineError("pool: an earlier piece kept no state; pool it with keep_state");
  }
  if (state.attention_shift.size() != shift || state.ffn_shift.size() != shift ||
      state.wkv.size() != shift * model::to_size(config.head_size) || sequence.pool->last.size() != width() ||
      sequence.pool->total.size() != sequence.pool->last.size() ||
      sequence.pool->maximum.size() != sequence.pool->last.size()) {
    throw EngineError("pool: its state is of another model");
  }
}

// Give an empty pool what the first token needs.
void Backbone::Implementation::open(Pool& pool, bool is_wkv_kept) const {
  const Config& config = weights.config;
  const std::size_t C = width(), shift = C * model::to_size(config.n_layer);
  if (pool.count == 0) {
    pool.last.assign(C, 0.0F);
    pool.total.assign(C, 0.0);
    pool.maximum.assign(C, 0.0F);
    pool.state.attention_shift.assign(shift, 0.0F);
    pool.state.ffn_shift.assign(shift, 0.0F);
    pool.state.wkv.assign(is_wkv_kept ? shift * model::to_size(config.head_size) : 0, 0.0F);
  }
}

void Backbone::Implementation::run_unit(std::span<const Sequence> sequences, const Unit& unit,
                                        model::Scratch& scratch) const {
  const FloatMode mode;
  const std::size_t C = width();
  const std::size_t longest = sequences[unit.front()].tokens.size();
  std::vector<std::int32_t> tokens;
  std::vector<model::Segment> segments;
  for (std::size_t begin = 0; begin < longest; begin += kUnitTokens) {
    tokens.clear();
    segments.clear();
    for (const std::size_t number : unit) {
      const Sequence& sequence = sequences[number];
      const std::size_t n = std::min(kUnitTokens, sequence.tokens.size() - begin);
      const bool is_kept = sequence.keep_state || longest > kUnitTokens || sequence.pool->count > 0;
      open(*sequence.pool, is_kept);
      const int first = static_cast<int>(tokens.size());
      segments.push_back({first, first + static_cast<int>(n), &sequence.pool->state, is_kept});
      const auto piece = sequence.tokens.subspan(begin, n);
      tokens.insert(tokens.end(), piece.begin(), piece.end());
    }
    const float* hidden = model::forward(weights, *kernels, tokens, segments, scratch);
    for (std::size_t i = 0; i < unit.size(); ++i) {
      const Sequence& sequence = sequences[unit[i]];
      const std::size_t first = model::to_size(segments[i].begin);
      const std::size_t n = model::to_size(segments[i].end) - first;
      if (sequence.hidden != nullptr) {
        std::copy(hidden + first * C, hidden + (first + n) * C, sequence.hidden + begin * C);
      }
      add_hidden(hidden + first * C, n, C, *sequence.pool);
    }
  }
  for (const std::size_t number : unit) {
    if (!sequences[number].keep_state) {
      sequences[number].pool->state = State{};
    }
  }
}

Backbone::Backbone(const Config& config, const Tensors& tensors, const std::string& isa)
    : implementation_(std::make_unique<Implementation>()) {
  implementation_->kernels = kernels::find(isa.c_str());
  if (implementation_->kernels == nullptr) {
    throw EngineError("instruction set is '" + isa + "', which this CPU or this build does not have");
  }
  implementation_->weights = model::read_weights(config, tensors);
}

Backbone::~Backbone() = default;

void Backbone::run(std::span<const Sequence> sequences, int threads) const {
  for (const Sequence& sequence : sequences) {
    implementation_->check(sequence);
  }
  for (const Sequence& sequence : sequences) {
    if (sequence.tokens.empty()) {
      implementation_->open(*sequence.pool, sequence.keep_state);
    }
  }
  const std::vector<Unit> units = cut_units(sequences);
  std::atomic<std::size_t> next{0};
  std::exception_ptr failure;
  std::mutex failure_mutex;
  const auto work = [&] {
    try {
      auto scratch = implementation_->take_scratch();
      for (std::size_t i = next++; i < units.size(); i = next++) {
        implementation_->run_unit(sequences, units[i], *scratch);
      }
      implementation_->give_back(std::move(scratch));
    } catch (...) {
      const std::scoped_lock lock(failure_mutex);
      failure = std::current_exception();
    }
  };
  std::vector<std::jthread> workers;
  const std::size_t wanted = std::min(model::to_size(std::max(threads, 1)), units.size());
  for (std::size_t i = 1; i < wanted; ++i) {
    workers.emplace_back(work);
  }
  work();
  workers.clear();
  if (failure) {
    std::rethrow_exception(failure);
  }
}

std::vector<float> Pool::mean() const {
  const auto tokens = static_cast<double>(std::max<std::int64_t>(count, 1));
  std::vector<float> values(total.size());
  std::transform(total.begin(), total.end(), values.begin(),
                 [tokens](double sum) { return static_cast<float>(sum / tokens); });
  return values;
}

std::vector<float> Backbone::features(std::span<const std::int32_t> ids, std::span<const std::int64_t> offsets,
                                      int threads) const {
  const TextIds texts(ids, offsets);
  std::vector<Pool> pools(texts.size());
  std::vector<Sequence> sequences;
  for (std::size_t i = 0; i < texts.size(); ++i) sequences.push_back({texts[i], &pools[i], false, nullptr});
  run(sequences, threads);
  std::vector<float> values(pools.size() * 3 * implementation_->width());
  auto out = values.begin();
  for (const Pool& pool : pools) {
    const std::vector<float> mean = pool.mean();
    for (const std::vector<float>* part : {&pool.last, &mean, &pool.maximum}) {
      out = std::copy(part->begin(), part->end(), out);
    }
  }
  return values;
}

void Backbone::logits(std::span<const float> hidden, std::span<float> logits) const {
  const kernels::Matrix& head = implementation_->weights.head;
  const std::size_t C = implementation_->width(), V = model::to_size(head.n);
  if (head.n == 0) {
    throw EngineError("logits: this model has no language head");
  }
  const std::size_t n = hidden.size() / C;
  if (hidden.size() != n * C || logits.size() != n * V) {
    throw EngineError("logits: " + std::to_string(hidden.size()) + " hidden values and room for " +
                      std::to_string(logits.size()) + " logits, expected (n, C) and (n, V)");
  }
  const FloatMode mode;
  std::vector<char> data(model::to_size(kernels::row_bytes(head.dtype, head.k)) * n);
  std::vector<float> scale(n);
  std::vector<std::int32_t> zero(n);
  const kernels::Rows rows{head.dtype, data.data(), kernels::row_bytes(head.dtype, head.k), scale.data(),
                           zero.data()};
  implementation_->kernels->convert(hidden.data(), head.k, static_cast<int>(n), head.k, rows);
  implementation_->kernels->product(rows, static_cast<int>(n), head,
                                    {.out = logits.data(), .stride = head.n});
}

const Config& Backbone::config() const { return implementation_->weights.config; }

const char* Backbone::isa() const { return implementation_->kernels->name; }

std::vector<std::string> isa_names() {
  std::vector<std::string> found;
  for (int i = 0; i < kernels::n_names(); ++i) {
    found.emplace_back(kernels::name_of(i));
  }
  return found;
}

bool has_isa(const std::string& name) { return !name.empty() && kernels::find(name.c_str()) != nullptr; }

}  // namespace gooseguard
