// index_range: whether every index is in its range, for kernels that trust it
//
//   found = 1 where an element of index is outside [low, high] and not `also`, else 0
#pragma once
#include <cstddef>

#include "base/views.h"

namespace ranvier {

struct IndexRange {
  RANVIER_CALL("index_range", index, found);
  int64_t low, high;
  bool has_also;
  int64_t also;
  TensorView<const int64_t> index;
  TensorView<int64_t> found;  // one element
};

// value_range: whether every element is in a range, for ops that raise an error where one is not
//
//   found = 1 where an element of x is not inside [low, high], else 0; a NaN is never inside

template <class T>
struct ValueRange {
  RANVIER_CALL("value_range", x, found);
  T low, high;
  TensorView<const T> x;
  TensorView<int64_t> found;  // one element
};

}  // namespace ranvier
