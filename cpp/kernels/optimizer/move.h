// Parameters moved in place along values of their shapes, or towards them: running averages, line searches.
#pragma once
#include "kernels/optimizer/optimizer.h"

namespace ranvier {

// p += factor * v, or p += factor * (v - p) where `towards`; towards by 1 makes p exactly v.
template <class T>
struct MoveParameters {
  static constexpr const char* name = "move_parameters";
  bool towards;
  int count;
  TensorView<const double> factor;  // one element
  TensorView<T> parameters[kMaxSegments];
  TensorView<const T> values[kMaxSegments];  // of the same shapes; any strides, as the parameters

  void run(const Team& team, void* workspace) const;
  void buffers(ViewList& v) const {
    v.read(factor);
    for (int i = 0; i < count; ++i) v.read(parameters[i]), v.write(parameters[i]), v.read(values[i]);
  }
};

// How far an average moves towards the next value, and one more in its count:
//   weight = 1 where count is 0, else 1 - decay, or 1 / (count + 1), the plain mean, where decay is negative
struct AverageWeight {
  static constexpr const char* name = "average_weight";
  double decay;
  TensorView<int64_t> count;  // one element
  TensorView<double> weight;  // one element

  void run(const Team& team, void* workspace) const;
  void buffers(ViewList& v) const { v.read(count), v.write(count), v.write(weight); }
};

}  // namespace ranvier
