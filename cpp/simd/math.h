// Elementary functions on vec<float> and vec<double>: exp, expm1, log, log1p, sigmoid, tanh, erf, sin, cos,
// pow. float: within 2 ulp of the exact result for every float32, including subnormal results, overflow,
// infinities, NaN and signed zeros. double: within 2 ulp (pow 4) in samples. docs/accuracy.md has the
// measured errors of every level and the command that reproduces them.
//
// Polynomials are minimax, found by a Remez exchange in 45-digit arithmetic, weighted so that the error is
// relative to the result of the function; the comment beside each polynomial gives this error before
// rounding. No result depends on FMA being fused: constants that multiply an integer have trailing zero bits,
// so that the product is exact at the level without FMA, too.
#pragma once

#include "simd/math_erf.h"
#include "simd/math_exp.h"
#include "simd/math_log.h"
#include "simd/math_pow.h"
#include "simd/math_tanh.h"
#include "simd/math_trig.h"
