// elementwise: y = op(a, b, c), element by element
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

namespace ranvier {

// X(name, number of operands). The order is that of the kernels' tables. The operands and formulas that a
// name does not tell:
//   clip(x, low, high); rsqrt = 1 / sqrt(x); cube, pow_half ... are pow(x, b) for one number b
//   f_backward(dy, saved) = dy f'(x), where saved is x, or y for expm1, sqrt and reciprocal
//   clip_backward(dy, x, low, high)
//   gradients of functions of two operands, with respect to one of them:
//     div_backward(dy, y, b) of b; pow_backward(dy, a, b) of a; exponent_backward(dy, a, y) of b;
//     maximum_backward(dy, a, b), minimum_backward(dy, a, b) of a
//   fmod(a, b) is exact and has the sign of a; remainder(a, b) has the sign of b
//   floor_divide(a, b) = floor(a / b)
//   where_equal(x, y, dy): dy where x == y or both are NaN, else 0
//   addcmul(a, b, c, d) = a + (b c) d, addcdiv(a, b, c, d) = a + (b / c) d, lerp(a, b, c, d) = a + d (c - b)
//   glu(a, b) = a sigmoid(b), glu_backward(dy, a, b) of b
//   prelu(x, w) = x where x > 0, else w x, prelu_backward(dy, x, w) of x, prelu_weight_backward(dy, x) of w
// clang-format off
#define RANVIER_ELEMENTWISE_OPS(X)                                                              \
  X(neg, 1) X(exp, 1) X(expm1, 1) X(erf, 1) X(log, 1) X(log1p, 1) X(sqrt, 1)                    \
  X(erfc, 1) X(erfinv, 1) X(lgamma, 1) X(digamma, 1) X(trigamma, 1)                             \
  X(abs, 1) X(sin, 1) X(cos, 1) X(round, 1) X(sign, 1) X(square, 1) X(reciprocal, 1) X(clip, 3) \
  X(floor, 1) X(ceil, 1) X(trunc, 1)                                                            \
  X(rsqrt, 1) X(cube, 1) X(pow_half, 1) X(pow_minus_half, 1) X(pow_minus_2, 1)                  \
  X(add, 2) X(sub, 2) X(mul, 2) X(div, 2) X(pow, 2) X(maximum, 2) X(minimum, 2)                 \
  X(fmod, 2) X(remainder, 2) X(floor_divide, 2)                                                 \
  X(expm1_backward, 2) X(log1p_backward, 2) X(sqrt_backward, 2) X(abs_backward, 2)              \
  X(sin_backward, 2) X(cos_backward, 2) X(square_backward, 2)                                   \
  X(reciprocal_backward, 2) X(clip_backward, 4)                                                 \
  X(div_backward, 3) X(pow_backward, 3) X(exponent_backward, 3)                                 \
  X(maximum_backward, 3) X(minimum_backward, 3)                                                 \
  X(where_equal, 3) X(addcmul, 4) X(addcdiv, 4) X(lerp, 4)                                      \
  X(glu, 2) X(glu_backward, 3) X(prelu, 2) X(prelu_backward, 3) X(prelu_weight_backward, 2)
// clang-format on

#define RANVIER_X(name, operands) name,
enum class ElementwiseOp { RANVIER_ELEMENTWISE_OPS(RANVIER_X) count };
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
