// An engine file's tensors to weights, checked: whoever runs them may trust every pointer and size.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "../kernels/bfloat16.h"
#include "backbone.h"

namespace gooseguard::model {
namespace {

constexpr int kLargest = 1 << 20;

kernels::Dtype to_kernel(Dtype dtype) { return static_cast<kernels::Dtype>(dtype); }

class Reader {
 public:
  Reader(const Tensors& tensors, Weights& weights) : tensors_(tensors), weights_(weights) {}

  // A vector of n floats: in place, or widened into a small copy.
  const float* vector(const std::string& name, std::ptrdiff_t n) {
    const Tensor* tensor = find(name, n * 4, n * 2);
    if (tensor == nullptr) {
      return nullptr;
    }
    if (tensor->dtype == Dtype::kF32 && reinterpret_cast<std::uintptr_t>(tensor->data) % 4 == 0) {
      return static_cast<const float*>(tensor->data);
    }
    std::vector<float>& copy = weights_.floats.emplace_back(to_size(n));
    if (tensor->dtype == Dtype::kF32) {
      std::memcpy(copy.data(), tensor->data, 4 * to_size(n));
    } else {
      std::vector<std::uint16_t> bits(to_size(n));
      std::memcpy(bits.data(), tensor->data, 2 * to_size(n));
      std::transform(bits.begin(), bits.end(), copy.begin(), kernels::from_bf16);
    }
    return copy.data();
  }

  // What `of` makes of each value of a vector, as a small copy.
  template <typename Of>
  const float* vector_of(const std::string& name, std::ptrdiff_t n, Of of) {
    const float* values = vector(name, n);
    if (values == nullptr) {
      return nullptr;
    }
    std::vector<float>& copy = weights_.floats.emplace_back(to_size(n));
    std::transform(values, values + n, copy.begin(), of);
    return copy.data();
  }

  kernels::Norm norm(const std::string& prefix, std::ptrdiff_t n, float epsilon) {
    return {vector(prefix + ".weight", n), vector(prefix + ".bias", n), epsilon};
  }

  // A matrix in tiles, n output channels of k input channels.
  kernels::Matrix matrix(const std::string& name, int n, int k) {
    kernels::Matrix matrix{.n = n, .k = k};
    const auto found = tensors_.find(name);
    if (found == tensors_.end()) {
      findings_.push_back(name + " is missing");
      return matrix;
    }
    matrix.dtype = to_kernel(found->second.dtype);
    const std::ptrdiff_t expected = kernels::tile_bytes(matrix.dtype, n, k);
    if (found->second.size_bytes != to_size(expected)) {
      findings_.push_back(name + " has " + std::to_string(found->second.size_bytes) + " bytes, expected " +
                          std::to_string(expected));
      return matrix;
    }
    if (!check_place(name, found->second, 4)) {
      return matrix;
    }
    matrix.tiles = found->second.data;
    if (matrix.dtype == kernels::Dtype::kInt8) {
      read_scale(name, matrix);
    }
    return matrix;
  }

  // Matrices of one shape in one tensor, one after another; low-rank factors, which are never int8.
  template <std::size_t kCount>
  std::array<kernels::Matrix, kCount> matrices(const std::string& name, int n, int k) {
    std::array<kernels::Matrix, kCount> all;
    const auto found = tensors_.find(name);
    if (found == tensors_.end()) {
      findings_.push_back(name + " is missing");
      return all;
    }
    const auto& [dtype, data, size_bytes] = found->second;
    const std::ptrdiff_t step = kernels::tile_bytes(to_kernel(dtype), n, k);
    if (dtype == Dtype::kInt8 || size_bytes != kCount * to_size(step) ||
        reinterpret_cast<std::uintptr_t>(data) % 4 != 0) {
      findings_.push_back(name + " has " + std::to_string(size_bytes) + " bytes, expected " +
                          std::to_string(kCount * to_size(step)) + " as f32 or bf16 at a multiple of 4");
      return all;
    }
    for (std::size_t i = 0; i < kCount; ++i) {
      const char* tiles = static_cast<const char*>(data) + i * to_size(step);
      all[i] = {.dtype = to_kernel(dtype), .n = n, .k = k, .tiles = tiles};
    }
    return all;
  }

  LowRank low_rank(const std::string& prefix, int c, int rank, bool has_bias) {
    return {matrix(prefix + "1", rank, c), matrix(prefix + "2", c, rank),
            has_bias ? vector(prefix + "0", c) : nullptr};
  }

  // Whether a tensor can be read in place; if not, that is a finding.
  bool check_place(const std::string& name, const Tensor& tensor, std::uintptr_t multiple) {
    const bool is_good = reinterpret_cast<std::uintptr_t>(tensor.data) % multiple == 0;
    if (!is_good) {
      findings_.push_back(name + " lies at an odd place in memory; expected a multiple of " +
                          std::to_string(multiple));
    }
    return is_good;
  }

