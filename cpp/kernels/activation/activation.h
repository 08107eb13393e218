// activation: y = f(x) element by element, and dx = dy f'(x).
//
//   x, y, dy and dx have the same shape and any strides. y may be x, and dx may be dy or `saved` (in place).
//   `saved`, from which the backward computes f', is y for relu, sigmoid and tanh, else x. A NaN in x gives
//   NaN, except in heaviside.
//
//   alpha and beta are the settings: leaky_relu: slope; elu, celu: alpha; heaviside: y at 0; softplus: beta,
//   threshold; hardtanh: lower and upper limit; softshrink, hardshrink: lambda. functions.h has the formulas.
#pragma once
#include <cstddef>

#include "base/isa.h"
#include "base/views.h"

namespace ranvier {

// X(name, its struct in functions.h, nanoseconds of an element of float32 in the forward on one core,
// roughly, which tensor is saved, its settings in Python's signature)
#define RANVIER_FOR_EACH_ACTIVATION(X)                            \
  X(relu, Relu, 0.15, "y", "")                                    \
  X(leaky_relu, LeakyRelu, 0.15, "x", "negative_slope=0.01, ")    \
  X(elu, Elu, 0.35, "x", "alpha=1.0, ")                           \
  X(sigmoid, Sigmoid, 0.4, "y", "")                               \
  X(tanh, Tanh, 0.55, "y", "")                                    \
  X(gelu, Gelu, 0.45, "x", "")                                    \
  X(gelu_tanh, GeluTanh, 0.45, "x", "")                           \
  X(silu, Silu, 0.4, "x", "")                                     \
  X(softplus, Softplus, 0.8, "x", "beta=1.0, threshold=20.0, ")   \
  X(heaviside, Heaviside, 0.15, "x", "values=0.0, ")              \
  X(hardtanh, Hardtanh, 0.15, "x", "min_val=-1.0, max_val=1.0, ") \
  X(selu, Selu, 0.35, "x", "")                                    \
  X(celu, Celu, 0.4, "x", "alpha=1.0, ")                          \
  X(mish, Mish, 0.45, "x", "")                                    \
  X(hardswish, Hardswish, 0.2, "x", "")                           \
  X(hardsigmoid, Hardsigmoid, 0.2, "x", "")                       \
  X(logsigmoid, Logsigmoid, 0.8, "x", "")                         \
  X(softsign, Softsign, 0.2, "x", "")                             \
  X(tanhshrink, Tanhshrink, 0.55, "x", "")                        \
  X(softshrink, Softshrink, 0.15, "x", "lambd=0.5, ")             \
  X(hardshrink, Hardshrink, 0.15, "x", "lambd=0.5, ")

#define RANVIER_X(name, ...) name,
enum class Activation { RANVIER_FOR_EACH_ACTIVATION(RANVIER_X) count, none = count };
#undef RANVIER_X

template <class T>
struct ActivationForward {
  RANVIER_CALL("activation_forward", x, y);
  Activation kind;
  double alpha, beta;
  TensorView<const T> x;
  TensorView<T> y;
};

template <class T>
struct ActivationBackward {
  RANVIER_CALL("activation_backward", dy, saved, dx);
  Activation kind;
  double alpha, beta;
  TensorView<const T> dy, saved;
  TensorView<T> dx;
};

// n elements, `stride` apart. The forward computes y = f(x); the backward y = dy f', where x is the saved
// tensor.
template <class T>
struct ActivationLine {
  int64_t n;
  const T *x, *dy;
  T* y;
  int64_t stride_x, stride_dy, stride_y;
  T alpha, beta;
};

template <class T>
struct ActivationKernels {
  using Function = void (*)(const ActivationLine<T>&);
  Function forward[int(Activation::count)], backward[int(Activation::count)];
};

RANVIER_TABLES(ActivationKernels, activation_kernels)

}  // namespace ranvier
