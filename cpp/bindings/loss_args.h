// Arguments that losses share.
#pragma once
#include "bindings/define.h"
#include "kernels/loss/reduction.h"

namespace ranvier::bind {

inline Reduction reduction_of(const Name& name) {
  constexpr Reduction kinds[] = {Reduction::mean, Reduction::sum, Reduction::none};
  return kinds[name.one_of({"mean", "sum", "none"})];
}

// The loss's shape: that of the elements, or () for a sum or mean.
inline Shape loss_shape(Reduction reduction, const Shape& elements) {
  return reduction == Reduction::none ? elements : Shape();
}

}  // namespace ranvier::bind
