// L-BFGS on the flat vector of all parameters: dot products, and the two loops of its direction.
//
// A dot product is taken in double as a sum over fixed blocks combined in order, so its bits do not depend on
// the team. All vectors are (n,), contiguous.
#pragma once
#include <cstddef>

#include "base/views.h"

namespace ranvier {

template <class T>
struct FlatDot {  // product = a . b
  RANVIER_CALL("flat_dot", a, b, product);
  size_t workspace_bytes(int threads) const;
  TensorView<const T> a, b;
  TensorView<double> product;  // one element
};

constexpr int kMaxPairs = 32;  // the most pairs of one call; a longer history takes several

// For each pair of a step s and the change y of the gradient along it, ro = 1 / (y . s):
//
//   first loop, the newest pair first:   alpha = ro (s . d);  d -= alpha y
//   second loop, the oldest pair first:  d += (alpha - ro (y . d)) s
//
// `scale`, if given, multiplies d before the loop. Source: Nocedal and Wright, "Numerical Optimization"
// (2006), algorithm 7.4.
template <class T>
struct LbfgsLoop {
  RANVIER_CALL("lbfgs_loop", in_place(direction), ro, views(changes, count), views(steps, count),
               in_place(alphas, second, !second), scale);
  size_t workspace_bytes(int threads) const;
  bool second;
  int count;
  TensorView<T> direction;
  TensorView<const T> changes[kMaxPairs], steps[kMaxPairs];  // y and s, the oldest first
  TensorView<const double> ro;                               // (count,)
  TensorView<double> alphas;                                 // (count,), written by the first loop
  TensorView<const double> scale;                            // one element; data null: none
};

}  // namespace ranvier
