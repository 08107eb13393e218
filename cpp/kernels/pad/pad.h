// pad: y = x inside a frame of one value; where `before` is negative or y smaller, x is cropped.
//
//   x and y of any one number of dimensions; y[i + before] = x[i] where both exist, else value. x of any
//   strides; y is dense in whatever order of its dimensions. Its gradient is a pad of the negative sizes.
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
