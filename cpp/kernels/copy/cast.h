// cast: y = x in another dtype, element by element, as C converts: as int64 floats lose their
// fraction, as bool everything but 0 is true
//
//   x and y have one shape and any strides; From is an unsigned type of the size of x's elements, `from`
//   says what they are.
#pragma once
#include <cstddef>

#include "base/dtype.h"
#include "base/views.h"

namespace ranvier {

template <class From, class To>  // From: uint8_t ... uint64_t; To: float, double, int64_t or bool
struct Cast {
  RANVIER_CALL("cast", x, y);
  static constexpr bool finishes = true;
  DType from;
  TensorView<const From> x;
  TensorView<To> y;
};

}  // namespace ranvier
