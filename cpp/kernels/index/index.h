// index: elements picked along one axis, elements put there, and the gradients of both
//
//   gather            y[.., j, ..] = x[.., index[.., j, ..], ..]
//   scatter           y = base (0 without one), then y[.., index[.., j, ..], ..] = x[.., j, ..] for each j in
//                     order: of several values for one place the last stays. Or the values are added to y,
//                     multiplied with it, or the greatest or least stays (a NaN before all others)
//   scatter_backward  of scatter that puts: dx[.., j, ..] is the gradient where x's value stayed, else 0;
//                     dbase is the gradient but for 0 where something was put
//
//   index has the shape of the picked elements (y of gather, x of scatter), with stride 0 where it is
//   repeated; its values are in [-n, n), n the length of the other tensor's axis. Every element that is
//   written belongs to one thread, which takes j in order: sums do not depend on the team.
#pragma once
#include <cstddef>
#include <cstdint>

#include "base/views.h"

namespace ranvier {

template <class T>  // float, double or, for both halves, BFloat16
struct Gather {
  RANVIER_CALL("gather", x, index, y, found);
  bool finds_outside() const;  // true if it can look for an index that is outside, while it reads them
  int axis;
  bool from_0;  // a negative index is outside, where they are looked at
  TensorView<const T> x;
  TensorView<const int64_t> index;
  TensorView<T> y;
  TensorView<int64_t> found;  // one element, which becomes 1 where an index is outside; data null: none is
};

enum class ScatterOp { put, sum, product, max, min };

template <class T>  // the same types as Gather for ScatterOp::put, else float or double
struct Scatter {
  RANVIER_CALL("scatter", base, x, index, y, found);
  bool finds_outside() const;  // the same as in Gather
  int axis;
  bool from_0;
  ScatterOp op;
  TensorView<const T> base;  // has y's shape, or is y itself, or data is null
  TensorView<const T> x;
  TensorView<const int64_t> index;
  TensorView<T> y;
  TensorView<int64_t> found;
};

template <class T>
struct ScatterBackward {
  RANVIER_CALL("scatter_backward", dy, index, dbase, dx);
  int axis;
  TensorView<const T> dy;
  TensorView<const int64_t> index;
  TensorView<T> dbase;  // has dy's shape
  TensorView<T> dx;     // has index's shape
};

}  // namespace ranvier
