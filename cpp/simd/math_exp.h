// exp, expm1, sigmoid, and forms of exp for special uses (exp_beside_1, exp_or_0, quick_exp). Included by
// math.h.
//
// All write x = n ln 2 + r with |r| <= ln 2 / 2, so that exp(x) = 2^n exp(r), and exp(r) = 1 + r + r^2 q(r).
// With RANVIER_HAS_LOOKUP (AVX-512) an instruction scales by 2^n, and doubles use a table of eighths.
#pragma once

#include "simd/math_base.h"

namespace ranvier::RANVIER_ISA {

// q(r) = (exp(r) - 1 - r) / r^2; error relative to expm1(r): 2^-31.9 (float), 2^-61.6 (double).
RANVIER_INLINE vec<float> exp_tail(vec<float> r) {
  return polynomial(r, 0x1p-1f, 0x1.555556p-3f, 0x1.5554a8p-5f, 0x1.11108ap-7f, 0x1.6d7b7ap-10f,
                    0x1.a1a9aap-13f);
}
RANVIER_INLINE vec<double> exp_tail(vec<double> r) {
  return polynomial(r, 0x1p-1, 0x1.5555555555559p-3, 0x1.555555555555bp-5, 0x1.111111110f484p-7,
                    0x1.6c16c16c140fcp-10, 0x1.a01a01b0db96bp-13, 0x1.a01a01b1bdfb7p-16,
                    0x1.71ddf5abbc585p-19, 0x1.27e4c370a945ap-22, 0x1.af63bc4a2949cp-26,
                    0x1.1f98c16126f7ep-29);
}

// The same where the result is added to 1, so that fewer terms suffice: error relative to exp(r) 2^-27.6
// (float).
RANVIER_INLINE vec<float> exp_tail_beside_1(vec<float> r) {
  return polynomial(r, 0x1p-1f, 0x1.5554a8p-3f, 0x1.55547ep-5f, 0x1.122d8ep-7f, 0x1.6da0b2p-10f);
}
RANVIER_INLINE vec<double> exp_tail_beside_1(vec<double> r) { return exp_tail(r); }

template <class T>
struct ExpRange;
template <>
struct ExpRange<float> {
  // exp(x) is 0 below low, subnormal below normal, and infinite above high. expm1(x) is -1 below low_m1, and
  // x if |x| is below tiny. tanh is 1 above tanh.
  static constexpr float low = -106, normal = -87, high = 89, low_m1 = -20, tanh = 10, tiny = 0x1p-26f;
};
template <>
struct ExpRange<double> {
  static constexpr double low = -747, normal = -708, high = 710, low_m1 = -40, tanh = 20, tiny = 0x1p-55;
};

template <class V>
struct ReducedExp {  // x = n ln 2 + r + r_lo
  V n, r, r_lo;
};

// x_lo: a part of the argument below the last bit of x.
template <class V>
RANVIER_INLINE ReducedExp<V> reduce_by_ln2(V x, V x_lo = V{}) {
  using T = element_of<V>;
  const V n = round_even(x * T(1.44269504088896340736));
  const V coarse = fma(n, broadcast(-Ln2<T>::hi), x);  // exact
  const V low = fma(n, broadcast(-Ln2<T>::lo), x_lo);
  const V r = coarse + low;
  return {n, r, (coarse - r) + low};
}

#if RANVIER_HAS_LOOKUP
// exp(x) for x within ExpRange (in_range) or any x. For any x the scaling by 2^n gives 0, infinity and NaN,
// and r is limited to stay finite.
template <bool in_range>
RANVIER_INLINE vec<float> exp_of(vec<float> x) {
  constexpr float round = 0x1.8p23f;  // added: rounds to an integer
  const vec<float> n = fma(x, broadcast(1.44269504088896340736f), broadcast(round)) - round;
  const vec<float> coarse = fma(n, broadcast(-Ln2<float>::hi), x);
  const vec<float> one = broadcast(1.0f);
  const vec<float> rest = fma(n, broadcast(-Ln2<float>::lo), coarse);
  const vec<float> r = in_range ? rest : within_1(rest);
  return scale_by_power(fma(fma(exp_tail_beside_1(r), r, one), r, one), n);
}

// For double, x = n ln 2 + r where 8 n is an integer: exp(x) = 2^floor(n) 2^(n - floor(n)) exp(r). The last
// bits of `eighths` are the index of the second factor in the table. |r| <= ln 2 / 16 needs half as many
// terms; error of q relative to exp(r): 2^-57.
static constexpr double powers_of_eighths[8] = {0x1p+0,
                                                0x1.172b83c7d517bp+0,
                                                0x1.306fe0a31b715p+0,
                                                0x1.4bfdad5362a27p+0,
                                                0x1.6a09e667f3bcdp+0,
                                                0x1.8ace5422aa0dbp+0,
                                                0x1.ae89f995ad3adp+0,
                                                0x1.d5818dcfba487p+0};
// The rounding error of 2^(e / 8), divided by it.
static constexpr double lost_of_eighths[8] = {0.0,
                                              -0x1.01b15eaa59348p-55,
                                              0x1.34d754db0abb6p-55,
                                              0x1.690cebb7aafb0p-56,
                                              -0x1.3b3efbf5e2229p-54,
                                              0x1.db72fc1f0eab4p-55,
                                              0x1.c1a7792cb3386p-55,
                                              0x1.4a385a63d07a7p-56};
// q(r) = (exp(r) - 1 - r) / r^2 for |r| <= ln 2 / 16.
RANVIER_INLINE vec<double> exp_tail_of_eighth(vec<double> r) {
  return polynomial(r, 0x1.0000000000115p-1, 0x1.55555555555d0p-3, 0x1.555555471342cp-5, 0x1.1111110abad2dp-7,
                    0x1.6c1d00cea5f11p-10, 0x1.a01f8f4b1a4c5p-13);
}
template <bool in_range>
RANVIER_INLINE vec<double> exp_of(vec<double> x) {
  constexpr double round = 0x1.8p49;  // its last bit is an eighth
  const vec<double> eighths = fma(x, broadcast(1.44269504088896340736), broadcast(round));
  const vec<double> n = eighths - round;
  const vec<double> coarse = fma(n, broadcast(-Ln2<double>::hi), x);  // exact
  const vec<double> rest = fma(n, broadcast(-Ln2<double>::lo), coarse);
  const vec<double> r = in_range ? rest : within_1(rest);
  const vec<double> q = exp_tail_of_eighth(r);
  const vec<double> power = lookup(powers_of_eighths, bits(eighths));
  return scale_by_power(fma(power, fma(r * r, q, r), power), n);  // by 2^floor(n)
}

// exp(x) for x within ExpRange with an error of 0.6 ulp: r has the rounding error of the table's number, too.
RANVIER_INLINE vec<double> accurate_exp(vec<double> x) {
  typedef vec<double> V;
  constexpr double round = 0x1.8p49;  // as in exp_of
  const V eighths = fma(x, broadcast(1.44269504088896340736), broadcast(round));
  const V n = eighths - round;
  const V coarse = fma(n, broadcast(-Ln2<double>::hi), x);
  const V r = coarse + fma(n, broadcast(-Ln2<double>::lo), lookup(lost_of_eighths, bits(eighths)));
  const V power = lookup(powers_of_eighths, bits(eighths));
  return scale_by_power(fma(power, fma(r * r, exp_tail_of_eighth(r), r), power), n);
}

// exp(x + x_lo) as a sum, of which hi is the rounded number, for x within ExpRange; error 2^-56. lo is 0
// where the result is subnormal.
RANVIER_INLINE Pair<vec<double>> exp_pair(vec<double> x, vec<double> x_lo) {
  typedef vec<double> V;
  constexpr double round = 0x1.8p49;  // as in exp_of
  const V eighths = fma(x, broadcast(1.44269504088896340736), broadcast(round));
  const V n = eighths - round;
  const V coarse = fma(n, broadcast(-Ln2<double>::hi), x);
  const V low = fma(n, broadcast(-Ln2<double>::lo), lookup(lost_of_eighths, bits(eighths)) + x_lo);
  const V r = coarse + low;
  const V power = lookup(powers_of_eighths, bits(eighths));
  const V change = fma(r * r, exp_tail_of_eighth(r), r);
  const V hi = fma(power, change, power);
  return {scale_by_power(hi, n), scale_by_power(fma(power, change, power - hi), n)};
}

template <class V>
RANVIER_INLINE V exp_in_range(V x) {
  return exp_of<true>(x);
}
template <class V>
RANVIER_INLINE V exp(V x) {
  return exp_of<false>(x);
}
#else
// exp(x) = 2^n p, where the last bits of `power` are n + bias; see exp_parts() of float below.
template <class V>
struct ExpParts {
  V p;
  ivec<element_of<V>> power;
};
template <int bias>
RANVIER_INLINE ExpParts<vec<double>> exp_parts(vec<double> x) {
  constexpr double round = 0x1.8p52 + bias;
  const vec<double> power = fma(x, broadcast(1.44269504088896340736), broadcast(round));
  const vec<double> n = power - round;
  const vec<double> coarse = fma(n, broadcast(-Ln2<double>::hi), x);
  const vec<double> r = fma(n, broadcast(-Ln2<double>::lo), coarse);
  return {fma(r * r, exp_tail_beside_1(r), r) + 1.0, bits(power)};
}
RANVIER_INLINE vec<double> exp_in_range(vec<double> x) {
  const auto [p, power] = exp_parts<2 * 1023>(x);
  const uvec<double> whole = (uvec<double>)power;
  const uvec<double> half = whole >> 1;  // unsigned: those of a NaN are large
  return p * from_bits((ivec<double>)(half << 52)) * from_bits((ivec<double>)((whole - half) << 52));
}

// exp(x + x_lo) = (hi + lo) first second for x within ExpRange, error 2^-55 before the factors, which are
// powers of two.
struct ScaledExp {
  vec<double> hi, lo, first, second;
};
RANVIER_INLINE ScaledExp scaled_exp(vec<double> x, vec<double> x_lo) {
  typedef vec<double> V;
  constexpr double round = 0x1.8p52 + 2 * 1023;
  const V power = fma(x, broadcast(1.44269504088896340736), broadcast(round));
  const V n = power - round;
  const V coarse = fma(n, broadcast(-Ln2<double>::hi), x);
  const V low = fma(n, broadcast(-Ln2<double>::lo), x_lo);
  const V r = coarse + low;
  const V change = fma(r * r, exp_tail_beside_1(r), r) + ((coarse - r) + low);
  const V hi = change + 1.0;
  const uvec<double> whole = (uvec<double>)bits(power);
  const uvec<double> half = whole >> 1;
  return {hi, (1.0 - hi) + change, from_bits((ivec<double>)(half << 52)),
          from_bits((ivec<double>)((whole - half) << 52))};
}

// exp(x) for x within ExpRange with an error of 0.7 ulp.
RANVIER_INLINE vec<double> accurate_exp(vec<double> x) {
  const auto e = scaled_exp(x, vec<double>{});
  return e.hi * e.first * e.second;
}

// exp(x + x_lo) as a sum, of which hi is the rounded number, for x within ExpRange. lo is 0 where the result
// is subnormal.
RANVIER_INLINE Pair<vec<double>> exp_pair(vec<double> x, vec<double> x_lo) {
  const auto e = scaled_exp(x, x_lo);
  return {e.hi * e.first * e.second, e.lo * e.first * e.second};
}
#endif

// exp(-|x|)
template <class V>
RANVIER_INLINE V exp_of_minus_size(V x) {
  return exp_in_range(at_least(-abs(x), ExpRange<element_of<V>>::low));
}

#if !RANVIER_HAS_LOOKUP
// The parts of exp(x) = 2^n p without an instruction that scales by a power of two. The last bits of `power`
// are n + bias; a shift by 23 makes 2^(n + bias - 127) of them.
template <int bias>
RANVIER_INLINE ExpParts<vec<float>> exp_parts(vec<float> x) {
  constexpr float round = 0x1.8p23f + bias;  // added: rounds to an integer, kept in the last bits
  const vec<float> power = fma(x, broadcast(1.44269504088896340736f), broadcast(round));
  const vec<float> n = power - round;
  const vec<float> coarse = fma(n, broadcast(-Ln2<float>::hi), x);
  const vec<float> one = broadcast(1.0f);
  const vec<float> r = fma(n, broadcast(-Ln2<float>::lo), coarse);
  const vec<float> q = exp_tail_beside_1(r);
  return {RANVIER_HAS_FMA ? fma(fma(q, r, one), r, one) : fma(r * r, q, r) + one, bits(power)};
}

// 2^n is applied in two factors, since 2^n may overflow or be subnormal where the result is not.
RANVIER_INLINE vec<float> exp_in_range(vec<float> x) {
  const auto [p, power] = exp_parts<2 * 127>(x);
  const uvec<float> whole = (uvec<float>)power;
  const uvec<float> half = whole >> 1;  // unsigned: those of a NaN are large
  return p * from_bits((ivec<float>)(half << 23)) * from_bits((ivec<float>)((whole - half) << 23));
}

RANVIER_INLINE vec<float> exp_of_minus_size(vec<float> x) {
  const auto [p, power] = exp_parts<127 + 64>(at_least(-abs(x), ExpRange<float>::low));
  return p * from_bits(power << 23) * 0x1p-64f;
}

template <class V>
RANVIER_INLINE V exp(V x) {
  using T = element_of<V>;
  return exp_in_range(at_most(at_least(x, ExpRange<T>::low), ExpRange<T>::high));
}
#endif

// quick_exp: the same bits as exp, for loops whose time is mostly exp. A vector without extreme numbers needs
// no limits, and one factor for 2^n; other vectors go out of line.
template <class V>
static __attribute__((noinline)) V exp_out_of_line(V x) {
  return exp(x);
}
template <class V>
RANVIER_INLINE V quick_exp(V x) {
#if RANVIER_HAS_FMA && !RANVIER_HAS_LOOKUP
  using T = element_of<V>;
  if (__builtin_expect(any(~(abs(x) < -ExpRange<T>::normal)), 0)) return exp_out_of_line(x);
  const auto [p, power] = exp_parts<0>(x);
  // Unsigned: the sums of lanes that a caller does not use may overflow.
  return from_bits((ivec<T>)((uvec<T>)bits(p) + ((uvec<T>)power << (sizeof(T) == 4 ? 23 : 52))));
#else
  return exp(x);
#endif
}

// exp(x) for x <= 0 or NaN, where the result is added to 1. Results below exp(ExpRange::normal) are replaced
// by that number, since neither changes the bits of the sum.
template <class V>
RANVIER_INLINE V exp_beside_1(V x) {
  return exp_in_range(at_least(x, ExpRange<element_of<V>>::normal));
}

// exp(x) for x up to ExpRange::high. Lanes whose result is 0 do not underflow in the computation, as they
// would in exp: an Intel processor takes about 150 cycles for a vector with such a lane, for example in a row
// of masked scores.
template <class V>
RANVIER_INLINE V exp_or_0(V x) {
  const auto vanishes = x <= ExpRange<element_of<V>>::low;
  return select(vanishes, V{}, exp_in_range(select(vanishes, V{}, x)));
}

// half_expm1: (exp(x) - 1) / 2 = half expm1(r) + half - 1/2, where half = 2^(n - 1), since 2^n would overflow
// before expm1 does. The result is a sum: the first term is the larger, the second has what rounding the
// first has lost. For x within ExpRange, from low_m1 on.
#if RANVIER_HAS_LOOKUP
// halves_of_eighths: the bits of 2^(e / 8) / 2 for the eighths e = 0 to 7, less what the shifted bits of
// `eighths` add to them.
static constexpr double halves_of_eighths[8] = {0x1p-1,
                                                0x1.f72b83c7d517bp-2,
                                                0x1.f06fe0a31b715p-2,
                                                0x1.ebfdad5362a27p-2,
                                                0x1.ea09e667f3bcdp-2,
                                                0x1.eace5422aa0dbp-2,
                                                0x1.ee89f995ad3adp-2,
                                                0x1.f5818dcfba487p-2};

RANVIER_INLINE Pair<vec<double>> half_expm1(vec<double> x) {
  typedef vec<double> V;
  constexpr double round = 0x1.8p49;  // its last bit is an eighth
  const V eighths = fma(x, broadcast(1.44269504088896340736), broadcast(round));
  const V n = eighths - round;
  const V coarse = fma(n, broadcast(-Ln2<double>::hi), x);  // exact
  const V low = fma(n, broadcast(-Ln2<double>::lo), lookup(lost_of_eighths, bits(eighths)));
  const V r = coarse + low;
  // Error of q relative to expm1(r) 2^-61.5.
  const V q = polynomial(r, 0x1p-1, 0x1.555555555555cp-3, 0x1.55555555553d5p-5, 0x1.1111110b1fd67p-7,
                         0x1.6c16c175f02abp-10, 0x1.a01f56e3c36d9p-13, 0x1.a019d48cdd74bp-16);
  const auto half_of_eighth = (uvec<double>)bits(lookup(halves_of_eighths, bits(eighths)));
  const V half = from_bits((ivec<double>)(half_of_eighth + ((uvec<double>)bits(eighths) << 49)));
  const V rest = half - 0.5;
  const V main = fma(half, coarse, rest);
  return {main, fma(half, fma(r * r, q, low), fma(half, coarse, rest - main))};
}
#else
template <class V>
RANVIER_INLINE Pair<V> half_expm1(V x) {
  using T = element_of<V>;
  constexpr bool is_double = sizeof(T) == 8;
  constexpr T round = is_double ? T(0x1.8p52 + 1022) : T(0x1.8p23 + 126);  // power's last bits: n + bias
  const V power = fma(x, broadcast(T(1.44269504088896340736)), broadcast(round));
  const V n = power - round;
  const V coarse = fma(n, broadcast(-Ln2<T>::hi), x);  // exact
  const V low = n * -Ln2<T>::lo;
  const V r = coarse + low;
  const V half = from_bits(bits(power) << (is_double ? 52 : 23));
  const V rest = half - T(0.5);
  const V main = fma(half, coarse, rest);
  return {main, fma(half, fma(r * r, exp_tail(r), low), fma(half, coarse, rest - main))};
}
#endif

RANVIER_INLINE vec<double> expm1(vec<double> x) {
  using R = ExpRange<double>;
  const auto [main, tail] = half_expm1(at_most(at_least(x, R::low_m1), R::high));
  const vec<double> half = main + tail;
  return select(abs(x) < R::tiny, x, half + half);  // keeps -0 and subnormals
}

// For float the error of r need not be added: it is at most half an ulp of the result, since |expm1| is at
// least 0.29 where n is not 0.
RANVIER_INLINE vec<float> expm1(vec<float> x) {
  typedef vec<float> V;
  using R = ExpRange<float>;
  constexpr float round = 0x1.8p23f + 126;
  const V limited = at_most(at_least(x, R::low_m1), R::high);
  const V power = fma(limited, broadcast(1.44269504088896340736f), broadcast(round));
  const V n = power - round;
  const V coarse = fma(n, broadcast(-Ln2<float>::hi), limited);  // exact
  const V r = fma(n, broadcast(-Ln2<float>::lo), coarse);
  const V half = from_bits(bits(power) << 23);
  const V y = fma(half, fma(r * r, exp_tail(r), r), half - 0.5f);
  return select(abs(x) < R::tiny, x, y + y);
}

// 1 / (1 + exp(-x)) = exp(x) / (1 + exp(x)): the form whose exponential cannot overflow. e = exp(-|x|).
// Rounding d = 1 + e loses `lost`, which would lower y by y lost / d; where this matters, d is near 1, so y
// lost is subtracted.
RANVIER_INLINE vec<float> sigmoid(vec<float> x) {
  typedef vec<float> V;
  const V one = broadcast(1.0f);
  const V e = exp_of_minus_size(x);
  const V top = select(bits(x) < 0, e, one);
  const V d = e + 1.0f;
  const V lost = e - (d - 1.0f);
  const V y = top / d;
  return fma(-lost, y, y);
}

// For double the quotient is corrected by all that its roundings have lost, over d, which is between 1 and 2:
// 1 / d is 1.457 - d / 2 within 5 %.
RANVIER_INLINE vec<double> sigmoid(vec<double> x) {
  typedef vec<double> V;
  const V e = accurate_exp(at_least(-abs(x), ExpRange<double>::low));
  const V top = select(bits(x) < 0, e, broadcast(1.0));
  const V d = e + 1.0;
  const V lost = e - (d - 1.0);
  const V y = top / d;
  const V rest = RANVIER_HAS_FMA ? fma(-y, d, top) : V{};  // exact
  return fma(fma(-lost, y, rest), fma(d, broadcast(-0.5), broadcast(1.457)), y);
}

}  // namespace ranvier::RANVIER_ISA