  const Tensor* find(const std::string& name, std::ptrdiff_t f32_bytes, std::ptrdiff_t bf16_bytes) {
    const auto found = tensors_.find(name);
    if (found == tensors_.end()) {
      findings_.push_back(name + " is missing");
      return nullptr;
    }
    const Tensor& tensor = found->second;
    const std::ptrdiff_t expected = tensor.dtype == Dtype::kF32 ? f32_bytes : bf16_bytes;
    if (tensor.dtype == Dtype::kInt8 || tensor.size_bytes != to_size(expected)) {
      findings_.push_back(name + " has " + std::to_string(tensor.size_bytes) + " bytes, expected " +
                          std::to_string(expected) + " as f32 or bf16");
      return nullptr;
    }
    return &tensor;
  }

  void raise_any() const {
    if (findings_.empty()) {
      return;
    }
    std::string message = "weights: ";
    for (std::size_t i = 0; i < findings_.size() && i < 8; ++i) {
      message += (i == 0 ? "" : "; ") + findings_[i];
    }
    throw EngineError(message + (findings_.size() > 8 ? "; and more" : ""));
  }

 private:
  // Scales rounded up to whole tiles, and the sums that take the zero point of activations out again.
  void read_scale(const std::string& name, kernels::Matrix& matrix) {
    const float* scale = vector(name + ".scale", matrix.n);
    if (scale == nullptr) {
      return;
    }
    if (!std::all_of(scale, scale + matrix.n, [](float x) { return std::isfinite(x) && x >= 0.0F; })) {
      findings_.push_back(name + ".scale holds what is no scale; was the file damaged?");
      return;
    }
    constexpr std::size_t kTile = kernels::kTile;
    const std::size_t padded = (to_size(matrix.n) + kTile - 1) / kTile * kTile;
    std::vector<float>& scales = weights_.floats.emplace_back(padded, 0.0F);
    std::copy(scale, scale + matrix.n, scales.begin());
    std::vector<std::int32_t>& sums = weights_.sums.emplace_back(padded, 0);
    const auto* stored = static_cast<const std::int8_t*>(matrix.tiles);
    const std::size_t tile_size = to_size(kernels::n_groups(matrix.dtype, matrix.k)) * kTile * 4;
    for (std::size_t i = 0; i < padded / kTile * tile_size; ++i) {
      sums[i / tile_size * kTile + i / 4 % kTile] += stored[i];
    }
    matrix.scale = scales.data();
    matrix.sums = sums.data();
  }

