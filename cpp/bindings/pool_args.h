// What the pools' bindings share: windows read and checked, for signals (n, c, l) and images (n, c, h, w).
#pragma once
#include <string>

#include "bindings/image_args.h"
#include "kernels/pooling/axis.h"

namespace ranvier::bind {

struct PoolOp {
  const char* name;
  int axes;  // 1: signals, 2: images

  const char* number() const { return axes == 1 ? "a whole number" : "a whole number or a pair of them"; }
  std::string sizes(int64_t h, int64_t w) const {  // "3", or "(3, 2)"
    return axes == 1 ? std::to_string(w) : "(" + std::to_string(h) + ", " + std::to_string(w) + ")";
  }
};

// A number along h and along w; a signal's h has one row.
struct Pair {
  int64_t h, w;
};

// The window along one axis, as the caller gives it.
struct Window {
  int64_t kernel, stride, padding, dilation;
};
struct Windows {
  Window h, w;
};

// Where the windows lie in images of one size.
struct PoolAxes {
  PoolAxis rows, columns;
};

Input pooled_input(const PoolOp& op, const char* name,
                   py::handle x);  // fails unless it has the op's dimensions

// stride None: the kernel's; dilation None: 1.
Windows read_windows(const PoolOp& op, py::handle kernel, py::handle stride, py::handle padding,
                     py::handle dilation);
PoolAxes pool_axes(const PoolOp& op, const Pair& in, const Windows& windows, bool ceil_mode);

// output_size: a number for all axes or one for each; None keeps x's own size.
PoolAxes adaptive_axes(const PoolOp& op, const Input& x, py::handle output_size);
PoolAxes adaptive_axes(const PoolOp& op, const Pair& in, const Pair& out);

Pair image_size(const PoolOp& op, const Input& x);
// The size that x of this shape had, of which dy is the gradient.
Pair size_of_shape(const PoolOp& op, py::handle shape, const Input& dy);
// Fails unless dy (or `where`) has one element for each window.
void check_pooled(const PoolOp& op, const char* name, const Input& dy, const PoolAxes& axes);

bool pools_over_channels(const PoolOp& op, const Input& x);
Output pooled_output(const PoolOp& op, DType dtype, bool channels_last, const Input& like, const Pair& size);

}  // namespace ranvier::bind
