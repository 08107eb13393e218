// Walks through the elements of a tensor in logical (C) order, whatever the order in memory: for kernels
// whose numbers depend on the place of an element, such as random numbers.
#pragma once
#include "base/tensor_view.h"

namespace ranvier {

// `offset` is that of the current element in memory, in elements. It begins with element number `first`.
template <class T>
struct LogicalWalk {
  const TensorView<T>& v;
  int64_t index[kMaxDims];
  int64_t offset = 0;

  __attribute__((always_inline)) LogicalWalk(const TensorView<T>& view, int64_t first) : v(view) {
    for (int d = v.ndim - 1; d >= 0; --d) {
      index[d] = first % v.shape[d];
      first /= v.shape[d];
      offset += index[d] * v.strides[d];
    }
  }
  __attribute__((always_inline)) void next() {
    for (int d = v.ndim - 1; d >= 0; --d) {
      offset += v.strides[d];
      ++index[d];
      if (index[d] < v.shape[d]) return;
      offset -= index[d] * v.strides[d];
      index[d] = 0;
    }
  }
};

}  // namespace ranvier
