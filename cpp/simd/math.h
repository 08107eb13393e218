// Elementary functions on vec<float> and vec<double>: exp, expm1, log, log1p, sigmoid, tanh, erf, sin, cos,
// pow. float: within 2 ulp of the exact result for every float32, subnormal results, overflow, infinities,
// NaN and signed zero included; double: within 2 ulp as sampled (pow 4). docs/accuracy.md has the measured
// figures of every level and the command that reproduces them.
//
// Polynomials are minimax, found by a Remez exchange in 45-digit arithmetic, weighted so that the error
// is relative to the function's result; the comment beside each gives that error before rounding.
// Nothing relies on FMA being fused: constants that multiply an integer have trailing zero bits, so that
// the product is exact at the level without FMA too.
#pragma once

#include "simd/math_erf.h"
#include "simd/math_exp.h"
#include "simd/math_log.h"
#include "simd/math_pow.h"
#include "simd/math_tanh.h"
#include "simd/math_trig.h"
