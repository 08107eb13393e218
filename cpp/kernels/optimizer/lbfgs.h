// The optimizer L-BFGS on one vector of all parameters: dot products, and the two loops that compute its
// direction.
//
// A dot product is a sum in double over fixed blocks, whose sums are added in order. So its bits do not
// depend on the team. All vectors are (n,), contiguous.
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

constexpr int kMaxPairs = 32;  // the most pairs of one call; a longer history takes several calls

// One of the two loops over the pairs of earlier steps s and the changes y of the gradient along them, on the
// direction d. With ro = 1 / (y . s):
//
//   first loop, from the newest pair:   alpha = ro (s . d);  d -= alpha y
//   second loop, from the oldest pair:  d += (alpha - ro (y . d)) s
//
// If scale has data, d is multiplied by it before the loop. Source: Nocedal and Wright, "Numerical
// Optimization" (2006), algorithm 7.4.
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
