// What the bindings of pooling share: reads and checks windows for signals (n, c, l) and images (n, c, h, w),
// and finds how many fit. A signal counts as an image with one row.
#pragma once
#include "bindings/ops/image_args.h"
#include "kernels/pooling/axis.h"

namespace ranvier::bind {

// The op that is called, and the words of its errors.
struct PoolOp {
  const char* name;
  int axes;  // 1: signals, 2: images

  std::string sizes(int64_t h, int64_t w) const {  // "3", or "(3, 2)"
    if (axes == 1) return std::to_string(w);
    return "(" + std::to_string(h) + ", " + std::to_string(w) + ")";
  }
  const char* number() const { return axes == 1 ? "a whole number" : "a whole number or a pair of them"; }
  const char* images() const { return axes == 1 ? "signals" : "images"; }
  const char* dimensions() const { return axes == 1 ? "(N, C, L)" : "(N, C, H, W)"; }
  const char* at_least(bool one) const {
    if (axes == 1) return one ? "at least 1" : "at least 0";
    return one ? "whole numbers of at least 1" : "whole numbers of at least 0";
  }
};

// A number along h and along w.
struct HeightWidth {
  int64_t h, w;
};

struct OutputSize : PerAxis {  // None in it stands for x's own size
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

// The windows along both axes, in the form that kernels read (kernels/pooling/axis.h).
struct PoolAxes {
  PoolAxis rows, columns;
};

// A batch of signals or images.
template <int axes>
struct Pooled : Reals {
  Pooled(const Arg& arg) : Reals(arg) {
    const char* const expected = axes == 1 ? "signals (N, C, L)" : "images (N, C, H, W)";
    if (ndim() != 2 + axes) fail(expected);
  }
};

// Reads the settings of windows. stride None: the kernel's size; dilation null: 1.
Windows read_windows(const PoolOp& op, const PerAxis& kernel, const MaybePerAxis& stride,
                     const PerAxis& padding, const PerAxis* dilation = nullptr);
PoolAxes pool_axes(const PoolOp& op, const HeightWidth& in, const Windows& windows, bool ceil_mode);

// The windows of adaptive pooling, which divide the image into output_size windows of nearly equal sizes.
PoolAxes adaptive_axes(const PoolOp& op, const Input& x, const OutputSize& output_size);
PoolAxes adaptive_axes(const PoolOp& op, const HeightWidth& in, const HeightWidth& out);

HeightWidth image_size(const PoolOp& op, const Input& x);
// Height and width in `shape`, the shape of the x for which dy is a gradient. Fails unless dy has the same n
// and c.
HeightWidth size_of_shape(const PoolOp& op, const Sizes& shape, const Input& dy);
// Fails unless dy (or `where`) has one element for each window.
void expect_pooled(const PoolOp& op, const Input& dy, const PoolAxes& axes);

// True if kernels process vectors of channels, since x is channels-last; then the result is channels-last,
// too.
bool pools_over_channels(const PoolOp& op, const Input& x);
// A new array with the n and c of `like`, and this height and width.
Output pooled_output(const PoolOp& op, DType dtype, bool channels_last, const Input& like,
                     const HeightWidth& size);

}  // namespace ranvier::bind
