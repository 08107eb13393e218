// The part of vec.h that other levels write with intrinsics, for CPUs without a level of their own: plain
// loops over the lanes, which the compiler turns into instructions of the CPU. Included by vec.h.
#pragma once

#include "simd/bounded.h"
#include "simd/scale.h"

namespace ranvier::RANVIER_ISA {

RANVIER_INLINE vec<float> fma(vec<float> a, vec<float> b, vec<float> c) {
#if RANVIER_HAS_FMA
  for (int i = 0; i < lanes<float>; ++i) c[i] = __builtin_fmaf(a[i], b[i], c[i]);
  return c;
#else
  return a * b + c;
#endif
}
RANVIER_INLINE vec<double> fma(vec<double> a, vec<double> b, vec<double> c) {
#if RANVIER_HAS_FMA
  for (int i = 0; i < lanes<double>; ++i) c[i] = __builtin_fma(a[i], b[i], c[i]);
  return c;
#else
  return a * b + c;
#endif
}

RANVIER_INLINE vec<float> sqrt(vec<float> v) {
  for (int i = 0; i < lanes<float>; ++i) v[i] = __builtin_sqrtf(v[i]);
  return v;
}
RANVIER_INLINE vec<double> sqrt(vec<double> v) {
  for (int i = 0; i < lanes<double>; ++i) v[i] = __builtin_sqrt(v[i]);
  return v;
}

// Adding and subtracting 2^23 (2^52) rounds to an integer; larger values are integers already.
RANVIER_INLINE vec<float> round_even(vec<float> v) {
  const vec<float> size = (vec<float>)((ivec<float>)v & INT32_MAX);
  const vec<float> r = (size + 0x1p23f) - 0x1p23f;
  const vec<float> rounded = (vec<float>)((ivec<float>)r | ((ivec<float>)v & INT32_MIN));
  return size < 0x1p23f ? rounded : v;
}
RANVIER_INLINE vec<double> round_even(vec<double> v) {
  const vec<double> size = (vec<double>)((ivec<double>)v & INT64_MAX);
  const vec<double> r = (size + 0x1p52) - 0x1p52;
  const vec<double> rounded = (vec<double>)((ivec<double>)r | ((ivec<double>)v & INT64_MIN));
  return size < 0x1p52 ? rounded : v;
}
RANVIER_INLINE vec<float> round_down(vec<float> v) {
  for (int i = 0; i < lanes<float>; ++i) v[i] = __builtin_floorf(v[i]);
  return v;
}
RANVIER_INLINE vec<double> round_down(vec<double> v) {
  for (int i = 0; i < lanes<double>; ++i) v[i] = __builtin_floor(v[i]);
  return v;
}

// b where either lane is NaN.
RANVIER_INLINE vec<float> maximum(vec<float> a, vec<float> b) { return a > b ? a : b; }
RANVIER_INLINE vec<double> maximum(vec<double> a, vec<double> b) { return a > b ? a : b; }
RANVIER_INLINE vec<float> minimum(vec<float> a, vec<float> b) { return a < b ? a : b; }
RANVIER_INLINE vec<double> minimum(vec<double> a, vec<double> b) { return a < b ? a : b; }

RANVIER_INLINE bool any(ivec<float> mask) {
  int32_t found = 0;
  for (int i = 0; i < lanes<float>; ++i) found |= mask[i];
  return found != 0;
}
RANVIER_INLINE bool any(ivec<double> mask) {
  int64_t found = 0;
  for (int i = 0; i < lanes<double>; ++i) found |= mask[i];
  return found != 0;
}

}  // namespace ranvier::RANVIER_ISA
