// Shared by the bindings of pooling: windows read and checked, for signals (n, c, l) and images (n, c, h, w).
#pragma once
#include "bindings/ops/image_args.h"
#include "kernels/pooling/axis.h"

namespace ranvier::bind {

// The op that is called, and the words of its errors.
struct PoolOp {
  const char* name;
  int axes;  // 1: signals, 2: images

  std::string sizes(int64_t h, int64_t w) const {  // "3", or "(3, 2)"
    return axes == 1 ? std::to_string(w) : "(" + std::to_string(h) + ", " + std::to_string(w) + ")";
  }
  const char* number() const { return axes == 1 ? "a whole number" : "a whole number or a pair of them"; }
  const char* images() const { return axes == 1 ? "signals" : "images"; }
  const char* dimensions() const { return axes == 1 ? "(N, C, L)" : "(N, C, H, W)"; }
  const char* at_least(bool one) const {
    if (axes == 1) return one ? "at least 1" : "at least 0";
    return one ? "whole numbers of at least 1" : "whole numbers of at least 0";
  }
};

// A number along h and along w; a signal's h has one row.
struct HeightWidth {
  int64_t h, w;
};

struct OutputSize : PerAxis {  // None stands for x's own size
  RANVIER_ANNOTATION("int | Sequence[int | None] | None");
  using PerAxis::PerAxis;
};

// The window along one axis, as the caller gives it.
struct Window {
  int64_t kernel, stride, padding, dilation;
};
struct Windows {
  Window h, w;
};

// The places of the windows in images of one size.
struct PoolAxes {
  PoolAxis rows, columns;
};

// A batch of signals or images.
template <int axes>
struct Pooled : Reals {
  Pooled(const Arg& arg) : Reals(arg) {
    if (ndim() != 2 + axes) fail(axes == 1 ? "signals (N, C, L)" : "images (N, C, H, W)");
  }
};

// stride None: the kernel's.
Windows read_windows(const PoolOp& op, const PerAxis& kernel, const MaybePerAxis& stride,
                     const PerAxis& padding, const PerAxis* dilation = nullptr);
PoolAxes pool_axes(const PoolOp& op, const HeightWidth& in, const Windows& windows, bool ceil_mode);

// output_size: a number for all axes or one for each; None keeps x's own size.
PoolAxes adaptive_axes(const PoolOp& op, const Input& x, const OutputSize& output_size);
PoolAxes adaptive_axes(const PoolOp& op, const HeightWidth& in, const HeightWidth& out);

HeightWidth image_size(const PoolOp& op, const Input& x);
// The size that x of this shape had, of which dy is the gradient.
HeightWidth size_of_shape(const PoolOp& op, const Sizes& shape, const Input& dy);
// Fails unless dy (or `where`) has one element for each window.
void expect_pooled(const PoolOp& op, const Input& dy, const PoolAxes& axes);

// True if the kernels' vectors are of x's channels, so that the result is channels-last.
bool pools_over_channels(const PoolOp& op, const Input& x);
// An array with n and c of `like`.
Output pooled_output(const PoolOp& op, DType dtype, bool channels_last, const Input& like,
                     const HeightWidth& size);

}  // namespace ranvier::bind
