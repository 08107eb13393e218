// index: elements picked along one axis (gather), and written there (scatter), and the gradient of scatter
//
//   gather            y[.., j, ..] = x[.., index[.., j, ..], ..]
//   scatter           y = base (0 if it has no data); then for each j in order x[.., j, ..] changes the place
//                     y[.., index[.., j, ..], ..]. ScatterOp::put: x replaces it, so that of several values
//                     for one place the last stays; sum, product: x is added to it, or multiplied with it;
//                     max, min: the greater (smaller) of both stays, and a NaN before any number.
//   scatter_backward  of `put`: dx[.., j, ..] is dy of its place if the value x[.., j, ..] stayed, else 0;
//                     dbase is dy, except 0 where a value was put
//
//   index has the shape of the picked elements (y of gather; x of scatter), with stride 0 along axes where it
//   is broadcast. Its values are in [-n, n), where n is the length of the axis of the other tensor (x of
//   gather; y of scatter); negative ones count from the end. Each element that is written belongs to one
//   thread, which takes j in order, so sums do not depend on the team.
//
//   The caller has checked the indices (range.h), or lets the call check them where finds_outside() is true:
//   it then sets `found`, and skips indices that are outside.
#pragma once
#include <cstddef>
#include <cstdint>

#include "base/views.h"

namespace ranvier {

template <class T>  // float, double, or BFloat16 for any elements of 16 bits
struct Gather {
  RANVIER_CALL("gather", x, index, y, found);
  bool finds_outside() const;  // true if this call can check indices while it reads them, at no cost
  int axis;
  bool from_0;  // with `found`: negative indices are outside, too
  TensorView<const T> x;
  TensorView<const int64_t> index;
  TensorView<T> y;
  // One element, set to 1 if an index is outside; data is null if they are checked already.
  TensorView<int64_t> found;
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