  const Tensors& tensors_;
  Weights& weights_;
  std::vector<std::string> findings_;
};

void check(const Config& config) {
  std::vector<int> sizes{config.n_layer, config.n_embd, config.vocab_size, config.head_size, config.n_ffn};
  if (config.version != Version::kX052) {
    sizes.push_back(config.rank_w);
  }
  if (config.version == Version::kX060) {
    sizes.push_back(config.rank_mix);
  }
  if (config.version == Version::kX070) {
    sizes.insert(sizes.end(), {config.rank_a, config.rank_v, config.rank_g});
  }
  for (const int size : sizes) {
    if (size < 1 || size > kLargest) {
      throw EngineError("config: a size is " + std::to_string(size) + ", expected 1 to " +
                        std::to_string(kLargest));
    }
  }
  if (config.n_embd % config.head_size != 0) {
    throw EngineError("config: n_embd " + std::to_string(config.n_embd) + " is no multiple of head_size " +
                      std::to_string(config.head_size));
  }
}

constexpr float kLayerNormEpsilon = 1e-5F;

// Of the heads. Source: `RwkvConfig.group_norm_epsilon` in codec/layout.py, which says why.
float group_norm_epsilon(const Config& config) {
  const float divisor = static_cast<float>(config.head_size) / 8.0F;
  return config.version == Version::kX052 ? 1e-5F * divisor * divisor : 64e-5F;
}

Layer read_layer(Reader& reader, const Config& config, int i) {
  const int C = config.n_embd, F = config.n_ffn;
  const std::string block = "blocks." + std::to_string(i) + ".", att = block + "att.", ffn = block + "ffn.";
  Layer layer{};
  layer.ln1 = reader.norm(block + "ln1", C, kLayerNormEpsilon);
  layer.ln2 = reader.norm(block + "ln2", C, kLayerNormEpsilon);
  layer.ln_x = reader.norm(att + "ln_x", C, group_norm_epsilon(config));
  const std::pair<const float**, const char*> vectors[] = {
      {&layer.x_r, "x_r"}, {&layer.x_w, "x_w"}, {&layer.x_k, "x_k"}, {&layer.x_v, "x_v"}, {&layer.x_a, "x_a"},
      {&layer.x_g, "x_g"}, {&layer.k_k, "k_k"}, {&layer.k_a, "k_a"}, {&layer.r_k, "r_k"}};
  for (const auto& [place, name] : vectors) {
    *place = reader.vector(att + name, C);
  }
  layer.ffn_x_k = reader.vector(ffn + "x_k", C);
  layer.receptance = reader.matrix(att + "receptance.weight", C, C);
  layer.key = reader.matrix(att + "key.weight", C, C);
  layer.value = reader.matrix(att + "value.weight", C, C);
  layer.output = reader.matrix(att + "output.weight", C, C);
  layer.ffn_key = reader.matrix(ffn + "key.weight", F, C);
  layer.ffn_value = reader.matrix(ffn + "value.weight", C, F);
  layer.decay = reader.low_rank(att + "w", C, config.rank_w, true);
  layer.rate = reader.low_rank(att + "a", C, config.rank_a, true);
  layer.gate = reader.low_rank(att + "g", C, config.rank_g, false);
  if (i > 0) {
    layer.residual = reader.low_rank(att + "v", C, config.rank_v, true);
  }
  return layer;
}

// Where the token before comes in, of a version that stores the share of the token itself.
float complement(float share) { return 1.0F - share; }

float exp_decay(float rate) { return static_cast<float>(std::exp(-std::exp(double{rate}))); }

void read_mixes(Reader& reader, const Config& config, const std::string& block, EarlierLayer& layer) {
  const int C = config.n_embd;
  const std::string att = block + "att.", ffn = block + "ffn.";
  const std::pair<Input, const char*> inputs[] = {
      {kKey, "k"}, {kValue, "v"}, {kReceptance, "r"}, {kGate, "g"}};
  if (config.version == Version::kX052) {
    for (const auto& [input, name] : inputs) {
      layer.x[input] = reader.vector_of(att + "time_mix_" + name, C, complement);
    }
    layer.ffn_x_k = reader.vector_of(ffn + "time_mix_k", C, complement);
    layer.ffn_x_r = reader.vector_of(ffn + "time_mix_r", C, complement);
    layer.decays = reader.vector_of(att + "time_decay", C, exp_decay);
    return;
  }
  const std::string maa = att + "time_maa_";
  for (const auto& [input, name] : inputs) {
    layer.x[input] = reader.vector(maa + name, C);
  }
  layer.x[kDecay] = reader.vector(maa + "w", C);
  layer.x_x = reader.vector(maa + "x", C);
  layer.mix_down = reader.matrix(maa + "w1", kInputs * config.rank_mix, C);
  layer.mix_up = reader.matrices<kInputs>(maa + "w2", C, config.rank_mix);
  layer.ffn_x_k = reader.vector(ffn + "time_maa_k", C);
  layer.ffn_x_r = reader.vector(ffn + "time_maa_r", C);
  layer.decay = {reader.matrix(att + "time_decay_w1", config.rank_w, C),
                 reader.matrix(att + "time_decay_w2", C, config.rank_w), reader.vector(att + "time_decay", C)};
}

EarlierLayer read_earlier_layer(Reader& reader, const Config& config, int i) {
  const int C = config.n_embd, F = config.n_ffn;
  const std::string block = "blocks." + std::to_string(i) + ".", att = block + "att.", ffn = block + "ffn.";
  EarlierLayer layer{};
  layer.ln1 = reader.norm(block + "ln1", C, kLayerNormEpsilon);
  layer.ln2 = reader.norm(block + "ln2", C, kLayerNormEpsilon);
  layer.ln_x = reader.norm(att + "ln_x", C, group_norm_epsilon(config));
  layer.u = reader.vector(att + "time_faaaa", C);
  read_mixes(reader, config, block, layer);
  const std::pair<kernels::Matrix*, const char*> matrices[] = {{&layer.receptance, "receptance"},
                                                               {&layer.key, "key"},
                                                               {&layer.value, "value"},
                                                               {&layer.gate, "gate"},
                                                               {&layer.output, "output"}};
  for (const auto& [place, name] : matrices) {
    *place = reader.matrix(att + name + ".weight", C, C);
  }
  layer.ffn_receptance = reader.matrix(ffn + "receptance.weight", C, C);
  layer.ffn_key = reader.matrix(ffn + "key.weight", F, C);
  layer.ffn_value = reader.matrix(ffn + "value.weight", C, F);
  return layer;
}

}  // namespace

Weights read_weights(const Config& config, const Tensors& tensors) {
  check(config);
  Weights weights;
  weights.config = config;
  Reader reader(tensors, weights);
  const std::ptrdiff_t V = config.vocab_size, C = config.n_embd;
  if (const Tensor* embedding = reader.find("emb.weight", 4 * V * C, 2 * V * C)) {
    weights.embedding = *embedding;
    reader.check_place("emb.weight", *embedding, embedding->dtype == Dtype::kF32 ? 4 : 2);
  }
  weights.ln0 = reader.norm("blocks.0.ln0", C, kLayerNormEpsilon);
  weights.ln_out = reader.norm("ln_out", C, kLayerNormEpsilon);
  for (int i = 0; i < config.n_layer; ++i) {
    if (config.version == Version::kX070) {
      weights.layers.push_back(read_layer(reader, config, i));
    } else {
      weights.earlier_layers.push_back(read_earlier_layer(reader, config, i));
    }
  }
  if (tensors.contains("head.weight")) {
    weights.head = reader.matrix("head.weight", config.vocab_size, config.n_embd);
  }
  reader.raise_any();
  return weights;
}

}  // namespace gooseguard::model
