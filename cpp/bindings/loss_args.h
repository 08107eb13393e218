// Arguments that losses share.
#pragma once
#include "base/loop_nest.h"
#include "bindings/array_args.h"
#include "kernels/loss/reduction.h"

namespace ranvier::bind {

// 'mean', 'sum', 'none'; 'batchmean' only where it is allowed.
Reduction reduction_of(const char* op, py::handle value, bool batch_mean = false);

void require_shape(const char* op, const char* name, const Input& a, int ndim, const int64_t* shape);

// A loss is not broadcast: (n,) against (n, 1) would be n x n differences.
void require_same_shape(const char* op, const char* name_a, const Input& a, const char* name_b,
                        const Input& b);

// The loss's shape: that of the elements, or () for a sum or mean.
Output loss_output(const char* op, py::handle out, DType dtype, Reduction reduction, int ndim,
                   const int64_t* shape);

// The first element that is not inside [low, high] nor equal to `also`, or null.
template <class T>
const T* outside(const TensorView<const T>& x, T low, T high, T also) {
  const LoopNest<1> nest(x.ndim, x.shape, {x.strides});
  const int64_t step = nest.strides[0][nest.ndim - 1];
  const auto good = [&](T value) { return (value >= low && value <= high) || value == also; };
  const T* found = nullptr;
  nest.walk(0, nest.size, [&](int64_t count, const int64_t(&offsets)[1]) {
    const T* p = x.data + offsets[0];
    bool all = true;
    for (int64_t i = 0; i < count; ++i) all &= good(p[i * step]);
    for (int64_t i = 0; !all && !found && i < count; ++i)
      if (!good(p[i * step])) found = p + i * step;
  });
  return found;
}

}  // namespace ranvier::bind
