// A batch norm by running statistics, taken into the linear map before it:
//
//   scale[k] = weight[k] / sqrt(var[k] + eps)
//   folded_w[k, ...] = w[k, ...] scale[k],  folded_bias[k] = (b[k] - mean[k]) scale[k] + bias[k]
//
// so that folded_w * x + folded_bias is the norm of w * x + b up to rounding. Computed in double, rounded
// once.
#pragma once
#include <cstddef>

#include "base/tensor_view.h"

namespace ranvier {

template <class T>
struct FoldBatchNorm {
  static constexpr const char* name = "fold_batch_norm";
  int axis;                  // of w and folded_w: k
  TensorView<const T> w, b;  // w 4-D, any strides; b and what follows: (k), or data null but for mean and var
  TensorView<const T> mean, var, weight, bias;
  double eps;
  TensorView<T> folded_w, folded_bias;

  size_t workspace_bytes(int) const { return 0; }
  void run(void* workspace) const;
  template <class V>
  void buffers(V& v) const {
    v.read(w), v.read(b), v.read(mean), v.read(var), v.read(weight), v.read(bias);
    v.write(folded_w), v.write(folded_bias);
  }
};

}  // namespace ranvier
