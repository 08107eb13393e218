// Penalties on the weights, L1 and L2: their value, and their gradients added to those of the loss.
//
//   value = sum over the parameters of l1 sum |p| + l2 sum p^2
//   g     = scale g + l1 sign(p) + 2 l2 p,   sign(0) = 0
//
// The value is a sum over fixed blocks combined in order, in double: its bits depend on neither the team nor
// the strides. `scale` divides gradients that were summed up over several batches by their samples.
#pragma once
#include "kernels/optimizer/optimizer.h"

namespace ranvier {

// A list longer than kMaxSegments takes several calls: the first sets `value`, the others add to it.
template <class T>
struct WeightPenalty {
  RANVIER_CALL("weight_penalty", l1, l2, scale, in_place(value, !first), views(parameters, count),
               in_place(views(gradients, count)));
  size_t workspace_bytes(int threads) const;
  bool first;
  int count;
  TensorView<const double> l1, l2;  // count elements each
  TensorView<const double> scale;   // one element
  TensorView<double> value;         // one element
  TensorView<const T> parameters[kMaxSegments];
  TensorView<T> gradients[kMaxSegments];  // data null: the value alone
};

}  // namespace ranvier
