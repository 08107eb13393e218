// A tensor's shape or strides with one dimension taken out: the lines along that dimension.
#pragma once
#include <cstdint>

#include "base/loop_nest.h"

namespace ranvier {

struct WithoutAxis {
  int64_t values[kMaxDims];

  WithoutAxis(const int64_t* all, int ndim, int axis) {
    for (int d = 0, i = 0; d < ndim; ++d)
      if (d != axis) values[i++] = all[d];
  }
  operator const int64_t*() const { return values; }
};

// The loops over the lines along an axis of tensors that have the shape of the first, but for that axis.
template <class View, class... Views>
LoopNest<1 + sizeof...(Views)> lines_along(int axis, const View& first, const Views&... others) {
  return {first.ndim - 1,
          WithoutAxis(first.shape, first.ndim, axis),
          {WithoutAxis(first.strides, first.ndim, axis), WithoutAxis(others.strides, others.ndim, axis)...}};
}

}  // namespace ranvier
