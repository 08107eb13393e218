// erf. Included by math.h.
#pragma once

#include "simd/math_exp.h"

namespace ranvier::RANVIER_ISA {

// |x| <= 1: erf(x) = x + x P(x^2), relative error 2^-29.6 (float), 2^-62.7 (double).
RANVIER_INLINE vec<float> erf_small(vec<float> square) {
  return polynomial(square, 0x1.06eba8p-3f, -0x1.81273ep-2f, 0x1.ce2cf8p-4f, -0x1.b7f90ep-6f, 0x1.5405b2p-8f,
                    -0x1.a3f702p-11f, 0x1.496a36p-14f);
}
RANVIER_INLINE vec<double> erf_small(vec<double> square) {
  return polynomial(square, 0x1.06eba8214db69p-3, -0x1.812746b0379e6p-2, 0x1.ce2f21a042b20p-4,
                    -0x1.b82ce3128499cp-6, 0x1.565bcd0db02cap-8, -0x1.c02db3d8ecdf0p-11,
                    0x1.f9a321a11681bp-14, -0x1.f4d1df38c9cf5p-17, 0x1.b9def197fda05p-20,
                    -0x1.5f1d369414b6ep-23, 0x1.f7a41069f0629p-27, -0x1.386abbd18cecdp-30,
                    0x1.05799ea0e812cp-34);
}

// erfc(x) for 1 <= x, which is 0 beside 1 from the limit on. float: a polynomial in x - 2.46, absolute
// error 2^-25.0. double: exp(-x^2) W(t), t = (x - 2) / (x + 2), absolute error 2^-61.2.
RANVIER_INLINE vec<float> erfc_large(vec<float> x) {
  return polynomial(at_most(x, 3.92f) - 2.46f, 0x1.07e360p-11f, -0x1.5c2710p-9f, 0x1.ac53eap-8f,
                    -0x1.423524p-7f, 0x1.448fb8p-7f, -0x1.bd7dbep-8f, 0x1.846edap-9f, -0x1.e49d8cp-12f,
                    -0x1.9a2158p-12f, 0x1.3c5428p-12f, -0x1.b16a38p-15f, -0x1.aa7b74p-16f, 0x1.322d8ep-17f);
}
RANVIER_INLINE vec<double> erfc_large(vec<double> x) {
  x = at_most(x, 6.0);
  const vec<double> w =
      polynomial((x - 2.0) / (x + 2.0), 0x1.058671b52c776p-2, -0x1.b57034efd3f70p-2, 0x1.eeea7dc8a77c6p-3,
                 -0x1.437f0b68c3bd4p-4, 0x1.e9471598bd8a2p-9, 0x1.ca95ed72d9592p-8, -0x1.bc25a0d2c37f8p-11,
                 -0x1.016b70393977dp-10, 0x1.6d4d98f68abeap-15, 0x1.6daace2e2c93cp-13, 0x1.d04f5a5e488f7p-16,
                 -0x1.c8f0beb834be9p-16, -0x1.e50bf0d8124d9p-17, -0x1.9b42c6c91afb6p-20);
  return exp(-x * x) * w;
}

template <class V>
RANVIER_INLINE V erf(V x) {
  using T = element_of<V>;
  const V size = abs(x);
  const V large = T(1) - erfc_large(size);
  const V small = fma(size, erf_small(size * size), size);
  return copysign(select(size < T(1), small, large), x);
}

}  // namespace ranvier::RANVIER_ISA
