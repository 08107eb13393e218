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
  static constexpr const char* name = "gradient_norm";
  double p;
  bool first, last;
  int count;
  TensorView<double> norm;  // one element
  TensorView<const T> gradients[kMaxSegments];

  size_t workspace_bytes(int threads) const;
  void run(const Team& team, void* workspace) const;
  void buffers(ViewList& v) const {
    if (!first) v.read(norm);
    v.write(norm);
    for (int i = 0; i < count; ++i) v.read(gradients[i]);
  }
};

// By norm: g *= min(1, limit / (norm + 1e-6)). By value (norm's data is null): g = clamp(g, -limit, limit).
template <class T>
struct GradientClip {
  static constexpr const char* name = "gradient_clip";
  int count;
  TensorView<const double> norm, limit;  // one element each
  TensorView<T> gradients[kMaxSegments];

  void run(const Team& team, void* workspace) const;
  void buffers(ViewList& v) const {
    if (norm.data) v.read(norm);
    v.read(limit);
    for (int i = 0; i < count; ++i) v.read(gradients[i]), v.write(gradients[i]);
  }
};

}  // namespace ranvier
