// Penalties on the weights, L1 and L2: their value, and their gradients added to those of the loss.
//
//   value = sum over the parameters of l1 sum |p| + l2 sum p^2
//   g     = scale g + l1 sign(p) + 2 l2 p,   sign(0) = 0
//
// The value is a sum over fixed blocks combined in order, in double: its bits depend on neither the team nor
// the strides. `scale` divides gradients that were summed up over several batches by their samples.
#pragma once
#include "kernels/optimizer/optimizer.h"

namespace ranvier {

// A list longer than kMaxSegments takes several calls: the first sets `value`, the others add to it.
template <class T>
struct WeightPenalty {
  static constexpr const char* name = "weight_penalty";
  bool first;
  int count;
  TensorView<const double> l1, l2;  // count elements each
  TensorView<const double> scale;   // one element
  TensorView<double> value;         // one element
  TensorView<const T> parameters[kMaxSegments];
  TensorView<T> gradients[kMaxSegments];  // data null: the value alone

  size_t workspace_bytes(int threads) const;
  void run(const Team& team, void* workspace) const;
  void buffers(ViewList& v) const {
    v.read(l1), v.read(l2), v.read(scale);
    if (!first) v.read(value);
    v.write(value);
    for (int i = 0; i < count; ++i) {
      v.read(parameters[i]);
      if (gradients[i].data) v.read(gradients[i]), v.write(gradients[i]);
    }
  }
};

}  // namespace ranvier
