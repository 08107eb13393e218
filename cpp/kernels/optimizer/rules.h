// The update rules on contiguous elements, for one ISA level.
//
// Each is written on one whole vector of elements that begin at i; optimizer.isa.cpp takes it over the
// arrays.
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

// sqrt(v), which leaves the divider of the processor to the divisions beside it. A rule that takes a root and
// a division of each element waits for the divider, which makes both. At v4 one vector in four gets its root
// from multiplications instead: Newton's step on an estimate with 14 bits, and one on the remainder, which
// rounds as the instruction does (Markstein, "Computation of elementary functions on the IBM RISC System/6000
// processor", 1990). Compared with the instruction for each float from 2^-100 on. number: which vector of the
// row this is.
template <class T>
RANVIER_INLINE vec<T> root(vec<T> v, int64_t number) {
#if RANVIER_VECTOR_BYTES == 64 && defined(__AVX512F__)
  if constexpr (sizeof(T) == sizeof(float)) {
    if (number & 3) return sqrt(v);
    const __m512i bits = (__m512i)v, smallest = _mm512_set1_epi32(0x0d800000);  // 2^-100
    const __m512i range = _mm512_set1_epi32(0x7f800000 - 0x0d800000);
    const __mmask16 nonzero = _mm512_test_epi32_mask(bits, bits);
    // Left to the instruction, by one unsigned comparison of the bits: numbers below 2^-100, whose remainder
    // is not exact, negative ones, infinity and NaN. The root of 0 is 0, by the mask.
    if (__builtin_expect(_mm512_mask_cmpge_epu32_mask(nonzero, _mm512_sub_epi32(bits, smallest), range), 0))
      return sqrt(v);
    const vec<float> estimate = _mm512_maskz_rsqrt14_ps(all16, v), half = broadcast(0.5f);
    vec<float> y = v * estimate, h = half * estimate;  // near sqrt(v) and 1 / (2 sqrt(v))
    const vec<float> error = fma(-y, h, half);
    y = fma(y, error, y), h = fma(h, error, h);
    return _mm512_maskz_fmadd_ps(nonzero, fma(-y, y, v), h, y);
  }
#endif
  (void)number;
  return sqrt(v);
}

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
