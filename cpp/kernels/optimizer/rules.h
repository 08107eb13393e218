// The update rules on contiguous elements, for one ISA level.
//
// Each is written on one vector; the last elements go through the same code on padded lanes.
#pragma once
#include "kernels/optimizer/optimizer.h"
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

// Sutskever et al., "On the importance of initialization and momentum in deep learning" (2013), in PyTorch's
// form: the learning rate multiplies the whole velocity.
struct Sgd {
  template <class T, class L>
  RANVIER_INLINE void apply(const OptimizerRun<T>& r, const SgdNumbers<T>& c, int64_t i, L at) {
    const vec<T> p = at.get(r.p + i);
    vec<T> g = at.get(r.g + i);
    if (c.maximize) g = -g;
    if (c.weight_decay != 0) g = fma(broadcast(c.weight_decay), p, g);
    if (T* velocity = r.states[0]) {
      const vec<T> old = at.get(velocity + i);
      const vec<T> v = c.first ? g : fma(broadcast(c.momentum), old, broadcast(c.one_minus_dampening) * g);
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
    const vec<T> p = at.get(r.p + i);
    vec<T> g = at.get(r.g + i);
    if (c.maximize) g = -g;
    if (c.weight_decay != 0) g = fma(broadcast(c.weight_decay), p, g);
    const vec<T> square =
        fma(broadcast(c.one_minus_alpha) * g, g, broadcast(c.alpha) * at.get(r.states[0] + i));
    at.put(r.states[0] + i, square);
    vec<T> variance = square;
    if (T* mean = r.states[2]) {
      const vec<T> old = at.get(mean + i);
      const vec<T> m = fma(broadcast(c.one_minus_alpha), g - old, old);
      at.put(mean + i, m);
      variance = fma(-m, m, square);
    }
    vec<T> direction = g / (sqrt(variance) + broadcast(c.eps));
    if (T* velocity = r.states[1]) {
      direction = fma(broadcast(c.momentum), at.get(velocity + i), direction);
      at.put(velocity + i, direction);
    }
    at.put(r.p + i, fma(broadcast(-c.lr), direction, p));
  }
};

// Kingma and Ba, "Adam" (2015); AMSGrad: Reddi et al. (2018); decoupled decay: Loshchilov and Hutter (2019).
struct Adam {
  template <class T, class L>
  RANVIER_INLINE void apply(const OptimizerRun<T>& r, const AdamNumbers<T>& c, int64_t i, L at) {
    const vec<T> p = broadcast(c.shrink) * at.get(r.p + i);
    vec<T> g = at.get(r.g + i);
    if (c.maximize) g = -g;
    if (c.weight_decay != 0) g = fma(broadcast(c.weight_decay), p, g);
    const vec<T> old = at.get(r.states[0] + i);
    const vec<T> m = fma(broadcast(c.one_minus_beta1), g - old, old);
    vec<T> v = fma(broadcast(c.one_minus_beta2) * g, g, broadcast(c.beta2) * at.get(r.states[1] + i));
    at.put(r.states[0] + i, m);
    at.put(r.states[1] + i, v);
    if (T* largest = r.states[2]) {
      v = max(at.get(largest + i), v);
      at.put(largest + i, v);
    }
    const vec<T> denominator = fma(sqrt(v), broadcast(c.root_correction), broadcast(c.eps));
    at.put(r.p + i, fma(broadcast(-c.step_size), m / denominator, p));
  }
};

template <class Rule, class T, class Numbers>
static void update(const OptimizerRun<T>& run, const Numbers& numbers) {
  const OptimizerRun<T> r = run;  // copies: the stores below cannot change them
  const Numbers c = numbers;
  int64_t i = 0;
  for (; i + lanes<T> <= r.n; i += lanes<T>) Rule::apply(r, c, i, Lanes<true>{});
  if (i < r.n) Rule::apply(r, c, i, Lanes<false>{static_cast<int>(r.n - i)});
}

}  // namespace ranvier::RANVIER_ISA
