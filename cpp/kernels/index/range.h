// Checks of values that ops call before kernels which rely on them. In a compiled step they are the checks at
// which a replay ends (program/program.h).
//
// index_range: found = 1 if an element of index is outside [low, high] (and not equal to `also`, if
// has_also), else 0.
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

// value_range: found = 1 if an element of x is not inside [low, high], else 0. A NaN is never inside.
template <class T>
struct ValueRange {
  RANVIER_CALL("value_range", x, found);
  T low, high;
  TensorView<const T> x;
  TensorView<int64_t> found;  // one element
};

}  // namespace ranvier
