// elementwise: y = op(a, b, c), element by element. ops.h has the ops.
//
//   a, b, c and y have the same shape and any strides. An operand that is broadcast along a dimension has
//   stride 0 there. An operand whose view has no data is a number, scalar[k]. The elements of y do not
//   overlap each other; y may be the same view as an operand (in place).
//
// Every element is computed by the same vector code wherever it is stored, so the bits of y depend on the
// elements of the operands alone. Edge values follow NumPy; x / 0, log of a negative number and NaN raise no
// error.
#pragma once
#include <cstddef>

#include "base/element_row.h"
#include "base/isa.h"
#include "base/views.h"
#include "kernels/elementwise/ops.h"

namespace ranvier {

#define RANVIER_X(name, ...) name,
enum class ElementwiseOp { RANVIER_ELEMENTWISE_OPS(RANVIER_X) RANVIER_POWER_OPS(RANVIER_X) count };
#undef RANVIER_X

template <class T>
struct Elementwise {
  RANVIER_CALL("elementwise", x, y);
  ElementwiseOp op;
  int operands;
  TensorView<const T> x[kElementOperands];
  T scalar[kElementOperands];  // operand k where x[k].data is null
  TensorView<T> y;
};

enum class CompareOp { eq, ne, lt, le, gt, ge, count };

// y = (x[0] op x[1]) as bool. A comparison with NaN is false, except that `ne` is true.
template <class T>
struct Compare {
  RANVIER_CALL("compare", x, y);
  CompareOp op;
  TensorView<const T> x[2];
  T scalar[2];
  TensorView<bool> y;
};

// y = condition ? x[0] : x[1]
template <class T>
struct Where {
  RANVIER_CALL("where", condition, x, y);
  TensorView<const bool> condition;
  TensorView<const T> x[2];
  T scalar[2];
  TensorView<T> y;
};

using ElementwiseFunction = void (*)(const ElementRow&);

template <class T>
struct ElementwiseKernels {
  ElementwiseFunction op[static_cast<int>(ElementwiseOp::count)];
  // For rows whose operands and y are all of float16 or all of bfloat16. Null if the op has no such loop;
  // then `op` runs on rows that have been converted to floats (loops.cpp).
  ElementwiseFunction of_float16[static_cast<int>(ElementwiseOp::count)];
  ElementwiseFunction of_bfloat16[static_cast<int>(ElementwiseOp::count)];
  ElementwiseFunction compare[static_cast<int>(CompareOp::count)];
  ElementwiseFunction where;
};

RANVIER_TABLES(ElementwiseKernels, elementwise_kernels)

}  // namespace ranvier
