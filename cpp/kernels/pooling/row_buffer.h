// A row of the image with its padding around it, in a buffer of our own: every window of the row can then be
// read by whole vectors, without a case for the edges.
#pragma once
#include "kernels/pooling/axis.h"

namespace ranvier::RANVIER_ISA {

// Element 0 is tap 0 of window 0; the last vector of windows reads to the end.
template <class T>
static int64_t row_buffer_size(const PoolAxis& a) {
  constexpr int64_t line = 64 / sizeof(T);
  const int64_t windows = (a.out + lanes<T> - 1) / lanes<T> * lanes<T>;
  const int64_t last = (windows - 1) * a.stride + (a.kernel > 0 ? a.kernel - 1 : 0) * a.dilation + 1;
  const int64_t image = a.padding + a.in + lanes<T>;
  return ((last > image ? last : image) + line - 1) / line * line;
}

template <class T>
static void fill(T* p, int64_t count, typename VecOf<T>::type v) {  // count: whole vectors
  for (int64_t i = 0; i < count; i += lanes<T>) store(p + i, v);
}

}  // namespace ranvier::RANVIER_ISA
