// The part of vec.h that needs intrinsics, where a vec of 32 bytes is two registers of Advanced SIMD (level
// aarch64-as-v3). Included by vec.h.
#pragma once

#include <arm_neon.h>

#include "simd/bounded.h"
#include "simd/scale.h"

namespace ranvier::RANVIER_ISA {

template <class Register>
struct Pair128 {
  Register half[2];
};
template <class Register, class V>
RANVIER_INLINE Pair128<Register> halves(V v) {
  Pair128<Register> pair;
  __builtin_memcpy(&pair, &v, sizeof v);
  return pair;
}

// f of the lower halves of all arguments, then f of the upper halves, as one vector.
template <class Register, class F, class V, class... More>
RANVIER_INLINE V by_register(const F& f, V v, More... more) {
  const Pair128<Register> pair{{f(halves<Register>(v).half[0], halves<Register>(more).half[0]...),
                                f(halves<Register>(v).half[1], halves<Register>(more).half[1]...)}};
  __builtin_memcpy(&v, &pair, sizeof v);
  return v;
}

RANVIER_INLINE vec<float> fma(vec<float> a, vec<float> b, vec<float> c) {
  return by_register<float32x4_t>([](auto x, auto y, auto z) { return vfmaq_f32(z, x, y); }, a, b, c);
}
RANVIER_INLINE vec<double> fma(vec<double> a, vec<double> b, vec<double> c) {
  return by_register<float64x2_t>([](auto x, auto y, auto z) { return vfmaq_f64(z, x, y); }, a, b, c);
}

RANVIER_INLINE vec<float> sqrt(vec<float> v) {
  return by_register<float32x4_t>([](auto x) { return vsqrtq_f32(x); }, v);
}
RANVIER_INLINE vec<double> sqrt(vec<double> v) {
  return by_register<float64x2_t>([](auto x) { return vsqrtq_f64(x); }, v);
}

RANVIER_INLINE vec<float> round_even(vec<float> v) {
  return by_register<float32x4_t>([](auto x) { return vrndnq_f32(x); }, v);
}
RANVIER_INLINE vec<double> round_even(vec<double> v) {
  return by_register<float64x2_t>([](auto x) { return vrndnq_f64(x); }, v);
}

RANVIER_INLINE vec<float> round_down(vec<float> v) {
  return by_register<float32x4_t>([](auto x) { return vrndmq_f32(x); }, v);
}
RANVIER_INLINE vec<double> round_down(vec<double> v) {
  return by_register<float64x2_t>([](auto x) { return vrndmq_f64(x); }, v);
}

// b where either lane is NaN, and b of two zeros, as on x86-64.
RANVIER_INLINE vec<float> maximum(vec<float> a, vec<float> b) {
  return by_register<float32x4_t>([](auto x, auto y) { return x > y ? x : y; }, a, b);
}
RANVIER_INLINE vec<double> maximum(vec<double> a, vec<double> b) {
  return by_register<float64x2_t>([](auto x, auto y) { return x > y ? x : y; }, a, b);
}
RANVIER_INLINE vec<float> minimum(vec<float> a, vec<float> b) {
  return by_register<float32x4_t>([](auto x, auto y) { return x < y ? x : y; }, a, b);
}
RANVIER_INLINE vec<double> minimum(vec<double> a, vec<double> b) {
  return by_register<float64x2_t>([](auto x, auto y) { return x < y ? x : y; }, a, b);
}

RANVIER_INLINE bool any(ivec<float> mask) {
  const auto pair = halves<uint32x4_t>(mask);
  return vmaxvq_u32(pair.half[0] | pair.half[1]) != 0;
}
RANVIER_INLINE bool any(ivec<double> mask) {
  const auto pair = halves<uint32x4_t>(mask);
  return vmaxvq_u32(pair.half[0] | pair.half[1]) != 0;
}

}  // namespace ranvier::RANVIER_ISA
