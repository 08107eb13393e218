// nms (non-maximum suppression): drops each box that overlaps a better one
//
//   kept[j] = no kept box i < j has  both / (size(i) + size(j) - both) > threshold
//             where size = (x2 - x1) (y2 - y1), and both is the size of the intersection of boxes i and j
//
//   boxes (n, 4): x1, y1, x2, y2, contiguous, sorted from the best to the worst; kept (n). An overlap of NaN
//   drops no box. The call runs on one thread: each box is compared with the kept boxes before it, a vector
//   of them at a time.
#pragma once
#include <cstddef>

#include "base/isa.h"
#include "base/views.h"

namespace ranvier {

template <class T>
struct Nms {
  RANVIER_CALL("nms", boxes, kept);
  size_t workspace_bytes(int threads) const;
  double threshold;  // is rounded to T
  TensorView<const T> boxes;
  TensorView<bool> kept;
};

template <class T>
struct NmsKernels {
  // workspace: five lines of n + lanes elements, for the corners and the sizes of the kept boxes.
  void (*run)(const T* boxes, int64_t n, T threshold, T* workspace, bool* kept);
};

RANVIER_TABLES(NmsKernels, nms_kernels)

}  // namespace ranvier
