// value_range: whether every element is in a range, for ops that raise an error where one is not
//
//   found = 1 where an element of x is not inside [low, high], else 0; a NaN is never inside
#pragma once
#include <cstddef>

#include "base/views.h"

namespace ranvier {

template <class T>
struct ValueRange {
  RANVIER_CALL("value_range", x, found);
  T low, high;
  TensorView<const T> x;
  TensorView<int64_t> found;  // one element
};

}  // namespace ranvier
