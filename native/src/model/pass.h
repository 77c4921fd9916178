// One piece on its way through the layers, and the steps that the versions share.
#pragma once

#include <algorithm>

#include "backbone.h"

namespace gooseguard::model {

// What one piece is run with, and its memory; letters as in `reference`.
struct Pass {
  Pass(const Weights& of, const kernels::Kernels& with, std::span<const Segment> over)
      : weights(of), kernels(with), segments(over) {}

  const Weights& weights;
  const kernels::Kernels& kernels;
  std::span<const Segment> segments;
  int T = 0;
  int C = 0;
  // (T, C) each; the second line is of RWKV-7, the third of the earlier versions.
  float *x = nullptr, *r = nullptr, *w = nullptr, *k = nullptr, *v = nullptr, *g = nullptr, *y = nullptr;
  float *a = nullptr, *v_first = nullptr, *share = nullptr, *removal = nullptr;
  float *normed = nullptr, *difference = nullptr, *mu = nullptr;
  float* bonus = nullptr;   // (T, H) or, of an earlier version, (T)
  float* hidden = nullptr;  // (T, the widest inner)
  float* shares = nullptr;  // (T, kInputs * rank_mix)
  float* wkv = nullptr;     // (N, N), where no state is kept
  float* row = nullptr;     // (2 + kLerpsAtOnce, C)
  kernels::Rows lerps[kernels::kMaxLerps];
  kernels::Rows inner;  // (T, F) or (T, rank), the rows between two products
  void* spare = nullptr;  // for the product of the FFN's inner rows, of which many values are zero
};

// The same memory as rows that `matrix` reads.
kernels::Rows rows_for(kernels::Rows rows, const kernels::Matrix& matrix);

void product(const Pass& pass, const kernels::Rows& rows, const kernels::Matrix& matrix,
             kernels::Activation activation, const float* bias, float* out,
             kernels::Store store = kernels::Store::kF32);

// Product of `rows` and `matrix`, activated, as the rows that `next` reads.
kernels::Rows product_rows(const Pass& pass, const kernels::Rows& rows, const kernels::Matrix& matrix,
                           kernels::Activation activation, const kernels::Matrix& next);

void low_rank(const Pass& pass, const kernels::Rows& rows, const LowRank& weights, kernels::Activation inner,
              kernels::Activation outer, float* out);

// A lerp, and which matrix reads it, which decides its dtype.
struct Lerp {
  const float* mu;
  const kernels::Matrix* reader;
};

// Layer norm, token shift and lerps of all sequences to `pass.lerps`; on request also what is lerped, to
// `pass.normed` and `pass.difference`.
void mix(Pass& pass, const kernels::Norm& norm, std::vector<float> State::* shift, std::ptrdiff_t layer,
         std::span<const Lerp> lerps, bool keeps_inputs = false);

// Call work(segment, place, channel, state) for each head of each sequence: where its first value lies in
// arrays (T, C), its first channel, and its state (N, N), which is zero where the sequence keeps none.
template <typename Work>
void each_head(const Pass& pass, std::ptrdiff_t layer, Work work) {
  const std::ptrdiff_t N = pass.weights.config.head_size;
  for (const Segment& segment : pass.segments) {
    for (std::ptrdiff_t channel = 0; channel < pass.C; channel += N) {
      float* state = pass.wkv;
      if (segment.is_wkv_kept) {
        state = segment.state->wkv.data() + (layer * pass.C + channel) * N;
      } else {
        std::fill(state, state + N * N, 0.0F);
      }
      work(segment, std::ptrdiff_t(segment.begin) * pass.C + channel, channel, state);
    }
  }
}

// Time mix and channel mix of layer i, added to `pass.x`: of RWKV-7, and of RWKV-6 and 5.2.
void run_layer(Pass& pass, const Layer& layer, std::ptrdiff_t i);
void run_layer(Pass& pass, const EarlierLayer& layer, std::ptrdiff_t i);

}  // namespace gooseguard::model
