// Element-wise losses, forward and backward: mse (x - t)^2; bce -(t log x + (1 - t) log(1 - x)) with
// logarithms no lower than -100; bce_with_logits max(x, 0) - x t + log(1 + exp(-|x|)), which is bce of
// sigmoid(x).
//
//   x, target of one shape, any strides. Reduction none: loss has that shape; sum, mean: loss is 0-d.
//   backward: dy has the loss's shape, dx is the gradient of x, or of target where of_target.
//   A sum is made of partial sums over at most 16 fixed parts of the elements, in order of memory, each of
//   runs of 64 vectors, added in double: its bits do not depend on threads.
#pragma once
#include <cstddef>

#include "base/isa.h"
#include "base/tensor_view.h"

namespace ranvier {

enum class Reduction { none, sum, mean };
constexpr int kLossParts = 16;

// X(name, what computes it, nanoseconds an element takes on one core, roughly)
#define RANVIER_FOR_EACH_LOSS(X) \
  X(mse, Mse, 0.1)               \
  X(bce, Bce, 1.0)               \
  X(bce_with_logits, BceWithLogits, 0.8)

#define RANVIER_X(name, op, cost) name,
enum class Loss { RANVIER_FOR_EACH_LOSS(RANVIER_X) count };
#undef RANVIER_X

template <class T>
struct LossForward {
  static constexpr const char* name = "loss_forward";
  Loss kind;
  Reduction reduction;
  TensorView<const T> x, target;
  TensorView<T> loss;

  size_t workspace_bytes(int) const { return kLossParts * sizeof(double); }
  void run(void* workspace) const;
  template <class V>
  void buffers(V& v) const {
    v.read(x), v.read(target), v.write(loss);
  }
};

template <class T>
struct LossBackward {
  static constexpr const char* name = "loss_backward";
  Loss kind;
  Reduction reduction;
  bool of_target;
  TensorView<const T> dy, x, target;
  TensorView<T> dx;

  size_t workspace_bytes(int) const { return 0; }
  void run(void* workspace) const;
  template <class V>
  void buffers(V& v) const {
    v.read(dy), v.read(x), v.read(target), v.write(dx);
  }
};

// n elements in a line.
template <class T>
struct LossLine {
  int64_t n;
  const T *x, *target, *dy;  // dy: one for each element, or with stride 0 one for all
  T* out;
  int64_t stride_x, stride_target, stride_dy, stride_out;
  T scale;  // of dy
};

template <class T>
struct LossKernels {
  using Function = void (*)(const LossLine<T>&);
  double (*sum[int(Loss::count)])(const LossLine<T>&);
  Function each[int(Loss::count)], gradient[int(Loss::count)], target_gradient[int(Loss::count)];
};

RANVIER_TABLES(LossKernels, loss_kernels)

}  // namespace ranvier
