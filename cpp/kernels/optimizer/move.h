// Parameters moved in place along values of their shapes, or towards them: running averages, line searches.
#pragma once
#include "kernels/optimizer/optimizer.h"

namespace ranvier {

// p += factor * v, or p += factor * (v - p) where `towards`; towards by 1 makes p exactly v.
template <class T>
struct MoveParameters {
  RANVIER_CALL("move_parameters", factor, in_place(views(parameters, count)), views(values, count));
  bool towards;
  int count;
  TensorView<const double> factor;  // one element
  TensorView<T> parameters[kMaxSegments];
  TensorView<const T> values[kMaxSegments];  // arrays of the same shapes with any strides, as the parameters
};

// The weight with which a running average moves towards the next value; its count becomes one more:
//   weight = 1 where count is 0, else 1 - decay, or 1 / (count + 1), the plain mean, where decay is negative
struct AverageWeight {
  RANVIER_CALL("average_weight", in_place(count), weight);
  double decay;
  TensorView<int64_t> count;  // one element
  TensorView<double> weight;  // one element
};

}  // namespace ranvier
