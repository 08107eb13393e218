// jet: the derivatives of y = f(x), f a smooth function of each element, from the derivatives of x.
//
//   x (...), t, y (rows, ...), any strides. `saved` is f(x) for exp, sigmoid and tanh, else x.
//   Without weights the rows are Taylor coefficients: x(s) = x + t[0] s + t[1] s^2 + ..., y those of f(x(s)).
//   With weights w (rows - 1): t[i] is the first derivative of x by variable i, the last row the sum of the
//   second ones, weighted: y[i] = f' t[i], y[last] = f' t[last] + f'' sum of w[i] t[i]^2.
//   Backward: dt (rows, ...) and dx (...) from dy (rows, ...).
#pragma once
#include <cstddef>

#include "base/isa.h"
#include "base/views.h"

namespace ranvier {

constexpr int kMaxJetOrder = 15;

// X(name, what computes its series)
#define RANVIER_FOR_EACH_JET(X) \
  X(exp, ExpSeries)             \
  X(sigmoid, SigmoidSeries)     \
  X(tanh, TanhSeries)           \
  X(sin, SinSeries)             \
  X(cos, CosSeries)             \
  X(softplus, SoftplusSeries)   \
  X(silu, SiluSeries)           \
  X(gelu, GeluSeries)

#define RANVIER_X(name, series) #name,
constexpr const char* kJetNames[] = {RANVIER_FOR_EACH_JET(RANVIER_X)};
#undef RANVIER_X
constexpr int kJetKinds = sizeof kJetNames / sizeof kJetNames[0];

template <class T>
struct JetForward {
  RANVIER_CALL("jet_forward", saved, t, weights, y);
  int kind;
  TensorView<const T> saved, t, weights;  // weights: data is null for Taylor coefficients
  TensorView<T> y;
};

template <class T>
struct JetBackward {
  RANVIER_CALL("jet_backward", dy, saved, t, weights, dt, dx);
  int kind;
  TensorView<const T> dy, saved, t, weights;
  TensorView<T> dt, dx;
};

// n elements in a line: `step` from one to the next, `row` from one row to the next.
template <class T>
struct JetArray {
  T* data;
  int64_t row, step;
};
template <class T>
struct JetLine {
  int64_t n;
  int rows;
  JetArray<const T> saved, t, dy, weights;  // weights: `row` from one to the next
  JetArray<T> y, dx;                        // y: of forward; dt of backward
};

template <class T>
struct JetKernels {
  using Function = void (*)(const JetLine<T>&);
  Function forward[kJetKinds], backward[kJetKinds];
};

RANVIER_TABLES(JetKernels, jet_kernels)

}  // namespace ranvier
