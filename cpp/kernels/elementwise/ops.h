// The ops of elementwise.h, a row each: X(name, parameters, nanoseconds, expression).
//
//   parameters: of the function ranvier._core.<name>: an Array, or a Number, which may be an array, too;
//     in the kernel both are vectors
//   nanoseconds: of arithmetic for an element of float32 on one thread, roughly, without the time for memory
//   expression: y in terms of the parameters, of `zero`, `one`, of the functions in simd/ and of those
//     above the loops in elementwise.isa.cpp
//
// A new row is all that a kernel needs: the loops (elementwise.isa.cpp), the cost (elementwise.cpp) and the
// binding (bindings/ops/bind_elementwise.cpp) follow from it.
#pragma once

// clang-format off
#define RANVIER_ELEMENTWISE_OPS(X) \
  X(neg, (Array x), .02, -x) \
  X(abs, (Array x), .02, abs(x)) \
  X(sign, (Array x), .02, select(x > zero, one, select(x < zero, -one, select(x == zero, zero, x)))) \
  X(square, (Array x), .02, x * x) \
  X(reciprocal, (Array x), .02, one / x) \
  X(sqrt, (Array x), .02, quick_sqrt(x)) \
  X(rsqrt, (Array x), .02, one / quick_sqrt(x)) \
  X(round, (Array x), .02, round_even(x)) \
  X(floor, (Array x), .02, round_down(x)) \
  X(ceil, (Array x), .02, -round_down(-x)) \
  X(trunc, (Array x), .02, copysign(round_down(abs(x)), x)) \
  X(clip, (Array x, Number low, Number high), .02, min(max(x, low), high)) \
  X(nan_to_num, (Array x, Number nan, Number high, Number low), .02, \
    select(x == T(__builtin_inf()), high, select(x == -T(__builtin_inf()), low, select(x == x, x, nan)))) \
  X(exp, (Array x), .2, quick_exp(x)) \
  X(expm1, (Array x), .2, expm1(x)) \
  X(log, (Array x), .2, quick_log(x)) \
  X(log1p, (Array x), .2, log1p(x)) \
  X(sin, (Array x), .2, sin(x)) \
  X(cos, (Array x), .2, cos(x)) \
  X(erf, (Array x), .02, erf(x)) \
  X(erfc, (Array x), 1, erfc(x)) \
  X(erfinv, (Array x), 1, erfinv(x)) \
  X(lgamma, (Array x), 1, lgamma(x)) \
  X(digamma, (Array x), 1, digamma(x)) \
  X(trigamma, (Array x), 1, trigamma(x)) \
  \
  X(add, (Number a, Number b), .02, a + b) \
  X(sub, (Number a, Number b), .02, a - b) \
  X(mul, (Number a, Number b), .02, a * b) \
  X(div, (Number a, Number b), .02, a / b) \
  X(pow, (Number a, Number b), 1, quick_pow(a, b)) \
  X(maximum, (Number a, Number b), .02, max(a, b)) \
  X(minimum, (Number a, Number b), .02, min(a, b)) \
  /* fmod is exact and has the sign of a; remainder has the sign of b. */ \
  X(fmod, (Number a, Number b), 1, rest_like(a, a, b)) \
  X(remainder, (Number a, Number b), 1, rest_like(b, a, b)) \
  X(floor_divide, (Number a, Number b), 1, floor_divide(a, b)) \
  X(glu, (Number a, Number b), .2, a * sigmoid(b)) \
  X(prelu, (Number x, Number weight), .02, select(x > zero, x, x * weight)) \
  X(addcmul, (Number a, Number b, Number c, Number d), .02, a + b * c * d) \
  X(addcdiv, (Number a, Number b, Number c, Number d), .02, a + b / c * d) \
  X(lerp, (Number a, Number b, Number c, Number d), .02, a + d * (c - b)) \
  \
  /* Gradients: dy f'(x), from the input x or the result y. e^x = y + 1 for expm1. */ \
  X(expm1_backward, (Array dy, Array saved), .02, dy * (saved + one)) \
  X(log1p_backward, (Array dy, Array saved), .02, dy / (saved + one)) \
  X(sqrt_backward, (Array dy, Array saved), .02, dy / (saved + saved)) \
  X(abs_backward, (Array dy, Array saved), .02, dy * sign_op<T>::call(saved)) \
  X(sin_backward, (Array dy, Array saved), .2, dy * cos(saved)) \
  X(cos_backward, (Array dy, Array saved), .2, -dy * sin(saved)) \
  X(square_backward, (Array dy, Array saved), .02, dy * (saved + saved)) \
  X(reciprocal_backward, (Array dy, Array saved), .02, -dy * saved * saved) \
  X(clip_backward, (Array dy, Array x, Number low, Number high), .02, \
    select((x >= low) & (x <= high), dy, zero)) \
  \
  /* Gradients of functions of two operands. Of b in y = a / b: */ \
  X(div_backward, (Array dy, Array y, Number b), .02, -dy * y / b) \
  /* Of a in y = a^b: dy b a^(b-1), and 0 for b = 0 also where a^(b-1) is infinite. */ \
  X(pow_backward, (Array dy, Number a, Number b), 1, select(b == zero, zero, dy * (b * quick_pow(a, b - one)))) \
  /* Of b in y = a^b: dy y log(a), and 0 for a = 0 where y is finite. */ \
  X(exponent_backward, (Array dy, Number a, Array y), .2, \
    select((a == zero) & (abs(y) <= one), zero, dy * (y * log(a)))) \
  /* Of a: dy if a is the greater (or smaller) operand, dy / 2 if both are equal, else 0. */ \
  X(maximum_backward, (Array dy, Number a, Number b), .02, select(a < b, zero, select(a == b, dy * T(0.5), dy))) \
  X(minimum_backward, (Array dy, Number a, Number b), .02, select(a > b, zero, select(a == b, dy * T(0.5), dy))) \
  /* dy where x is the extreme y, or both are NaN. */ \
  X(where_equal, (Array x, Array y, Array dy), .02, select((x == y) | ((x != x) & (y != y)), dy, zero)) \
  /* dy where x is finite. */ \
  X(where_finite, (Array dy, Array x), .02, select(abs(x) < T(__builtin_inf()), dy, zero)) \
  X(glu_backward, (Array dy, Number a, Number b), .2, dy * a * sigmoid_slope(b))  /* of b */ \
  X(prelu_backward, (Array dy, Number x, Number weight), .02, select(x > zero, dy, dy * weight)) \
  X(prelu_weight_backward, (Array dy, Number x), .02, select(x > zero, zero, dy * x))

// pow(x, b) for one number b, by products and roots. These have no function in Python.
#define RANVIER_POWER_OPS(X) \
  X(cube, (Array x), .02, x * x * x) \
  X(pow_half, (Array x), .02, pow_half(x)) \
  X(pow_minus_half, (Array x), .02, one / pow_half(x)) \
  X(pow_minus_2, (Array x), .02, (one / x) * (one / x))  /* x * x would overflow before 1 / x^2 is 0 */
// clang-format on
