// How the losses of elements or lines are reduced: not at all, their sum, mean, or their sum divided by the
// batch size.
#pragma once
#include "base/tensor_view.h"

namespace ranvier {

enum class Reduction { none, sum, mean, batch_mean };

// A sum consists of partial sums over fixed parts, which do not depend on the team: at most kLossParts, and
// fewer for a short call (cost_ns: its serial time in nanoseconds).
constexpr int kLossParts = 16;
inline int loss_parts(double cost_ns) {
  if (cost_ns < 1000) return 1;
  return cost_ns < 500 * kLossParts ? static_cast<int>(cost_ns / 500) : kLossParts;
}

// The strides of an operand; zeros if it has no data.
constexpr int64_t kZeros[kMaxDims] = {};
template <class E>
static const int64_t* strides_or_zeros(const TensorView<E>& v) {
  return v.data ? v.strides : kZeros;
}

}  // namespace ranvier
