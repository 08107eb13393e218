// pad: y = x inside a frame of one value. x is cropped where `before` is negative, or where y ends earlier
// than x.
//
//   y[i + before] = x[i] where both indices exist; all other elements of y are `value`. x and y have the same
//   number of dimensions. x may have any strides; y is dense, with its dimensions in any order. The gradient
//   of a pad is a pad with the negative sizes.
#pragma once
#include <cstddef>

#include "base/views.h"

namespace ranvier {

template <class T>
struct Pad {
  RANVIER_CALL("pad", x, y);
  TensorView<const T> x;
  TensorView<T> y;
  int64_t before[kMaxDims];
  T value;
};

}  // namespace ranvier
