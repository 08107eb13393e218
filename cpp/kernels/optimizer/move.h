// Parameters moved in place along values of the same shapes, or towards such values: for running averages of
// parameters, and line searches.
#pragma once
#include "kernels/optimizer/optimizer.h"

namespace ranvier {

// p += factor * v, or with `towards` p += factor * (v - p), where a factor of 1 makes p exactly v.
template <class T>
struct MoveParameters {
  RANVIER_CALL("move_parameters", factor, in_place(views(parameters, count)), views(values, count));
  bool towards;
  int count;
  TensorView<const double> factor;  // one element
  TensorView<T> parameters[kMaxSegments];
  TensorView<const T> values[kMaxSegments];  // shaped as the parameters; both have any strides
};

// The weight with which a running average moves towards the next value. count, the number of values so far,
// is raised by one:
//   weight = 1 if count was 0; else 1 - decay, or if decay is negative 1 / (count + 1), which gives the plain
//   mean
struct AverageWeight {
  RANVIER_CALL("average_weight", in_place(count), weight);
  double decay;
  TensorView<int64_t> count;  // one element
  TensorView<double> weight;  // one element
};

}  // namespace ranvier
