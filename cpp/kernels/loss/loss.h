// Element-wise losses, forward and backward. Their formulas are in functions.h.
//
//   x, target and, for bce_with_pos_weight, a third operand `other`; loss and gradients in the shape of x.
//   weight, or null, multiplies the element losses. target, other and weight may repeat elements (stride 0).
//   Reduction none: loss has x's shape; sum, mean, batch_mean (divided by x.shape[0]): loss is 0-d.
//   backward: dy has the loss's shape, dx is the gradient of x, or of_target of target.
//   Lines are processed in strips of kLossStrip elements, copied first where they are not dense or no whole
//   vectors. A sum is made of partial sums over at most 16 fixed parts of the elements, in order of memory,
//   each of strips, added in double: its bits do not depend on threads.
#pragma once
#include <cstddef>

#include "base/isa.h"
#include "base/views.h"
#include "kernels/loss/reduction.h"

namespace ranvier {

constexpr int64_t kLossStrip = 512;
constexpr int64_t kLossWhole = 16;  // elements: whole vectors of every level

// X(name, what computes it, nanoseconds an element takes on one core, roughly)
#define RANVIER_FOR_EACH_LOSS(X)                \
  X(mse, Mse, 0.1)                              \
  X(l1, L1, 0.1)                                \
  X(smooth_l1, SmoothL1, 0.2)                   \
  X(huber, Huber, 0.2)                          \
  X(bce, Bce, 1.0)                              \
  X(bce_with_logits, BceWithLogits, 0.8)        \
  X(bce_with_pos_weight, BceWithPosWeight, 0.8) \
  X(kl_div, KlDiv, 0.5)                         \
  X(kl_div_log, KlDivLog, 0.4)

#define RANVIER_X(name, op, cost) name,
enum class Loss { RANVIER_FOR_EACH_LOSS(RANVIER_X) count };
#undef RANVIER_X

template <class T>
struct LossForward {
  RANVIER_CALL("loss_forward", x, target, other, weight, loss);
  size_t workspace_bytes(int) const { return kLossParts * sizeof(double); }
  Loss kind;
  Reduction reduction;
  double setting;  // beta, delta
  TensorView<const T> x, target, other, weight;
  TensorView<T> loss;
};

template <class T>
struct LossBackward {
  RANVIER_CALL("loss_backward", dy, x, target, other, weight, dx);
  Loss kind;
  Reduction reduction;
  bool of_target;
  double setting;  // beta, delta
  TensorView<const T> dy, x, target, other, weight;
  TensorView<T> dx;
};

// n dense elements, a multiple of kLossWhole; out = scale * what the loss's function gives.
template <class T>
struct LossStrip {
  int64_t n;
  const T *x, *target, *other;
  T* out;
  T scale, setting;
  T least;  // less, and scale times less, may be subnormal
};

template <class T>
struct LossKernels {
  using Function = void (*)(const LossStrip<T>&);
  Function value[int(Loss::count)], gradient[2][int(Loss::count)];
  void (*multiply)(int64_t n, T* out, const T* by);  // n as in a strip
  double (*sum)(int64_t n, const T* x);              // any n
};

RANVIER_TABLES(LossKernels, loss_kernels)

}  // namespace ranvier
