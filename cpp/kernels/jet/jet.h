// jet: derivatives of y = f(x) from derivatives of x, where f is a smooth function of each element (forward
// mode of higher order)
//
//   x (...), t, y (rows, ...), any strides. t has derivatives of x, and y gets those of f(x). `saved` is f(x)
//   for exp, sigmoid and tanh, else x. There are two kinds:
//
//   Without weights the rows are Taylor coefficients along a curve: t[k] is the coefficient of s^(k + 1) in
//   x(s) = x + t[0] s + t[1] s^2 + ..., and y[k] that in f(x(s)).
//
//   With weights w (rows - 1), for a Laplacian: t[i] is the first derivative of x by variable i, and the last
//   row is the weighted sum of the second derivatives:
//   y[i] = f' t[i],  y[last] = f' t[last] + f'' sum of w[i] t[i]^2
//
//   The backward computes dt (rows, ...) and dx (...) from dy (rows, ...).
#pragma once
#include <cstddef>

#include "base/isa.h"
#include "base/views.h"

namespace ranvier {

constexpr int kMaxJetOrder = 15;  // the most rows of Taylor coefficients

// X(name, its series in jet.isa.cpp)
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
  int kind;                               // an index in kJetNames
  TensorView<const T> saved, t, weights;  // weights has data null for Taylor coefficients
  TensorView<T> y;
};

template <class T>
struct JetBackward {
  RANVIER_CALL("jet_backward", dy, saved, t, weights, dt, dx);
  int kind;
  TensorView<const T> dy, saved, t, weights;
  TensorView<T> dt, dx;
};

// A line of elements: `step` is the distance of two elements, `row` that of two rows.
template <class T>
struct JetArray {
  T* data;
  int64_t row, step;
};
template <class T>
struct JetLine {
  int64_t n;
  int rows;
  JetArray<const T> saved, t, dy, weights;  // weight i is at i * weights.row
  JetArray<T> y, dx;                        // y is that of the forward, or dt of the backward
};

template <class T>
struct JetKernels {
  using Function = void (*)(const JetLine<T>&);
  Function forward[kJetKinds], backward[kJetKinds];
};

RANVIER_TABLES(JetKernels, jet_kernels)

}  // namespace ranvier
