// A tensor's shape or strides with one dimension taken out: the lines along that dimension.
#pragma once
#include <cstdint>

#include "base/tensor_view.h"

namespace ranvier {

struct WithoutAxis {
  int64_t values[kMaxDims];

  WithoutAxis(const int64_t* all, int ndim, int axis) {
    for (int d = 0, i = 0; d < ndim; ++d)
      if (d != axis) values[i++] = all[d];
  }
  operator const int64_t*() const { return values; }
};

}  // namespace ranvier
