// The reductions of the losses of elements or lines: none, sum, mean, or sum divided by the batch.
#pragma once
#include "base/tensor_view.h"

namespace ranvier {

enum class Reduction { none, sum, mean, batch_mean };

// A sum is made of partial sums over fixed parts, independent of the team: at most this many, and fewer for a
// short call.
constexpr int kLossParts = 16;
inline int loss_parts(double cost_ns) {
  return cost_ns < 1000 ? 1 : cost_ns < 500 * kLossParts ? static_cast<int>(cost_ns / 500) : kLossParts;
}

// The strides of an operand, zeros if it is absent.
constexpr int64_t kZeros[kMaxDims] = {};
template <class E>
static const int64_t* strides_or_zeros(const TensorView<E>& v) {
  return v.data ? v.strides : kZeros;
}

}  // namespace ranvier
