// The part of vec.h that needs intrinsics, on Armv8-A's Advanced SIMD (level aarch64). Included by vec.h.
#pragma once

#include <arm_neon.h>

#include "simd/bounded.h"
#include "simd/scale.h"

namespace ranvier::RANVIER_ISA {

RANVIER_INLINE vec<float> fma(vec<float> a, vec<float> b, vec<float> c) {
  return (vec<float>)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
}
RANVIER_INLINE vec<double> fma(vec<double> a, vec<double> b, vec<double> c) {
  return (vec<double>)vfmaq_f64((float64x2_t)c, (float64x2_t)a, (float64x2_t)b);
}

RANVIER_INLINE vec<float> sqrt(vec<float> v) { return (vec<float>)vsqrtq_f32((float32x4_t)v); }
RANVIER_INLINE vec<double> sqrt(vec<double> v) { return (vec<double>)vsqrtq_f64((float64x2_t)v); }

RANVIER_INLINE vec<float> round_even(vec<float> v) { return (vec<float>)vrndnq_f32((float32x4_t)v); }
RANVIER_INLINE vec<double> round_even(vec<double> v) { return (vec<double>)vrndnq_f64((float64x2_t)v); }
RANVIER_INLINE vec<float> round_down(vec<float> v) { return (vec<float>)vrndmq_f32((float32x4_t)v); }
RANVIER_INLINE vec<double> round_down(vec<double> v) { return (vec<double>)vrndmq_f64((float64x2_t)v); }

// b where either lane is NaN, and b of two zeros, as on x86-64. The instruction FMAX would give NaN and +0.
RANVIER_INLINE vec<float> maximum(vec<float> a, vec<float> b) { return a > b ? a : b; }
RANVIER_INLINE vec<double> maximum(vec<double> a, vec<double> b) { return a > b ? a : b; }
RANVIER_INLINE vec<float> minimum(vec<float> a, vec<float> b) { return a < b ? a : b; }
RANVIER_INLINE vec<double> minimum(vec<double> a, vec<double> b) { return a < b ? a : b; }

RANVIER_INLINE bool any(ivec<float> mask) { return vmaxvq_u32((uint32x4_t)mask) != 0; }
RANVIER_INLINE bool any(ivec<double> mask) { return vmaxvq_u32((uint32x4_t)mask) != 0; }

}  // namespace ranvier::RANVIER_ISA
