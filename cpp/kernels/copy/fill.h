// fill: every element of y becomes one number; any strides
#pragma once
#include <cstddef>

#include "base/views.h"

namespace ranvier {

template <class T>  // float, double, int64_t or bool
struct Fill {
  RANVIER_CALL("fill", y);
  static constexpr bool finishes = true;
  T value;
  TensorView<T> y;
};

}  // namespace ranvier
