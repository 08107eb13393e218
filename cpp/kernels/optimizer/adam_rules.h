// Adam and the rules that share its running means, on contiguous elements, for one ISA level.
#pragma once
#include "kernels/optimizer/root.h"
#include "kernels/optimizer/rules.h"

namespace ranvier::RANVIER_ISA {

// What every one of them begins with: the parameter after decoupled weight decay, the gradient and its mean.
template <class T>
struct AdamStart {
  vec<T> p, g, mean;
};

template <class T>
RANVIER_INLINE AdamStart<T> start_adam(const OptimizerRun<T>& r, const AdamNumbers<T>& c, int64_t i) {
  const vec<T> p = broadcast(c.shrink) * load(r.p + i), g = gradient(r, c, i, p);
  return {p, g, update_mean(r.states[0] + i, g, c.one_minus_beta1)};
}

// Kingma and Ba, "Adam" (2015); AMSGrad: Reddi et al. (2018); decoupled decay: Loshchilov and Hutter (2019).
struct Adam {
  template <class T>
  RANVIER_INLINE void apply(const OptimizerRun<T>& r, const AdamNumbers<T>& c, int64_t i) {
    const auto [p, g, m] = start_adam(r, c, i);
    vec<T> v = update_square(r.states[1] + i, g, c.beta2, c.one_minus_beta2, c.least_square);
    if (T* largest = r.states[2]) {
      v = max(load(largest + i), v);
      store(largest + i, v);
    }
    const vec<T> denominator = fma(root<T>(v, i / lanes<T>), broadcast(c.root_correction), broadcast(c.eps));
    store(r.p + i, fma(broadcast(-c.step_size), m / denominator, p));
  }
};

// Section 7 of Kingma and Ba (2015): the largest gradient, forgotten exponentially, in the place of the root.
struct Adamax {
  template <class T>
  RANVIER_INLINE void apply(const OptimizerRun<T>& r, const AdamNumbers<T>& c, int64_t i) {
    const auto [p, g, m] = start_adam(r, c, i);
    const vec<T> largest = max(broadcast(c.beta2) * load(r.states[1] + i), abs(g) + broadcast(c.eps));
    store(r.states[1] + i, largest);
    store(r.p + i, fma(broadcast(-c.step_size), m / largest, p));
  }
};

// Dozat, "Incorporating Nesterov Momentum into Adam" (2016).
struct Nadam {
  template <class T>
  RANVIER_INLINE void apply(const OptimizerRun<T>& r, const AdamNumbers<T>& c, int64_t i) {
    const auto [p, g, m] = start_adam(r, c, i);
    const vec<T> v = update_square(r.states[1] + i, g, c.beta2, c.one_minus_beta2, c.least_square);
    const vec<T> denominator = fma(sqrt(v), broadcast(c.root_correction), broadcast(c.eps));
    const vec<T> direction = fma(broadcast(c.step_size), m, broadcast(c.gradient_size) * g);
    store(r.p + i, p - direction / denominator);
  }
};

// Liu et al., "On the Variance of the Adaptive Learning Rate and Beyond" (2020).
struct Radam {
  template <class T>
  RANVIER_INLINE void apply(const OptimizerRun<T>& r, const AdamNumbers<T>& c, int64_t i) {
    const auto [p, g, m] = start_adam(r, c, i);
    const vec<T> v = update_square(r.states[1] + i, g, c.beta2, c.one_minus_beta2, c.least_square);
    const vec<T> direction = c.rectified ? m / (sqrt(v) + broadcast(c.eps)) : m;
    store(r.p + i, fma(broadcast(-c.step_size), direction, p));
  }
};

}  // namespace ranvier::RANVIER_ISA
