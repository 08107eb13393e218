// scale_by_power for levels without the scalef instruction of AVX-512: v 2^n for the exponentials of
// math_exp.h. Included by the headers of these levels, which vec.h includes.
#pragma once

namespace ranvier::RANVIER_ISA {

// v * 2^n for integral n, |n| < 250 (float) or < 2000 (double), and v near 1. The power is applied as two
// factors, because 2^n may not be representable; only the second product can round.
RANVIER_INLINE vec<float> scale_by_power(vec<float> v, vec<float> n) {
  const vec<float> half = (n * 0.5f + 0x1.8p23f) - 0x1.8p23f;
  return v * power_of_two(half) * power_of_two(n - half);
}
RANVIER_INLINE vec<double> scale_by_power(vec<double> v, vec<double> n) {
  const vec<double> half = (n * 0.5 + 0x1.8p52) - 0x1.8p52;
  return v * power_of_two(half) * power_of_two(n - half);
}

}  // namespace ranvier::RANVIER_ISA
