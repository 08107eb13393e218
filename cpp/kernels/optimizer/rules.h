// The update rules on contiguous elements, for one ISA level.
//
// Each is written on one vector; the last elements go through the same code on padded lanes.
#pragma once
#include <limits>

#include "kernels/optimizer/kernels.h"
#include "simd/vec.h"

namespace ranvier::RANVIER_ISA {

// A vector of an array, whole or its last n elements.
template <bool kWhole>
struct Lanes {
  int n;

  template <class T>
  __attribute__((always_inline)) vec<T> get(const T* p) const {
    if constexpr (kWhole) return load(p);
    return load_n(p, n);
  }
  template <class T>
  __attribute__((always_inline)) void put(T* p, typename VecOf<T>::type v) const {
    if constexpr (kWhole)
      store(p, v);
    else
      store_n(p, v, n);
  }
};

// What the rules follow: the gradient, downwards where maximize climbs, and the pull of weight decay.
template <class T, class L>
RANVIER_INLINE vec<T> gradient(const OptimizerRun<T>& r, const GradientNumbers<T>& c, int64_t i, L at,
                               typename VecOf<T>::type p) {
  vec<T> g = at.get(r.g + i);
  if (c.maximize) g = -g;
  if (c.weight_decay != 0) g = fma(broadcast(c.weight_decay), p, g);
  return g;
}

// x, and 0 for magnitudes below least. A mean of gradients that are all 0 shrinks to a subnormal number and
// then stays one, since beta times the least of them is rounded to itself. Some processors take 150 cycles
// for a vector with a subnormal number.
template <class T>
RANVIER_INLINE vec<T> from(T least, typename VecOf<T>::type x) {
  return select(abs(x) < broadcast(least), vec<T>{}, x);  // NaN stays
}

template <class T>
RANVIER_INLINE vec<T> without_subnormals(typename VecOf<T>::type x) {
  return from(std::numeric_limits<T>::min(), x);
}

// mean += weight (g - mean)
template <class T, class L>
RANVIER_INLINE vec<T> update_mean(T* mean, L at, typename VecOf<T>::type g, T weight) {
  const vec<T> old = at.get(mean), m = without_subnormals<T>(fma(broadcast(weight), g - old, old));
  at.put(mean, m);
  return m;
}

// square = beta square + one_minus_beta g^2; 0 below least
template <class T, class L>
RANVIER_INLINE vec<T> update_square(T* square, L at, typename VecOf<T>::type g, T beta, T one_minus_beta,
                                    T least) {
  const vec<T> v = from(least, fma(broadcast(one_minus_beta) * g, g, broadcast(beta) * at.get(square)));
  at.put(square, v);
  return v;
}

// Sutskever et al., "On the importance of initialization and momentum in deep learning" (2013), in PyTorch's
// form: the learning rate multiplies the whole velocity.
struct Sgd {
  template <class T, class L>
  RANVIER_INLINE void apply(const OptimizerRun<T>& r, const SgdNumbers<T>& c, int64_t i, L at) {
    const vec<T> p = at.get(r.p + i);
    vec<T> g = gradient(r, c, i, at, p);
    if (T* velocity = r.states[0]) {
      const vec<T> old = at.get(velocity + i);
      const vec<T> next = fma(broadcast(c.momentum), old, broadcast(c.one_minus_dampening) * g);
      const vec<T> v = without_subnormals<T>(c.first ? g : next);
      at.put(velocity + i, v);
      g = c.nesterov ? fma(broadcast(c.momentum), v, g) : v;
    }
    at.put(r.p + i, fma(broadcast(-c.lr), g, p));
  }
};

// Tieleman and Hinton, lecture 6.5 of "Neural Networks for Machine Learning" (2012); centered: Graves (2013).
struct Rmsprop {
  template <class T, class L>
  RANVIER_INLINE void apply(const OptimizerRun<T>& r, const RmspropNumbers<T>& c, int64_t i, L at) {
    const vec<T> p = at.get(r.p + i), g = gradient(r, c, i, at, p);
    vec<T> variance = update_square(r.states[0] + i, at, g, c.alpha, c.one_minus_alpha, c.least_square);
    if (T* mean = r.states[2]) {
      const vec<T> m = update_mean(mean + i, at, g, c.one_minus_alpha);
      variance = fma(-m, m, variance);
    }
    vec<T> direction = g / (sqrt(variance) + broadcast(c.eps));
    if (T* velocity = r.states[1]) {
      direction = without_subnormals<T>(fma(broadcast(c.momentum), at.get(velocity + i), direction));
      at.put(velocity + i, direction);
    }
    at.put(r.p + i, fma(broadcast(-c.lr), direction, p));
  }
};

// Duchi, Hazan and Singer, "Adaptive Subgradient Methods" (2011).
struct Adagrad {
  template <class T, class L>
  RANVIER_INLINE void apply(const OptimizerRun<T>& r, const AdagradNumbers<T>& c, int64_t i, L at) {
    const vec<T> p = at.get(r.p + i), g = gradient(r, c, i, at, p);
    const vec<T> sum = fma(g, g, at.get(r.states[0] + i));
    at.put(r.states[0] + i, sum);
    at.put(r.p + i, fma(broadcast(-c.lr), g / (sqrt(sum) + broadcast(c.eps)), p));
  }
};

// Zeiler, "ADADELTA: An Adaptive Learning Rate Method" (2012).
struct Adadelta {
  template <class T, class L>
  RANVIER_INLINE void apply(const OptimizerRun<T>& r, const AdadeltaNumbers<T>& c, int64_t i, L at) {
    const vec<T> p = at.get(r.p + i), g = gradient(r, c, i, at, p), eps = broadcast(c.eps);
    const vec<T> square = update_square(r.states[0] + i, at, g, c.rho, c.one_minus_rho, c.least_square);
    const vec<T> delta = sqrt(at.get(r.states[1] + i) + eps) / sqrt(square + eps) * g;
    update_square(r.states[1] + i, at, delta, c.rho, c.one_minus_rho, c.least_square);
    at.put(r.p + i, fma(broadcast(-c.lr), delta, p));
  }
};

// Chen et al., "Symbolic Discovery of Optimization Algorithms" (2023).
struct Lion {
  template <class T, class L>
  RANVIER_INLINE void apply(const OptimizerRun<T>& r, const LionNumbers<T>& c, int64_t i, L at) {
    const vec<T> p = at.get(r.p + i), g = gradient(r, c, i, at, p), old = at.get(r.states[0] + i);
    const vec<T> direction = fma(broadcast(c.one_minus_beta1), g - old, old), one = broadcast(T(1));
    const vec<T> sign = select(direction > 0, one, select(direction < 0, -one, direction));  // NaN stays
    update_mean(r.states[0] + i, at, g, c.one_minus_beta2);
    at.put(r.p + i, fma(broadcast(-c.lr), sign, broadcast(c.shrink) * p));
  }
};

template <class Rule, class T, class Numbers>
static void update(const OptimizerRun<T>& run, const Numbers& numbers) {
  const OptimizerRun<T> r = run;  // copies: the stores below cannot change them
  const Numbers c = numbers;
  // Aligned to the first state, as the others are, or to the parameter.
  int some = before_aligned<lanes<T>>(r.states[0] ? r.states[0] : r.p, r.n);
  int64_t i = 0;
  for (bool last = false;; last = true) {
    if (some) Rule::apply(r, c, i, Lanes<false>{some});
    if (last) return;
    for (i += some; i + lanes<T> <= r.n; i += lanes<T>) Rule::apply(r, c, i, Lanes<true>{});
    some = static_cast<int>(r.n - i);
  }
}

}  // namespace ranvier::RANVIER_ISA
