// Gradient clipping and penalties on weights: the norm of a list of gradients, their scaling or clamping in
// place, and the gradients of penalties.
//
// A norm is a sum over fixed blocks, whose sums are combined in order. So its bits depend neither on the team
// nor on strides.
#pragma once
#include "kernels/optimizer/optimizer.h"

namespace ranvier {

// norm = (sum over all gradients of |g|^p)^(1/p), or the largest |g| for p = infinity. A list longer than
// kMaxSegments takes several calls: the first sets `norm` to its sum, the others add to it, and the last
// takes the root.
template <class T>
struct GradientNorm {
  RANVIER_CALL("gradient_norm", views(gradients, count), in_place(norm, !first));
  size_t workspace_bytes(int threads) const;
  double p;
  bool first, last;
  int count;
  TensorView<double> norm;  // one element
  TensorView<const T> gradients[kMaxSegments];
};

// g *= min(1, limit / (norm + 1e-6)), or if norm has no data: g = clamp(g, -limit, limit).
template <class T>
struct GradientClip {
  RANVIER_CALL("gradient_clip", norm, limit, in_place(views(gradients, count)));
  int count;
  TensorView<const double> norm, limit;  // one element each
  TensorView<T> gradients[kMaxSegments];
};

// L1 and L2 penalties on the weights p: their value, and their gradients, which are added to the gradients g
// of the loss.
//
//   value = sum over the parameters of l1 sum |p| + l2 sum p^2
//   g     = scale g + l1 sign(p) + 2 l2 p,   sign(0) = 0
//
// l1 and l2 are numbers of each parameter. `scale` is for gradients that were summed over several batches: 1
// / samples. The value is a sum in double over fixed blocks, whose sums are added in order.
//
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
  TensorView<T> gradients[kMaxSegments];  // or data null: only the value is computed
};

}  // namespace ranvier
