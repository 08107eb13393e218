// The similarity or distance of two vectors, for each line of x1 and the same line of x2 (a line is all
// elements along the axis):
//
//   cosine_similarity  y = sum x1 x2 / (max(|x1|, eps) max(|x2|, eps))
//   pairwise_distance  y = (sum |x1 - x2 + eps|^p)^(1/p); for p = infinity the largest |x1 - x2 + eps|
//
//   x1 and x2 have the same shape and any strides (0 where they are broadcast); y has no such axis.
//   backward: dx is the gradient of x1, or with `of_second` that of x2. Each line is summed again, which
//   costs less than keeping three sums for it.
//
// The order of a sum depends on the length of the line and on the layout, not on threads.
#pragma once
#include <cstddef>

#include "base/isa.h"
#include "base/lines.h"
#include "base/views.h"

namespace ranvier {

#define RANVIER_FOR_EACH_DISTANCE(X) X(cosine_similarity) X(pairwise_distance)

#define RANVIER_X(name) name,
enum class Distance { RANVIER_FOR_EACH_DISTANCE(RANVIER_X) count };
#undef RANVIER_X

struct DistanceSettings {
  int axis;
  double eps, p;
};

template <class T>
struct DistanceForward {
  RANVIER_CALL("distance_forward", x1, x2, y);
  Distance kind;
  DistanceSettings settings;
  TensorView<const T> x1, x2;
  TensorView<T> y;
};

template <class T>
struct DistanceBackward {
  RANVIER_CALL("distance_backward", dy, x1, x2, dx);
  Distance kind;
  DistanceSettings settings;
  bool of_second;
  TensorView<const T> dy, x1, x2;
  TensorView<T> dx;
};

// `count` pairs of lines of n elements.
template <class T>
struct DistanceLines {
  int64_t count, n;
  Lines<const T> x1, x2;
  T eps, p;
  Lines<T> y;         // for the forward: one number for each pair
  Lines<const T> dy;  // for the backward: one number for each pair
  Lines<T> dx;
  bool of_second;
};

template <class T>
struct DistanceKernels {
  using Function = void (*)(const DistanceLines<T>&);
  Function forward[int(Distance::count)], backward[int(Distance::count)];
};

RANVIER_TABLES(DistanceKernels, distance_kernels)

}  // namespace ranvier
