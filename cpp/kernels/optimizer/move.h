// Parameters moved in place along values of their shapes, or towards them: running averages, line searches.
#pragma once
#include "kernels/optimizer/optimizer.h"

namespace ranvier {

// p += factor * v, or p += factor * (v - p) where `towards`.
template <class T>
struct MoveParameters {
  static constexpr const char* name = "move_parameters";
  bool towards;
  int count;
  TensorView<const double> factor;  // one element
  TensorView<T> parameters[kMaxSegments];
  TensorView<const T> values[kMaxSegments];  // of the same shapes; any strides, as the parameters

  size_t workspace_bytes(int) const { return 0; }
  void run(void* workspace) const;
  template <class V>
  void buffers(V& v) const {
    v.read(factor);
    for (int i = 0; i < count; ++i) v.read(parameters[i]), v.write(parameters[i]), v.read(values[i]);
  }
};

}  // namespace ranvier
