// The element-wise losses on vectors: value(x, t, o), and their derivatives by_x, by_target and by_other.
// s: scalars of the loss (LossStrip). Limits and exact zeros are chosen so that no certain prediction gives
// NaN where the limit of the formula is finite.
#pragma once
#include <limits>

#include "kernels/loss/loss.h"
#include "simd/math.h"

namespace ranvier::RANVIER_ISA {

#define RANVIER_LOSS(which)                                                                \
  template <class V, class T>                                                              \
  RANVIER_INLINE V which([[maybe_unused]] V x, [[maybe_unused]] V t, [[maybe_unused]] V o, \
                         [[maybe_unused]] const LossStrip<T>& s)

template <class V>
RANVIER_INLINE V sign_of(V x) {  // -1, 0, 1 or NaN
  return select(x > element_of<V>(0), V{} + element_of<V>(1),
                select(x < element_of<V>(0), V{} - element_of<V>(1), x));
}

// log(1 + exp(x)), which cannot overflow
template <class V>
RANVIER_INLINE V log_one_plus_exp(V x) {
  return at_least(x, element_of<V>(0)) + log1p(exp(-abs(x)));
}

struct TwoOperands {
  RANVIER_LOSS(by_other) { return V{}; }
};

struct Mse : TwoOperands {  // (x - t)^2
  RANVIER_LOSS(value) { return (x - t) * (x - t); }
  RANVIER_LOSS(by_x) { return (x - t) + (x - t); }
  RANVIER_LOSS(by_target) { return (t - x) + (t - x); }
};

struct L1 : TwoOperands {  // |x - t|
  RANVIER_LOSS(value) { return abs(x - t); }
  RANVIER_LOSS(by_x) { return sign_of(x - t); }
  RANVIER_LOSS(by_target) { return sign_of(t - x); }
};

// d^2 / (2 beta) where d = |x - t| < beta, else d - beta / 2; first: beta
struct SmoothL1 : TwoOperands {
  RANVIER_LOSS(value) {
    const V d = abs(x - t);
    return select(d < s.first, T(0.5) * d * d / s.first, d - T(0.5) * s.first);
  }
  RANVIER_LOSS(by_x) {
    const V d = x - t;
    return select(abs(d) < s.first, d / s.first, sign_of(d));
  }
  RANVIER_LOSS(by_target) { return by_x(t, x, o, s); }
};

// d^2 / 2 where d = |x - t| <= delta, else delta (d - delta / 2); first: delta
struct Huber : TwoOperands {
  RANVIER_LOSS(value) {
    const V d = abs(x - t);
    return select(d <= s.first, T(0.5) * d * d, s.first * (d - T(0.5) * s.first));
  }
  RANVIER_LOSS(by_x) {
    const V d = x - t;
    return select(abs(d) <= s.first, d, s.first * sign_of(d));
  }
  RANVIER_LOSS(by_target) { return by_x(t, x, o, s); }
};

// -(t log x + (1 - t) log(1 - x))
struct Bce : TwoOperands {
  static constexpr int floor = -100;            // of the logarithms: x = 0 or 1 gives a finite loss
  static constexpr double least_slope = 1e-12;  // of x (1 - x), which the gradient divides by
  template <class V>
  RANVIER_INLINE V log_of(V x) {
    return at_least(log(x), floor);
  }
  template <class V>
  RANVIER_INLINE V log_of_rest(V x) {
    return at_least(log1p(-x), floor);
  }
  RANVIER_LOSS(value) { return (t - T(1)) * log_of_rest(x) - t * log_of(x); }
  RANVIER_LOSS(by_x) { return (x - t) / at_least(x * (T(1) - x), T(least_slope)); }
  RANVIER_LOSS(by_target) { return log_of_rest(x) - log_of(x); }
};

struct BceWithLogits : TwoOperands {  // bce of sigmoid(x): max(x, 0) - x t + log(1 + exp(-|x|))
  RANVIER_LOSS(value) {               // an infinite x has a part in x t only where t is not 0
    const V e = exp_beside_1(-abs(x));
    return at_least(x, T(0)) - select(t == T(0), V{}, x * t) +
           log1p(select(e < 2 * std::numeric_limits<T>::min(), V{}, e));
  }
  RANVIER_LOSS(by_x) {  // 0 where it is subnormal, as in class_lines.h
    constexpr T limit = ExpRange<T>::normal;
    const V p = sigmoid(at_most(at_least(x, limit), -limit));
    return select(p < s.least, V{}, p) - t;
  }
  RANVIER_LOSS(by_target) { return -x; }
};

// The same with the weight o of positive targets: (1 - t) x + (1 + (o - 1) t) log(1 + exp(-x))
struct BceWithPosWeight {
  template <class T, class V>
  RANVIER_INLINE V of_log(V t, V o) {
    return T(1) + (o - T(1)) * t;
  }
  RANVIER_LOSS(value) { return (T(1) - t) * x + of_log<T>(t, o) * log_one_plus_exp(-x); }
  RANVIER_LOSS(by_x) { return of_log<T>(t, o) * sigmoid(x) - o * t; }
  RANVIER_LOSS(by_target) { return (o - T(1)) * log_one_plus_exp(-x) - x; }
  RANVIER_LOSS(by_other) { return t * log_one_plus_exp(-x); }
};

struct KlDiv : TwoOperands {  // t (log t - x), 0 where t is 0
  RANVIER_LOSS(value) { return select((t == T(0)) & (x == x), V{}, t * (log(t) - x)); }
  RANVIER_LOSS(by_x) { return -t; }
  RANVIER_LOSS(by_target) { return log(t) + T(1) - x; }
};

struct KlDivLog : TwoOperands {  // the same of exp(t): exp(t) (t - x)
  RANVIER_LOSS(value) {
    const V e = exp(t);
    return select(e == T(0), V{}, e * (t - x));
  }
  RANVIER_LOSS(by_x) { return -exp(t); }
  RANVIER_LOSS(by_target) {
    const V e = exp(t);
    return select(e == T(0), V{}, e * (t - x + T(1)));
  }
};

// Stirling's log(t!) = t log t - t + log(2 pi t) / 2 where t > 1, else 0.
template <class V>
RANVIER_INLINE V log_factorial(V t) {
  using T = element_of<V>;
  const V l = log(t);
  return select(t > T(1), t * l - t + T(0.5) * (l + T(1.83787706640934548356)), V{});
}
template <class V>
RANVIER_INLINE V log_factorial_slope(V t) {
  using T = element_of<V>;
  return select(t > T(1), log(t) + T(0.5) / t, V{});
}

// x - t log(x + eps), with `full` also log(t!); second: eps
struct PoissonNll : TwoOperands {
  RANVIER_LOSS(value) {
    const V y = x - t * log(x + s.second);
    return s.full ? y + log_factorial(t) : y;
  }
  RANVIER_LOSS(by_x) { return T(1) - t / (x + s.second); }
  RANVIER_LOSS(by_target) {
    const V y = -log(x + s.second);
    return s.full ? y + log_factorial_slope(t) : y;
  }
};

struct PoissonNllLog : TwoOperands {  // the same of exp(x): exp(x) - t x
  RANVIER_LOSS(value) {
    const V y = exp(x) - t * x;
    return s.full ? y + log_factorial(t) : y;
  }
  RANVIER_LOSS(by_x) { return exp(x) - t; }
  RANVIER_LOSS(by_target) { return s.full ? log_factorial_slope(t) - x : -x; }
};

// (log v + (x - t)^2 / v) / 2 of the variance v = max(o, eps), with `full` also log(2 pi) / 2; second: eps.
// eps bounds the value alone: the gradient reaches o as if it were v.
struct GaussianNll {
  RANVIER_LOSS(value) {
    const V v = at_least(o, s.second);
    const V y = T(0.5) * (log(v) + (x - t) * (x - t) / v);
    return s.full ? y + T(0.91893853320467274178) : y;
  }
  RANVIER_LOSS(by_x) { return (x - t) / at_least(o, s.second); }
  RANVIER_LOSS(by_target) { return (t - x) / at_least(o, s.second); }
  RANVIER_LOSS(by_other) {
    const V v = at_least(o, s.second), d = x - t;
    return T(0.5) * (T(1) - d * d / v) / v;
  }
};

#undef RANVIER_LOSS

}  // namespace ranvier::RANVIER_ISA
