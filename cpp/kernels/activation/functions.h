// The activations and their derivatives on vectors. forward(x) returns y; backward(dy, saved) returns dy
// f'(x), where `saved` is x, or y for those marked "saves y". The settings alpha and beta (activation.h says
// which activation has them) are a.alpha and a.beta. For activation.isa.cpp, and for the epilogues of
// products (kernels/matmul/epilogue.h), which apply a forward to their sums in registers.
#pragma once
#include "simd/math.h"

namespace ranvier::RANVIER_ISA {

template <class T>
struct ActivationAttributes {
  T alpha, beta;
};

// Declares a static function of an activation, on vectors V of elements T, with the settings as last
// argument.
#define RANVIER_ACTIVATION(direction, ...) \
  template <class V, class T>              \
  RANVIER_INLINE V direction(__VA_ARGS__, [[maybe_unused]] ActivationAttributes<T> a)

struct Relu {  // max(x, 0); saves y
  RANVIER_ACTIVATION(forward, V x) { return select(x <= T(0), V{}, x); }
  RANVIER_ACTIVATION(backward, V dy, V y) { return select(y <= T(0), V{}, dy); }
};

struct LeakyRelu {  // x where x > 0, else alpha x
  RANVIER_ACTIVATION(forward, V x) { return select(x > T(0), x, x * a.alpha); }
  RANVIER_ACTIVATION(backward, V dy, V x) { return select(x > T(0), dy, dy * a.alpha); }
};

struct Elu {  // x where x > 0, else alpha (exp(x) - 1)
  RANVIER_ACTIVATION(forward, V x) { return select(x > T(0), x, expm1(x) * a.alpha); }
  RANVIER_ACTIVATION(backward, V dy, V x) { return select(x > T(0), dy, dy * a.alpha * exp(x)); }
};

struct Sigmoid {  // saves y
  RANVIER_ACTIVATION(forward, V x) { return sigmoid(x); }
  RANVIER_ACTIVATION(backward, V dy, V y) { return dy * (y * (T(1) - y)); }
};

struct Tanh {  // saves y
  RANVIER_ACTIVATION(forward, V x) { return tanh(x); }
  RANVIER_ACTIVATION(backward, V dy, V y) { return dy * (T(1) - y * y); }
};

// x Phi(x), Phi(x) = (1 + erf(x / sqrt(2))) / 2, and Phi'(x) = exp(-x^2 / 2) / sqrt(2 pi).
struct Gelu {
  RANVIER_ACTIVATION(forward, V x) {
    return select(abs(x) == Limits<T>::infinity, select(x > T(0), x, V{}), x * normal_cdf<T>(x));
  }
  RANVIER_ACTIVATION(backward, V dy, V x) {
    x = at_most(at_least(x, T(-50)), T(50));  // farther out the slope is 0 or 1, but 0 * inf would give NaN
    const V density = exp(x * x * T(-0.5)) * T(0.398942280401432677940);
    return dy * fma(x, density, normal_cdf<T>(x));
  }
  template <class T, class V>
  RANVIER_INLINE V normal_cdf(V x) {
    return fma(broadcast(T(0.5)), erf(x * T(0.707106781186547524401)), broadcast(T(0.5)));
  }
};

// x (1 + tanh(u)) / 2 = x sigmoid(2 u), 2 u = sqrt(8 / pi) (x + 0.044715 x^3).
struct GeluTanh {
  static constexpr double slope = 1.59576912160573071176;  // sqrt(8 / pi)
  static constexpr double cubic = 0.044715;
  RANVIER_ACTIVATION(forward, V x) {
    const V y = x * sigmoid(x * T(slope) * fma(x * x, broadcast(T(cubic)), broadcast(T(1))));
    return select(x == -Limits<T>::infinity, V{}, y);
  }
  RANVIER_ACTIVATION(backward, V dy, V x) {
    x = at_most(at_least(x, T(-50)), T(50));
    const V square = x * x;
    const V s = sigmoid(x * T(slope) * fma(square, broadcast(T(cubic)), broadcast(T(1))));
    const V du = T(slope) * fma(square, broadcast(T(3 * cubic)), broadcast(T(1)));
    return dy * fma(x * du, s * (T(1) - s), s);
  }
};

struct Silu {  // x sigmoid(x)
  RANVIER_ACTIVATION(forward, V x) { return select(x == -Limits<T>::infinity, V{}, x * sigmoid(x)); }
  RANVIER_ACTIVATION(backward, V dy, V x) {
    // Farther out the slope is 0 or 1, but inf * 0 would give NaN.
    x = at_most(at_least(x, T(-1000)), T(1000));
    const V s = sigmoid(x);
    return dy * s * fma(x, T(1) - s, broadcast(T(1)));
  }
};

// log(1 + exp(z)) / alpha with z = alpha x, computed as (max(z, 0) + log1p(exp(-|z|))) / alpha; x itself
// where z > beta.
struct Softplus {
  RANVIER_ACTIVATION(forward, V x) {
    const V z = x * a.alpha;
    V y = at_least(z, T(0)) + log1p_of_part(exp_of_minus_size(z));
    if (a.alpha != T(1)) y = y / a.alpha;
    return select(z > a.beta, x, y);
  }
  RANVIER_ACTIVATION(backward, V dy, V x) {
    const V z = x * a.alpha;
    return select(z > a.beta, dy, dy * sigmoid(z));
  }
};

struct Heaviside {  // 1 where x > 0, alpha where x = 0, else 0
  RANVIER_ACTIVATION(forward, V x) {
    return select(x > T(0), broadcast(T(1)), select(x == T(0), broadcast(T(a.alpha)), V{}));
  }
  RANVIER_ACTIVATION(backward, V, V) { return V{}; }
};

struct Hardtanh {  // x limited to [alpha, beta]
  RANVIER_ACTIVATION(forward, V x) { return at_most(at_least(x, a.alpha), a.beta); }
  RANVIER_ACTIVATION(backward, V dy, V x) { return select((x <= a.alpha) | (x >= a.beta), V{}, dy); }
};

// scale x where x > 0, else scale alpha (exp(x) - 1). The constants keep mean 0 and variance 1 (Klambauer et
// al. 2017).
struct Selu {
  static constexpr double scale = 1.05070098735548049342;
  static constexpr double alpha = 1.67326324235437728482;
  static constexpr double product = 0x1.c212cc640f031p+0;     // scale alpha, rounded to double
  static constexpr double product_lo = 1.41535193800845e-17;  // scale alpha - product
  RANVIER_ACTIVATION(forward, V x) { return select(x > T(0), x * T(scale), below_0(x)); }
  RANVIER_INLINE vec<float> below_0(vec<float> x) { return expm1(x) * float(scale * alpha); }
  RANVIER_INLINE vec<double> below_0(vec<double> x) {  // one rounding fewer
    using R = ExpRange<double>;
    const auto [main, tail] = half_expm1(at_most(at_least(x, R::low_m1), R::high));
    const vec<double> twice = main + main;
    const vec<double> factor = broadcast(product);
    const vec<double> rest = fma(twice, broadcast(product_lo), (tail + tail) * factor);
    return select(abs(x) < R::tiny, x * factor, fma(twice, factor, rest));
  }
  RANVIER_ACTIVATION(backward, V dy, V x) {
    return dy * select(x > T(0), broadcast(T(scale)), exp(x) * T(scale * alpha));
  }
};

struct Celu {  // x where x > 0, else alpha (exp(x / alpha) - 1)
  RANVIER_ACTIVATION(forward, V x) { return select(x > T(0), x, expm1(x / a.alpha) * a.alpha); }
  RANVIER_ACTIVATION(backward, V dy, V x) { return select(x > T(0), dy, dy * exp(x / a.alpha)); }
};

// x tanh(log(1 + e)) with e = exp(x). With n = e (e + 2) this equals x n / (n + 2), in which no terms cancel.
struct Mish {
  template <class T, class V>
  RANVIER_INLINE V limited(V x) {  // for larger x, tanh is 1; with the limit squares of exp(x) stay finite
    constexpr T limit = sizeof(T) == 4 ? 20 : 40;
    return at_most(x, limit);
  }
  RANVIER_ACTIVATION(forward, V x) {
    const V e = exp(limited<T>(x));
    const V n = fma(e, e, e + e);
    return select(x == -Limits<T>::infinity, V{}, x * (n / (n + T(2))));
  }
  // d/dx tanh(log(1 + e)) = 4 e (1 + e) / (n + 2)^2
  RANVIER_ACTIVATION(backward, V dy, V x) {
    x = at_least(limited<T>(x), T(-1000));  // for smaller x the slope is 0, but inf * 0 would give NaN
    const V e = exp(x);
    const V n = fma(e, e, e + e);
    const V d = n + T(2);
    return dy * ((n + x * (e * (e + T(1)) * T(4) / d)) / d);
  }
};

struct Hardswish {  // x hardsigmoid(x)
  RANVIER_ACTIVATION(forward, V x) { return select(x <= T(-3), V{}, x * (at_most(x + T(3), T(6)) / T(6))); }
  RANVIER_ACTIVATION(backward, V dy, V x) {
    return select(x <= T(-3), V{}, select(x >= T(3), dy, dy * (x / T(3) + T(0.5))));
  }
};

struct Hardsigmoid {  // x / 6 + 1 / 2 limited to [0, 1]
  RANVIER_ACTIVATION(forward, V x) { return at_most(at_least(x + T(3), T(0)), T(6)) / T(6); }
  RANVIER_ACTIVATION(backward, V dy, V x) { return select((x > T(-3)) & (x < T(3)), dy / T(6), V{}); }
};

struct Logsigmoid {  // log(1 / (1 + exp(-x))) = min(x, 0) - log1p(exp(-|x|))
  RANVIER_ACTIVATION(forward, V x) { return at_most(x, T(0)) - log1p_of_part(exp_of_minus_size(x)); }
  RANVIER_ACTIVATION(backward, V dy, V x) { return dy * sigmoid(-x); }
};

struct Softsign {  // x / (1 + |x|)
  RANVIER_ACTIVATION(forward, V x) {
    const V limit = select(x > T(0), broadcast(T(1)), broadcast(T(-1)));
    return select(abs(x) == Limits<T>::infinity, limit, x / (abs(x) + T(1)));
  }
  RANVIER_ACTIVATION(backward, V dy, V x) {
    const V d = abs(x) + T(1);
    return dy / d / d;
  }
};

struct Tanhshrink {  // x - tanh(x)
  RANVIER_ACTIVATION(forward, V x) { return x - tanh(x); }
  RANVIER_ACTIVATION(backward, V dy, V x) {
    const V t = tanh(x);
    return dy * (t * t);
  }
};

struct Softshrink {  // x moved towards 0 by alpha, and 0 where |x| <= alpha
  RANVIER_ACTIVATION(forward, V x) {
    return select(abs(x) <= a.alpha, V{}, select(x > T(0), x - a.alpha, x + a.alpha));
  }
  RANVIER_ACTIVATION(backward, V dy, V x) { return select(abs(x) <= a.alpha, V{}, dy); }
};

struct Hardshrink {  // x, and 0 where |x| <= alpha
  RANVIER_ACTIVATION(forward, V x) { return select(abs(x) <= a.alpha, V{}, x); }
  RANVIER_ACTIVATION(backward, V dy, V x) { return select(abs(x) <= a.alpha, V{}, dy); }
};

#undef RANVIER_ACTIVATION

}  // namespace ranvier::RANVIER_ISA
