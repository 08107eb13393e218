// What several update rules (rules.h) share, for one ISA level: the gradient with weight decay, running
// means, the square root of Adam, and the first part of Adam's variants.
#pragma once
#include <math.h>

#include <limits>
#include <type_traits>

#include "kernels/optimizer/kernels.h"
#include "simd/vec.h"

namespace ranvier::RANVIER_ISA {

// The settings of a rule as its class, whose members are all doubles.
template <class Rule>
static const Rule& settings_of(const double* settings) {
  static_assert(std::is_standard_layout_v<Rule> && sizeof(Rule) % sizeof(double) == 0);
  return *reinterpret_cast<const Rule*>(settings);
}

// The gradient that the rules follow, with the sign changed for maximize, plus the term of weight decay.
template <class T>
struct Gradient {
  bool maximize;
  T weight_decay;

  Gradient(double maximize, double weight_decay) : maximize(maximize != 0), weight_decay(weight_decay) {}
  RANVIER_INLINED vec<T> operator()(const OptimizerRun<T>& r, int64_t i, vec<T> p) const {
    vec<T> g = load(r.g + i);
    if (maximize) g = -g;
    if (weight_decay != 0) g = fma(broadcast(weight_decay), p, g);
    return g;
  }
};

// x, but 0 where |x| is below `least`. A running mean of gradients that are all 0 shrinks to a subnormal
// number and then stays subnormal, since beta times the smallest subnormal number is rounded to itself. Some
// processors take 150 cycles for a vector with a subnormal number.
template <class T>
RANVIER_INLINE vec<T> from(T least, typename VecOf<T>::type x) {
  return select(abs(x) < broadcast(least), vec<T>{}, x);  // NaN stays
}

template <class T>
RANVIER_INLINE vec<T> without_subnormals(typename VecOf<T>::type x) {
  return from(std::numeric_limits<T>::min(), x);
}

// A running mean: mean = beta mean + (1 - beta) g.
template <class T>
struct Mean {
  T beta, one_minus_beta;
  T least = 0;  // a mean of squares below it becomes 0

  explicit Mean(double beta) : beta(beta), one_minus_beta(1 - beta) {}
  // For a mean of squares to whose square root eps is added. `least` is the smallest normal number if eps is
  // so large that the difference is rounded away, even if the root is multiplied by 32, as in Adam's first
  // step. With a smaller eps, setting a mean to 0 could change a result, or make it a division by 0, so
  // `least` stays 0.
  Mean(double beta, double eps) : Mean(beta) {
    constexpr T normal = std::numeric_limits<T>::min();
    if (32 * ::sqrt(double(normal)) < eps * std::numeric_limits<T>::epsilon() / 4) least = normal;
  }

  // mean += (1 - beta) (g - mean)
  RANVIER_INLINED vec<T> operator()(T* mean, vec<T> g) const {
    const vec<T> old = load(mean);
    const vec<T> m = without_subnormals<T>(fma(broadcast(one_minus_beta), g - old, old));
    store(mean, m);
    return m;
  }
  // square = beta square + (1 - beta) g^2
  RANVIER_INLINED vec<T> of_squares(T* square, vec<T> g) const {
    const vec<T> v = from(least, fma(broadcast(one_minus_beta) * g, g, broadcast(beta) * load(square)));
    store(square, v);
    return v;
  }
};

// sqrt(v), for rules that take a square root and a division of each element. The processor has one unit for
// both, and waits for it. So at level v4 one vector in four gets its root from multiplications instead: one
// Newton step on an estimate of 14 bits, and one step on the remainder, which rounds as the instruction does
// (Markstein, "Computation of elementary functions on the IBM RISC System/6000 processor", 1990). The result
// was compared with the instruction for every float from 2^-100 on. number: the number of the vector in the
// row.
template <class T>
RANVIER_INLINE vec<T> root(vec<T> v, int64_t number) {
#if RANVIER_VECTOR_BYTES == 64 && defined(__AVX512F__)
  if constexpr (sizeof(T) == sizeof(float)) {
    if (number & 3) return sqrt(v);
    const __m512i bits = (__m512i)v;
    const __m512i smallest = _mm512_set1_epi32(0x0d800000);  // 2^-100
    const __m512i range = _mm512_set1_epi32(0x7f800000 - 0x0d800000);
    const __mmask16 nonzero = _mm512_test_epi32_mask(bits, bits);
    // One unsigned comparison of the bits finds numbers that are left to the instruction: those below 2^-100,
    // whose remainder is not exact, negative ones, infinity and NaN. The root of 0 becomes 0 by the mask.
    if (__builtin_expect(_mm512_mask_cmpge_epu32_mask(nonzero, _mm512_sub_epi32(bits, smallest), range), 0))
      return sqrt(v);
    const vec<float> estimate = _mm512_maskz_rsqrt14_ps(all16, v);
    const vec<float> half = broadcast(0.5f);
    vec<float> y = v * estimate;
    vec<float> h = half * estimate;  // near sqrt(v) and 1 / (2 sqrt(v))
    const vec<float> error = fma(-y, h, half);
    y = fma(y, error, y);
    h = fma(h, error, h);
    return _mm512_maskz_fmadd_ps(nonzero, fma(-y, y, v), h, y);
  }
#endif
  (void)number;
  return sqrt(v);
}

// What Adam and its variants do first: decoupled weight decay, the gradient and its running mean (states[0]).
template <class T>
struct Moments {
  Gradient<T> gradient;
  Mean<T> mean, square;
  T shrink;  // 1 - lr weight_decay where the decay is decoupled, else 1

  template <class Settings>
  Moments(const Settings& s, double decoupled)
      : gradient(s.maximize, decoupled ? 0 : s.weight_decay),
        mean(s.beta1),
        square(s.beta2, s.eps),
        shrink(decoupled ? 1 - s.lr * s.weight_decay : 1) {}

  struct Start {
    vec<T> p, g, mean;
  };
  RANVIER_INLINED Start start(const OptimizerRun<T>& r, int64_t i) const {
    const vec<T> p = broadcast(shrink) * load(r.p + i);
    const vec<T> g = gradient(r, i, p);
    return {p, g, mean(r.states[0] + i, g)};
  }
};

}  // namespace ranvier::RANVIER_ISA
