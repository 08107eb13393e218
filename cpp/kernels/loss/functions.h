// The element-wise losses on vectors: value(x, t, o, s), and its derivatives by_x and by_target. t is the
// target, o the third operand, and s has the scalars of a strip (LossStrip in loss.h). A prediction that is
// certain (a probability of 0 or 1) must not give NaN where the formula has a finite limit; this is why some
// terms are limited or replaced by 0.
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

// log(1 + exp(x)), computed so that it cannot overflow.
template <class V>
RANVIER_INLINE V log_one_plus_exp(V x) {
  return at_least(x, element_of<V>(0)) + log1p(exp(-abs(x)));
}

struct Mse {  // (x - t)^2
  RANVIER_LOSS(value) { return (x - t) * (x - t); }
  RANVIER_LOSS(by_x) { return (x - t) + (x - t); }
  RANVIER_LOSS(by_target) { return (t - x) + (t - x); }
};

struct L1 {  // |x - t|
  RANVIER_LOSS(value) { return abs(x - t); }
  RANVIER_LOSS(by_x) { return sign_of(x - t); }
  RANVIER_LOSS(by_target) { return sign_of(t - x); }
};

// d^2 / (2 beta) where d = |x - t| < beta, else d - beta / 2; setting: beta
struct SmoothL1 {
  RANVIER_LOSS(value) {
    const V d = abs(x - t);
    return select(d < s.setting, T(0.5) * d * d / s.setting, d - T(0.5) * s.setting);
  }
  RANVIER_LOSS(by_x) {
    const V d = x - t;
    return select(abs(d) < s.setting, d / s.setting, sign_of(d));
  }
  RANVIER_LOSS(by_target) { return by_x(t, x, o, s); }
};

// d^2 / 2 where d = |x - t| <= delta, else delta (d - delta / 2); setting: delta
struct Huber {
  RANVIER_LOSS(value) {
    const V d = abs(x - t);
    return select(d <= s.setting, T(0.5) * d * d, s.setting * (d - T(0.5) * s.setting));
  }
  RANVIER_LOSS(by_x) {
    const V d = x - t;
    return select(abs(d) <= s.setting, d, s.setting * sign_of(d));
  }
  RANVIER_LOSS(by_target) { return by_x(t, x, o, s); }
};

// -(t log x + (1 - t) log(1 - x))
struct Bce {
  static constexpr int floor = -100;            // the least logarithm: x = 0 or 1 gives a finite loss
  static constexpr double least_slope = 1e-12;  // a lower limit of x (1 - x), by which the gradient divides
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
  RANVIER_LOSS(by_target) { return log1p(-x) - log(x); }  // without the limits, as in PyTorch
};

// sigmoid(x) and sigmoid(-x), each right to its last digits: 1 - sigmoid(x) would cancel. Numbers below
// `least` become 0: they may be subnormal, which is slow.
template <class V>
struct Sigmoids {
  V of_x, of_minus_x;
};
template <class V, class T>
RANVIER_INLINE Sigmoids<V> sigmoids(V x, T least) {
  const V e = exp_beside_1(-abs(x));
  const V large = T(1) / (e + T(1));
  const V product = e * large;
  const V small = select(product < least, V{}, product);
  const auto positive = x > T(0);
  return {select(positive, large, small), select(positive, small, large)};
}

struct BceWithLogits {   // bce of sigmoid(x): max(x, 0) - x t + log(1 + exp(-|x|))
  RANVIER_LOSS(value) {  // x t is 0 where t is 0, even if x is infinite
    const V e = exp_beside_1(-abs(x));
    return at_least(x, T(0)) - select(t == T(0), V{}, x * t) +
           log1p(select(e < 2 * std::numeric_limits<T>::min(), V{}, e));
  }
  RANVIER_LOSS(by_x) {
    const Sigmoids<V> p = sigmoids(x, s.least);
    return (T(1) - t) * p.of_x - t * p.of_minus_x;
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
  RANVIER_LOSS(by_x) {
    const Sigmoids<V> p = sigmoids(x, s.least);
    return (T(1) - t) * p.of_x - o * t * p.of_minus_x;
  }
  RANVIER_LOSS(by_target) { return (o - T(1)) * log_one_plus_exp(-x) - x; }
};

struct KlDiv {  // t (log t - x), 0 where t is 0
  RANVIER_LOSS(value) { return select((t == T(0)) & (x == x), V{}, t * (log(t) - x)); }
  RANVIER_LOSS(by_x) { return -t; }
  RANVIER_LOSS(by_target) { return log(t) + T(1) - x; }
};

struct KlDivLog {  // the same for a target exp(t): exp(t) (t - x)
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

#undef RANVIER_LOSS

}  // namespace ranvier::RANVIER_ISA
