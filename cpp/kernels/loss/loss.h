// Element-wise losses, forward and backward. Their formulas are in functions.h.
//
//   All operands have the shape of x: x, target and, for bce_with_pos_weight, `other`. weight, which may have
//   data null, multiplies the losses of elements. target, other and weight may repeat elements (stride 0).
//
//   Reduction `none`: loss has the shape of x. sum, mean, batch_mean (divided by x.shape[0]): loss has no
//   dimensions.
//
//   backward: dy has the shape of the loss; dx is the gradient of x, or with `of_target` that of target.
//
//   Lines are processed in strips of kLossStrip elements. A strip that is not dense, or not a whole number of
//   vectors, is copied first. A sum consists of partial sums over at most 16 fixed parts of the elements, in
//   the order of memory; each adds its strips in double. So its bits do not depend on threads.
#pragma once
#include <cstddef>

#include "base/isa.h"
#include "base/views.h"
#include "kernels/loss/reduction.h"

namespace ranvier {

constexpr int64_t kLossStrip = 512;  // elements of a strip, whose copies stay in the L1 cache
constexpr int64_t kLossWhole = 16;   // elements: a multiple of the vector lengths of all levels

// X(name, its struct in functions.h, nanoseconds of an element of float32 on one core, roughly)
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
  double setting;  // of smooth_l1: beta; of huber: delta
  TensorView<const T> x, target, other, weight;
  TensorView<T> loss;
};

template <class T>
struct LossBackward {
  RANVIER_CALL("loss_backward", dy, x, target, other, weight, dx);
  Loss kind;
  Reduction reduction;
  bool of_target;
  double setting;  // as in LossForward
  TensorView<const T> dy, x, target, other, weight;
  TensorView<T> dx;
};

// n dense elements, n a multiple of kLossWhole: out = scale * f(x, target, other).
template <class T>
struct LossStrip {
  int64_t n;
  const T *x, *target, *other;
  T* out;
  T scale, setting;
  T least;  // a smaller number, or its product with scale, may be subnormal, which is slow
};

template <class T>
struct LossKernels {
  using Function = void (*)(const LossStrip<T>&);
  Function value[int(Loss::count)], gradient[2][int(Loss::count)];  // gradient[of_target]
  void (*multiply)(int64_t n, T* out, const T* by);                 // out *= by, n a multiple of kLossWhole
  double (*sum)(int64_t n, const T* x);                             // any n
};

RANVIER_TABLES(LossKernels, loss_kernels)

}  // namespace ranvier
