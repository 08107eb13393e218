// How alike two vectors are, for each pair of lines along one axis of x1 and x2:
//
//   cosine_similarity  y = sum x1 x2 / (max(|x1|, eps) max(|x2|, eps))
//   pairwise_distance  y = (sum |x1 - x2 + eps|^p)^(1/p), the largest of them for p = infinity
//
//   x1, x2 of one shape, any strides (0 where repeated); y without the axis. backward: dx is the gradient of
//   x1, or of_second of x2; each line is summed again, which costs less than keeping three sums. A line is
//   one chain of vectors, whatever the team.
#pragma once
#include <cstddef>

#include "base/isa.h"
#include "base/tensor_view.h"

namespace ranvier {

#define RANVIER_FOR_EACH_DISTANCE(X) X(cosine_similarity, Cosine) X(pairwise_distance, Norm)

#define RANVIER_X(name, op) name,
enum class Distance { RANVIER_FOR_EACH_DISTANCE(RANVIER_X) count };
#undef RANVIER_X

struct DistanceSettings {
  int axis;
  double eps, p;
};

template <class T>
struct DistanceForward {
  static constexpr const char* name = "distance_forward";
  Distance kind;
  DistanceSettings settings;
  TensorView<const T> x1, x2;
  TensorView<T> y;

  size_t workspace_bytes(int) const { return 0; }
  void run(void* workspace) const;
  template <class V>
  void buffers(V& v) const {
    v.read(x1), v.read(x2), v.write(y);
  }
};

template <class T>
struct DistanceBackward {
  static constexpr const char* name = "distance_backward";
  Distance kind;
  DistanceSettings settings;
  bool of_second;
  TensorView<const T> dy, x1, x2;
  TensorView<T> dx;

  size_t workspace_bytes(int) const { return 0; }
  void run(void* workspace) const;
  template <class V>
  void buffers(V& v) const {
    v.read(dy), v.read(x1), v.read(x2), v.write(dx);
  }
};

// One pair of lines of n elements.
template <class T>
struct DistanceLine {
  int64_t n;
  const T *x1, *x2;
  int64_t step1, step2;
  T eps, p;
  T dy;  // backward
  bool of_second;
  T* dx;
  int64_t step_dx;
};

template <class T>
struct DistanceKernels {
  T (*forward[int(Distance::count)])(const DistanceLine<T>&);
  void (*backward[int(Distance::count)])(const DistanceLine<T>&);
};

RANVIER_TABLES(DistanceKernels, distance_kernels)

}  // namespace ranvier
