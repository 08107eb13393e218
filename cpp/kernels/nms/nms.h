// nms: which boxes stay when those that overlap a better one leave
//
//   kept[j] = no kept box i < j has  both / (size(i) + size(j) - both) > threshold
//             with size = (x2 - x1) (y2 - y1) and both = the size of what two boxes share
//
//   boxes (n, 4): x1, y1, x2, y2, the best one first, contiguous; kept (n). NaN is no overlap. One thread's
//   work: each box is compared with the kept ones before it, a vector of them at a time.
#pragma once
#include <cstddef>

#include "base/isa.h"
#include "base/views.h"

namespace ranvier {

template <class T>
struct Nms {
  RANVIER_CALL("nms", boxes, kept);
  size_t workspace_bytes(int threads) const;
  double threshold;  // a T
  TensorView<const T> boxes;
  TensorView<bool> kept;
};

template <class T>
struct NmsKernels {
  // workspace: the corners and sizes of the kept boxes
  void (*run)(const T* boxes, int64_t n, T threshold, T* workspace, bool* kept);
};

RANVIER_TABLES(NmsKernels, nms_kernels)

}  // namespace ranvier
