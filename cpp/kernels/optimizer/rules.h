// The update rules on contiguous elements, for one ISA level.
//
// Each is written on one whole vector of elements that begin at i; update.h takes it over the arrays.
#pragma once
#include <limits>

#include "kernels/optimizer/kernels.h"
#include "simd/vec.h"

namespace ranvier::RANVIER_ISA {

// What the rules follow: the gradient, downwards where maximize climbs, and the pull of weight decay.
template <class T>
RANVIER_INLINE vec<T> gradient(const OptimizerRun<T>& r, const GradientNumbers<T>& c, int64_t i,
                               typename VecOf<T>::type p) {
  vec<T> g = load(r.g + i);
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
template <class T>
RANVIER_INLINE vec<T> update_mean(T* mean, typename VecOf<T>::type g, T weight) {
  const vec<T> old = load(mean), m = without_subnormals<T>(fma(broadcast(weight), g - old, old));
  store(mean, m);
  return m;
}

// square = beta square + one_minus_beta g^2; 0 below least
template <class T>
RANVIER_INLINE vec<T> update_square(T* square, typename VecOf<T>::type g, T beta, T one_minus_beta, T least) {
  const vec<T> v = from(least, fma(broadcast(one_minus_beta) * g, g, broadcast(beta) * load(square)));
  store(square, v);
  return v;
}

// Sutskever et al., "On the importance of initialization and momentum in deep learning" (2013), in PyTorch's
// form: the learning rate multiplies the whole velocity.
struct Sgd {
  template <class T>
  RANVIER_INLINE void apply(const OptimizerRun<T>& r, const SgdNumbers<T>& c, int64_t i) {
    const vec<T> p = load(r.p + i);
    vec<T> g = gradient(r, c, i, p);
    if (T* velocity = r.states[0]) {
      const vec<T> old = load(velocity + i);
      const vec<T> next = fma(broadcast(c.momentum), old, broadcast(c.one_minus_dampening) * g);
      const vec<T> v = without_subnormals<T>(c.first ? g : next);
      store(velocity + i, v);
      g = c.nesterov ? fma(broadcast(c.momentum), v, g) : v;
    }
    store(r.p + i, fma(broadcast(-c.lr), g, p));
  }
};

// Tieleman and Hinton, lecture 6.5 of "Neural Networks for Machine Learning" (2012); centered: Graves (2013).
struct Rmsprop {
  template <class T>
  RANVIER_INLINE void apply(const OptimizerRun<T>& r, const RmspropNumbers<T>& c, int64_t i) {
    const vec<T> p = load(r.p + i), g = gradient(r, c, i, p);
    vec<T> variance = update_square(r.states[0] + i, g, c.alpha, c.one_minus_alpha, c.least_square);
    if (T* mean = r.states[2]) {
      const vec<T> m = update_mean(mean + i, g, c.one_minus_alpha);
      variance = fma(-m, m, variance);
    }
    vec<T> direction = g / (sqrt(variance) + broadcast(c.eps));
    if (T* velocity = r.states[1]) {
      direction = without_subnormals<T>(fma(broadcast(c.momentum), load(velocity + i), direction));
      store(velocity + i, direction);
    }
    store(r.p + i, fma(broadcast(-c.lr), direction, p));
  }
};

// Duchi, Hazan and Singer, "Adaptive Subgradient Methods" (2011).
struct Adagrad {
  template <class T>
  RANVIER_INLINE void apply(const OptimizerRun<T>& r, const AdagradNumbers<T>& c, int64_t i) {
    const vec<T> p = load(r.p + i), g = gradient(r, c, i, p);
    const vec<T> sum = fma(g, g, load(r.states[0] + i));
    store(r.states[0] + i, sum);
    store(r.p + i, fma(broadcast(-c.lr), g / (sqrt(sum) + broadcast(c.eps)), p));
  }
};

// Zeiler, "ADADELTA: An Adaptive Learning Rate Method" (2012).
struct Adadelta {
  template <class T>
  RANVIER_INLINE void apply(const OptimizerRun<T>& r, const AdadeltaNumbers<T>& c, int64_t i) {
    const vec<T> p = load(r.p + i), g = gradient(r, c, i, p), eps = broadcast(c.eps);
    const vec<T> square = update_square(r.states[0] + i, g, c.rho, c.one_minus_rho, c.least_square);
    const vec<T> delta = sqrt(load(r.states[1] + i) + eps) / sqrt(square + eps) * g;
    update_square(r.states[1] + i, delta, c.rho, c.one_minus_rho, c.least_square);
    store(r.p + i, fma(broadcast(-c.lr), delta, p));
  }
};

// Riedmiller and Braun, "A direct adaptive method for faster backpropagation learning" (1993). Where the sign
// has changed, the element stays and the next step has no sign to compare with.
struct Rprop {
  template <class T>
  RANVIER_INLINE void apply(const OptimizerRun<T>& r, const RpropNumbers<T>& c, int64_t i) {
    const vec<T> p = load(r.p + i), g = gradient(r, c, i, p), zero{}, one = broadcast(T(1));
    const vec<T> product = g * load(r.states[0] + i);
    const vec<T> old = c.first ? broadcast(c.lr) : load(r.states[1] + i);
    const vec<T> grown = select(product > 0, broadcast(c.etaplus) * old, old);
    vec<T> size = select(product < 0, broadcast(c.etaminus) * old, grown);
    size = select(size < broadcast(c.least), broadcast(c.least), size);
    size = select(size > broadcast(c.most), broadcast(c.most), size);
    const vec<T> kept = select(product < 0, zero, g);
    const vec<T> sign = select(kept > 0, one, select(kept < 0, -one, zero));  // of NaN: 0, as in PyTorch
    store(r.states[0] + i, kept);
    store(r.states[1] + i, size);
    store(r.p + i, fma(-sign, size, p));
  }
};

// Polyak and Juditsky, "Acceleration of stochastic approximation by averaging" (1992), in PyTorch's form.
struct Asgd {
  template <class T>
  RANVIER_INLINE void apply(const OptimizerRun<T>& r, const AsgdNumbers<T>& c, int64_t i) {
    const vec<T> old = load(r.p + i), g = gradient(r, c, i, old);
    const vec<T> p = fma(broadcast(-c.eta), g, broadcast(c.shrink) * old), mean = load(r.states[0] + i);
    store(r.states[0] + i, c.mu == 1 ? p : fma(broadcast(c.mu), p - mean, mean));
    store(r.p + i, p);
  }
};

// Chen et al., "Symbolic Discovery of Optimization Algorithms" (2023).
struct Lion {
  template <class T>
  RANVIER_INLINE void apply(const OptimizerRun<T>& r, const LionNumbers<T>& c, int64_t i) {
    const vec<T> p = load(r.p + i), g = gradient(r, c, i, p), old = load(r.states[0] + i);
    const vec<T> direction = fma(broadcast(c.one_minus_beta1), g - old, old), one = broadcast(T(1));
    const vec<T> sign = select(direction > 0, one, select(direction < 0, -one, direction));  // NaN stays
    update_mean(r.states[0] + i, g, c.one_minus_beta2);
    store(r.p + i, fma(broadcast(-c.lr), sign, broadcast(c.shrink) * p));
  }
};

}  // namespace ranvier::RANVIER_ISA
