// log, log1p. Included by math.h.
//
// x = 2^e (1 + f) with 1 + f in [sqrt(1/2), sqrt(2)). With s = f / (2 + f) and z = s^2,
// log(1 + f) = 2 atanh(s) = 2 s + s R(z) = f - f^2/2 + s (f^2/2 + R(z)),  R(z) = z Q(z).
// With RANVIER_HAS_LOOKUP (AVX-512) log and log1p use tables instead, see below.
#pragma once

#include "simd/math_base.h"

namespace ranvier::RANVIER_ISA {

// Q(z) = 2/3 + 2/5 z + 2/7 z^2 + ...; error relative to the logarithm: 2^-30.2 (float), 2^-59.4 (double).
RANVIER_INLINE vec<float> log_tail(vec<float> z) {
  return polynomial(z, 0x1.55557cp-1f, 0x1.995d9ap-2f, 0x1.32041cp-2f);
}
RANVIER_INLINE vec<double> log_tail(vec<double> z) {
  return polynomial(z, 0x1.5555555555597p-1, 0x1.999999997e52ap-2, 0x1.2492494367cd6p-2, 0x1.c71c50c45a0c4p-3,
                    0x1.7466858cf3020p-3, 0x1.399a3b68c131fp-3, 0x1.2f5488f680e31p-3);
}

// fraction: bits of the fraction. bias: the offset of the exponent. shift: 2^fraction. tiny: below it
// log1p(x) = x, since the next term, x^2 / 2, is less than half a bit of x.
template <class T>
struct FloatBits;
template <>
struct FloatBits<float> {
  static constexpr int fraction = 23, bias = 127;
  static constexpr int32_t sqrt_half = 0x3f3504f3;  // bits of sqrt(1/2)
  static constexpr float smallest_normal = 0x1p-126f, shift = 0x1p23f, tiny = 0x1p-26f;
};
template <>
struct FloatBits<double> {
  static constexpr int fraction = 52, bias = 1023;
  static constexpr int64_t sqrt_half = 0x3fe6a09e667f3bcd;
  static constexpr double smallest_normal = 0x1p-1022, shift = 0x1p52, tiny = 0x1p-55;
};

template <class V>
struct SplitFloat {  // x = 2^exponent * significand, significand in [sqrt(1/2), sqrt(2))
  V exponent, significand;
};

// A mask of the lanes that are not positive normal numbers: zero, negative, subnormal, infinite or NaN.
template <class V>
RANVIER_INLINE ivec<element_of<V>> is_unusual(V x) {
  using T = element_of<V>;
  using U = uvec<T>;
  constexpr auto one = int_of<T>(1) << FloatBits<T>::fraction;
  constexpr auto normals = 2 * FloatBits<T>::bias * one;
  return (ivec<T>)((U)bits(x) - (U)(ivec<T>{} + one) >= (U)(ivec<T>{} + normals));
}

// Splits positive normal x. For 64-bit lanes AVX2 has no arithmetic shift and no conversion to double: there
// the exponent is combined by "or" with the fraction of 2^52.
template <class V>
RANVIER_INLINE SplitFloat<V> split_float(V x) {
  using T = element_of<V>;
  using F = FloatBits<T>;
  using U = uvec<T>;
  constexpr auto one = int_of<T>(1) << F::fraction;
  // Unsigned, since the differences of NaN and negative numbers wrap around; their logarithms are replaced
  // later.
  const ivec<T> past = (ivec<T>)((U)bits(x) - (U)(ivec<T>{} + F::sqrt_half));
  const V significand = from_bits((past & (one - 1)) + F::sqrt_half);
  if constexpr (sizeof(T) == 4) {
    return {to_float(past >> F::fraction), significand};
  } else {
    const U biased = ((U)past + (U)(ivec<T>{} + F::bias * one)) >> F::fraction;
    return {from_bits((ivec<T>)biased | bits(broadcast(F::shift))) - (F::shift + F::bias), significand};
  }
}

// Splits positive x, which may be subnormal: such x is scaled to a normal number first.
template <class V>
RANVIER_INLINE SplitFloat<V> split_subnormal_too(V x) {
  using T = element_of<V>;
  using F = FloatBits<T>;
  const auto small = x < F::smallest_normal;
  SplitFloat<V> s = split_float(select(small, x * F::shift, x));
  s.exponent -= select(small, broadcast(T(F::fraction)), V{});
  return s;
}

// exponent * ln 2 + log(1 + f) + correction.
template <class V>
RANVIER_INLINE V log_of(V exponent, V f, V correction) {
  using T = element_of<V>;
  const V s = f / (f + T(2));
  const V z = s * s;
  const V half_square = f * f * T(0.5);
  const V low = fma(exponent, broadcast(Ln2<T>::lo), correction);
  const V tail = fma(s, fma(z, log_tail(z), half_square), low);
  return fma(exponent, broadcast(Ln2<T>::hi), f - (half_square - tail));
}

#if RANVIER_HAS_LOOKUP
// With AVX-512 two registers hold a table of 32 floats or 16 doubles. x = 2^e m with m in [1, 2), which is
// divided into 32 (16) parts. For each part the tables have c and -log(c) = high + low. Then log(x) =
// e ln 2 - log(c) + log(1 + r) with r = c m - 1.
//   c: the inverse of the part's middle to the nearest multiple of 1/64 (1/32), so few bits that r is exact;
//     1 in the first part, so that log(1) and numbers just above are exact.
//   high: -log(c) to a multiple of 2^-17 (2^-41), as ln2.hi is one, so that e ln2.hi + high is exact. Just
//     below x = 1, where c is 1/2, it cancels to 0.
//   low: the rest.
// clang-format off
static constexpr float log_inverses[32] = {
    0x1p+0f, 0x1.e8p-1f, 0x1.d8p-1f, 0x1.dp-1f, 0x1.cp-1f, 0x1.b8p-1f, 0x1.a8p-1f, 0x1.ap-1f, 0x1.98p-1f,
    0x1.88p-1f, 0x1.8p-1f, 0x1.78p-1f, 0x1.7p-1f, 0x1.68p-1f, 0x1.6p-1f, 0x1.58p-1f, 0x1.5p-1f, 0x1.48p-1f,
    0x1.48p-1f, 0x1.4p-1f, 0x1.38p-1f, 0x1.3p-1f, 0x1.3p-1f, 0x1.28p-1f, 0x1.2p-1f, 0x1.2p-1f, 0x1.18p-1f,
    0x1.1p-1f, 0x1.1p-1f, 0x1.08p-1f, 0x1.08p-1f, 0x1p-1f};
static constexpr float log_high[32] = {
    0.0f, 0x1.895p-5f, 0x1.4d3p-4f, 0x1.9338p-4f, 0x1.1178p-3f, 0x1.366p-3f, 0x1.823cp-3f, 0x1.a94p-3f,
    0x1.d104p-3f, 0x1.1178p-2f, 0x1.2696p-2f, 0x1.3c26p-2f, 0x1.522ap-2f, 0x1.68acp-2f, 0x1.7fbp-2f,
    0x1.973ap-2f, 0x1.af52p-2f, 0x1.c8p-2f, 0x1.c8p-2f, 0x1.e148p-2f, 0x1.fb36p-2f, 0x1.0ae7p-1f,
    0x1.0ae7p-1f, 0x1.188fp-1f, 0x1.2696p-1f, 0x1.2696p-1f, 0x1.3503p-1f, 0x1.43dap-1f, 0x1.43dap-1f,
    0x1.5323p-1f, 0x1.5323p-1f, 0x1.62e4p-1f};
static constexpr float log_low[32] = {
    0.0f, -0x1.57ad82p-19f, 0x1.15d208p-20f, -0x1.0d1536p-19f, 0x1.d044fcp-20f, -0x1.a7f538p-22f,
    0x1.6551a4p-23f, -0x1.2c3752p-19f, -0x1.01b354p-20f, 0x1.d044fcp-19f, 0x1.089a6ep-21f, -0x1.b1199ap-19f,
    0x1.c0e714p-19f, 0x1.07d38ep-19f, -0x1.7109fap-20f, 0x1.a189acp-21f, 0x1.2a491ap-19f, -0x1.8e2eaap-20f,
    -0x1.8e2eaap-20f, 0x1.4344e4p-19f, -0x1.d4216ep-20f, 0x1.b8b416p-19f, 0x1.b8b416p-19f, -0x1.bf0dc4p-21f,
    0x1.089a6ep-20f, 0x1.089a6ep-20f, -0x1.d4989cp-19f, -0x1.a0db88p-26f, -0x1.a0db88p-26f,
    -0x1.d97988p-21f, -0x1.d97988p-21f, 0x1.7f7d1cp-20f};
static constexpr double wide_log_inverses[16] = {
    0x1p+0, 0x1.dp-1, 0x1.cp-1, 0x1.ap-1, 0x1.9p-1, 0x1.8p-1, 0x1.7p-1, 0x1.6p-1, 0x1.5p-1, 0x1.4p-1, 0x1.3p-1,
    0x1.3p-1, 0x1.2p-1, 0x1.1p-1, 0x1.1p-1, 0x1p-1};
static constexpr double wide_log_high[16] = {
    0.0, 0x1.9335e5d598p-4, 0x1.1178e8228p-3, 0x1.a93ed3c8acp-3, 0x1.f991c6cb3cp-3, 0x1.269621134ep-2,
    0x1.522ae0738ap-2, 0x1.7fafa3bd82p-2, 0x1.af5295248cp-2, 0x1.e148a1a272p-2, 0x1.0ae76e2d05p-1,
    0x1.0ae76e2d05p-1, 0x1.269621134ep-1, 0x1.43d9ff2f92p-1, 0x1.43d9ff2f92p-1, 0x1.62e42fefa3p-1};
static constexpr double wide_log_low[16] = {
    0.0, -0x1.b3ba8f150ae0ap-43, -0x1.b8421cc74be04p-43, 0x1.9e36f2bea77a6p-43, -0x1.90d04cd7cc834p-44,
    -0x1.1b61f10522625p-44, 0x1.ebe708164c759p-45, -0x1.5c8243204959ap-43, 0x1.ba0ceab622eeap-43,
    0x1.b36537e3375b2p-44, 0x1.3e90d710fcfc5p-43, 0x1.3e90d710fcfc5p-43, -0x1.1b61f10522625p-43,
    0x1.e267b0b7efae1p-44, 0x1.e267b0b7efae1p-44, 0x1.3de6af278ece6p-42};
// clang-format on

// (log(1 + r) - r) / r^2 for |r| < 1/32 (double: -0.038 < r < 1/16); error relative to r 2^-31.6, 2^-61.3.
RANVIER_INLINE vec<float> log_near_node(vec<float> r) {
  return polynomial(r, -0x1.fffffcp-2f, 0x1.55555p-2f, -0x1.003546p-2f, 0x1.9a0f3p-3f);
}
RANVIER_INLINE vec<double> log_near_node(vec<double> r) {
  return polynomial(r, -0x1.fffffffffffffp-2, 0x1.555555555552ap-2, -0x1.0000000002848p-2,
                    0x1.9999999a246f4p-3, -0x1.55555528bf8b3p-3, 0x1.2492445046789p-3, -0x1.0000838a85be0p-3,
                    0x1.c73f260f62659p-4, -0x1.991fb217dff71p-4, 0x1.49f810d71fd2fp-4);
}

// The entries of the three tables for the part of [1, 2) in which m lies.
template <class V>
struct LogNode {
  V inverse, high, low;
};
RANVIER_INLINE LogNode<vec<float>> log_node(vec<float> m) {
  const ivec<float> i = bits(m) >> 18;
  return {lookup(log_inverses, i), lookup(log_high, i), lookup(log_low, i)};
}
RANVIER_INLINE LogNode<vec<double>> log_node(vec<double> m) {
  const ivec<double> i = bits(m) >> 48;
  return {lookup(wide_log_inverses, i), lookup(wide_log_high, i), lookup(wide_log_low, i)};
}

// e ln 2 - log(c) + log(1 + r)
template <class V>
RANVIER_INLINE V log_from_node(V e, const LogNode<V>& node, V r) {
  using T = element_of<V>;
  const V low = fma(e, broadcast(Ln2<T>::lo), node.low);
  const V high = fma(e, broadcast(Ln2<T>::hi), node.high);
  return high + (r + fma(r * r, log_near_node(r), low));
}

template <class V>
RANVIER_INLINE V log(V x) {
  using T = element_of<V>;
  const V e = exponent_of(x);
  const V m = significand_of(x);  // -inf of 0, NaN of negative numbers
  const auto node = log_node(m);
  return log_from_node(e, node, fma(m, node.inverse, broadcast(T(-1))));
}

template <class V>
RANVIER_INLINE V log1p(V x) {
  using T = element_of<V>;
  const V u = x + T(1);
  const V e = exponent_of(u);
  const V m = significand_of(u);
  const auto node = log_node(m);
  // What rounding 1 + x lost; from the larger of the two the difference is exact.
  const V lost = select(x > T(1), T(1) - (u - x), x - (u - T(1)));
  // c (m + lost / 2^e) - 1
  const V r = fma(scale_by_power(lost, -e), node.inverse, fma(m, node.inverse, broadcast(T(-1))));
  const V y = log_from_node(e, node, r);
  const V infinity = broadcast(Limits<T>::infinity);
  const V inside = select((abs(x) < FloatBits<T>::tiny) | (x == infinity), x, y);  // keeps -0
  return select(x == T(-1), -infinity, inside);
}

// log1p for 0 <= x <= 1. 1 + x = 2 is made the number before it, so that its exponent is 0, too; `lost` makes
// up for that.
RANVIER_INLINE vec<float> log1p_of_part(vec<float> x) {
  const vec<float> m = at_most(x + 1.0f, 0x1.fffffep+0f);
  const vec<float> lost = x - (m - 1.0f);
  const auto node = log_node(m);
  const vec<float> r = fma(lost, node.inverse, fma(m, node.inverse, broadcast(-1.0f)));
  return node.high + (r + fma(r * r, log_near_node(r), node.low));
}
#endif

// log(x) for positive normal x
template <class V>
RANVIER_INLINE V log_of_usual(V x) {
  const auto [exponent, significand] = split_float(x);
  return log_of(exponent, significand - element_of<V>(1), V{});
}

// log(x) for any x, also 0, negative, infinite and NaN
template <class V>
RANVIER_INLINE V log_of_any(V x) {
  using T = element_of<V>;
  const auto [exponent, significand] = split_subnormal_too(x);
  const V y = log_of(exponent, significand - T(1), V{});
  const V infinity = broadcast(Limits<T>::infinity);
  const V outside = select(x == T(0), -infinity, broadcast(Limits<T>::nan));
  return select(x > T(0), select(x < infinity, y, x), outside);
}
template <class V>
static __attribute__((noinline)) V log_out_of_line(V x) {
  return log_of_any(x);
}

// log(x). With FMA, a vector without special numbers is computed without the selections for them, which are
// half of log_of_any(); other vectors go out of line.
template <class V>
RANVIER_INLINE V log_unless_rare(V x) {
  if constexpr (RANVIER_HAS_FMA)
    return __builtin_expect(any(is_unusual(x)), 0) ? log_out_of_line(x) : log_of_usual(x);
  else
    return log_of_any(x);
}

#if !RANVIER_HAS_LOOKUP
template <class V>
RANVIER_INLINE V log(V x) {  // double gains less by log_unless_rare(), not enough for its code
  return sizeof(element_of<V>) == 4 ? log_unless_rare(x) : log_of_any(x);
}

template <class V>
RANVIER_INLINE V log1p(V x) {
  using T = element_of<V>;
  const V u = x + T(1);
  const auto [exponent, significand] = split_float(u);
  // The part of x that rounding 1 + x lost comes back as a first-order correction; with exponent 0, x itself
  // is exact.
  const V lost = select(x > T(1), T(1) - (u - x), x - (u - T(1)));
  const auto near_one = exponent == T(0);
  const V f = select(near_one, x, significand - T(1));
  const V y = log_of(exponent, f, select(near_one, V{}, lost / u));
  const V infinity = broadcast(Limits<T>::infinity);
  const V outside = select(x == T(-1), -infinity, broadcast(Limits<T>::nan));
  const V inside = select(x < infinity, select(abs(x) < FloatBits<T>::tiny, x, y), x);
  return select(x > T(-1), inside, outside);
}
#endif

// log1p for 0 <= x <= 1: of doubles, and of floats without tables.
template <class V>
RANVIER_INLINE V log1p_of_part(V x) {
  return log1p(x);
}

}  // namespace ranvier::RANVIER_ISA
