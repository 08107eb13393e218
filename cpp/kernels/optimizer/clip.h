// Gradient clipping: the norm of a list of gradients, and their scaling or clamping in place.
//
// A norm is a sum over fixed blocks combined in order, so its bits depend on neither the team nor the
// strides.
#pragma once
#include "kernels/optimizer/optimizer.h"

namespace ranvier {

// norm = (sum over all gradients of |g|^p)^(1/p), or the largest |g| for p = infinity. A list longer than
// kMaxSegments takes several calls: the first sets `norm` to the sum, the last takes the root.
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

// By norm: g *= min(1, limit / (norm + 1e-6)). By value (norm's data is null): g = clamp(g, -limit, limit).
template <class T>
struct GradientClip {
  RANVIER_CALL("gradient_clip", norm, limit, in_place(views(gradients, count)));
  int count;
  TensorView<const double> norm, limit;  // one element each
  TensorView<T> gradients[kMaxSegments];
};

}  // namespace ranvier
