// erf. Included by math.h. The general way is one polynomial for |x| <= 1 and one for larger |x|; where there
// are table lookups (RANVIER_HAS_LOOKUP, AVX-512), erf of float has a polynomial for each of 16 intervals.
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

// erfc(x) for x >= 1; beyond the limit (at_most) it is so small that 1 - erfc(x) rounds to 1. float: a
// polynomial in x - 2.46, absolute error 2^-25.0. double: exp(-x^2) W(t), t = (x - 2) / (x + 2), absolute
// error 2^-61.2.
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

#if RANVIER_HAS_LOOKUP
// One register of 16 floats holds a coefficient for 16 intervals around the nodes i / 4: erf(i/4 + d) =
// erf(i/4) + d q(d), and near 0 d + d q(d). q has degree 4, relative error 2^-25.4.
static constexpr float erf_nodes[16] = {0.0f,           0x1.1af54ep-2f, 0x1.0a7ef6p-1f, 0x1.6c1c98p-1f,
                                        0x1.af767ap-1f, 0x1.d8865ep-1f, 0x1.eea556p-1f, 0x1.f92d08p-1f,
                                        0x1.fd9ae2p-1f, 0x1.ff4048p-1f, 0x1.ffcaa8p-1f, 0x1.fff2d0p-1f,
                                        0x1.fffd1ap-1f, 0x1.ffff70p-1f, 0x1.ffffe8p-1f, 0x1.fffffcp-1f};
static constexpr float erf_slopes[5][16] = {
    {0x1.06eba8p-3f, 0x1.0f5d18p+0f, 0x1.c1efccp-1f, 0x1.492e44p-1f, 0x1.a911f2p-2f, 0x1.e46530p-3f,
     0x1.e72372p-4f, 0x1.b0552ep-5f, 0x1.529b9cp-6f, 0x1.d4143ap-8f, 0x1.1d831ap-9f, 0x1.3360dap-11f,
     0x1.240908p-13f, 0x1.e9b650p-16f, 0x1.6a5a00p-18f, 0x1.d9385ep-21f},
    {0.0f, -0x1.0f5bfcp-2f, -0x1.c1ee6ap-2f, -0x1.edc4a6p-2f, -0x1.a91210p-2f, -0x1.2ebfd4p-2f,
     -0x1.6d5ba6p-3f, -0x1.7a4b88p-4f, -0x1.529bbap-5f, -0x1.074a1ap-6f, -0x1.64deecp-8f, -0x1.a6995ap-10f,
     -0x1.b5f860p-12f, -0x1.8dc5bap-14f, -0x1.3ceaacp-16f, -0x1.bb5cdap-19f},
    {-0x1.812650p-2f, -0x1.3c9ce6p-2f, -0x1.2bfcfcp-3f, 0x1.b6c3eep-6f, 0x1.1b5f6ap-3f, 0x1.571cf4p-3f,
     0x1.1c2adcp-3f, 0x1.714a82p-4f, 0x1.8b0cbap-5f, 0x1.63f01ep-6f, 0x1.119c72p-7f, 0x1.69c998p-9f,
     0x1.9da982p-11f, 0x1.9a8c7cp-13f, 0x1.62abdcp-15f, 0x1.0b4560p-17f},
    {0.0f, 0x1.024390p-3f, 0x1.74b91ep-3f, 0x1.3368f0p-3f, 0x1.1bc870p-4f, -0x1.756186p-8f, -0x1.69e94ap-5f,
     -0x1.887386p-5f, -0x1.1a1666p-5f, -0x1.39b148p-6f, -0x1.1c885cp-7f, -0x1.afc8f6p-9f, -0x1.160302p-10f,
     -0x1.328b28p-12f, -0x1.23307ap-14f, -0x1.deab58p-17f},
    {0x1.cb9bf4p-4f, 0x1.4b8268p-4f, 0x1.0cc868p-7f, -0x1.adef86p-5f, -0x1.19985ep-4f, -0x1.81fb68p-5f,
     -0x1.ec74a2p-7f, 0x1.a5ec1ep-8f, 0x1.a994fep-7f, 0x1.5c90f8p-7f, 0x1.91f8c6p-8f, 0x1.6bc2a2p-9f,
     0x1.0d930ep-10f, 0x1.4e6fb2p-12f, 0x1.5fd400p-14f, 0x1.3c8590p-16f}};

RANVIER_INLINE vec<float> erf(vec<float> x) {
  constexpr float nearest_quarter = 0x1.8p21f;  // added: rounds to a multiple of 1/4, kept in the last bits
  const vec<float> size = abs(x);
  const vec<float> rounded = size + nearest_quarter;
  const vec<float> d = size - (rounded - nearest_quarter);
  const ivec<float> node = bits(rounded);
  vec<float> q = lookup(erf_slopes[4], node);
  for (int k = 3; k >= 0; --k) q = fma(q, d, lookup(erf_slopes[k], node));
  const vec<float> y = fma(d, q, select(size <= 0.125f, d, lookup(erf_nodes, node)));
  return copysign(select(size >= 3.875f, broadcast(1.0f), y), x);
}
#endif

template <class V>
RANVIER_INLINE V erf(V x) {
  using T = element_of<V>;
  const V size = abs(x);
  const V large = T(1) - erfc_large(size);
  const V small = fma(size, erf_small(size * size), size);
  return copysign(select(size < T(1), small, large), x);
}

}  // namespace ranvier::RANVIER_ISA
