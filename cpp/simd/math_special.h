// erfc, erfinv, lgamma, digamma, trigamma. They are not part of math.h, since few kernels use them.
//
// The polynomials are of the same kind as in math.h. Errors before rounding are relative to the function,
// except for lgamma below 0 and digamma near its zeros, where they are absolute, in units of the terms that
// cancel there.
#pragma once

#include "simd/math.h"

namespace ranvier::RANVIER_ISA {

// Coefficients of double polynomials, lowest first.
static constexpr double erfc_scaled[] = {
    0x1.058671b52c776p+0,   -0x1.5fd386754eff9p-1,  0x1.1e2deea6b1150p-2,   -0x1.2a88e6107cfe0p-5,
    -0x1.606e415521376p-6,  0x1.a89eaff7f84efp-8,   0x1.9517bb69db30dp-9,   -0x1.b6fbf9547e503p-11,
    -0x1.5ba436f31413fp-11, 0x1.2053e33efecbfp-15,  0x1.2ef9ff9774ac6p-13,  0x1.1e7790cff3f4ap-15,
    -0x1.6bfaaafa580b1p-16, -0x1.0e82426a85618p-16, -0x1.2f7a39b663e06p-20, 0x1.ea08c2036b293p-19,
    0x1.0e72045fa9503p-19,  -0x1.6e03fbeb06efcp-27, -0x1.3fa2bb276410fp-21, -0x1.4dae0a09ed38ep-22,
    0x1.cf5e3b44774fap-26,  0x1.b978f4c652d4fp-24,  0x1.200a3129cc91bp-25,  -0x1.506358140aa65p-27,
    -0x1.103c9338b0d2cp-27, -0x1.52c990ccd482bp-30};
static constexpr double erfinv_central[] = {
    0x1.dbd8f2aa5c9c3p+0,   0x1.d3ab9f0b4f5c7p-3,   -0x1.d93d4855e9bc8p-8,  -0x1.abc2a49f8c9cdp-13,
    0x1.f29c0ddb79621p-14,  -0x1.044d0621e86cbp-16, 0x1.0535e25dbbc6ep-21,  0x1.7ca0c47575fdfp-23,
    -0x1.1f378dd14b4adp-25, 0x1.fc89e42e7f3f2p-30,  0x1.3ff40362433f4p-32,  -0x1.3b9ef8e54c596p-34,
    0x1.70d7657e4dc49p-38,  0x1.065a8ea539d59p-41,  -0x1.5a35770715891p-43, 0x1.efbc71d4285f9p-47,
    0x1.7b06adbbed764p-51,  -0x1.77cf78c835a2bp-52, 0x1.4ca20e562608ap-55,  0x1.0069b0900b1efp-61,
    -0x1.cc34cd2832206p-61, 0x1.eb082a13e6a05p-64,  0x1.2cb4c899635f2p-68,  -0x1.5c448bb4aeeeap-69,
    0x1.702e7026e982fp-74,  0x1.cf34f16010b59p-76,  -0x1.3fa87a489287bp-80, -0x1.0c1947a3f9626p-83};
static constexpr double erfinv_tail[] = {
    0x1.aaf1322b93118p+1,  0x1.c34d1d490e3c7p+2,   0x1.cd93d5c44cc81p+2,   0x1.aa901b198fc09p+2,
    0x1.012425f7681f2p+3,  0x1.42f3548da611dp+1,   0x1.4946920a0aebfp+4,   -0x1.63bd6c130708bp+1,
    -0x1.7fc2b953bf408p+6, 0x1.7af3277b07f04p+8,   0x1.474d5732e0ecap+6,   -0x1.8c8342a540855p+11,
    0x1.0146c8c76c6bbp+12, 0x1.15ebb69e71453p+14,  -0x1.5022f34d0e69ep+15, -0x1.45a6fd1643fc2p+16,
    0x1.0e8db40577f0ap+18, 0x1.027c55c809d21p+19,  -0x1.d51aa6b2c663dp+20, -0x1.effca48440176p+21,
    0x1.75df10b60ce5dp+24, -0x1.2e7acbf524942p+25, 0x1.5f12a0a2a5e91p+24};
static constexpr double sine_of_pi[] = {-0x1.a51a6625307d2p+0,  0x1.9f9cb402bc3d9p-1,  -0x1.86a8e47207f66p-3,
                                        0x1.ac6805cb99697p-6,   -0x1.3381695d86fe2p-9, 0x1.3746919e409e9p-13,
                                        -0x1.d3e20e7f5548ap-18, 0x1.06fe13a26a430p-22};
static constexpr double lgamma_near_zeros[] = {
    0x1.eeb95b094c191p-2, -0x1.c0638869c10cfp-2, 0x1.06ce2b0811ac6p-3, -0x1.34d888b7a1ccbp-3,
    0x1.5d697320e0be3p-4, -0x1.7dca512a0027cp-4, 0x1.0570a295a36dep-4, -0x1.1547408be3cb7p-4,
    0x1.a11a1536b8517p-5, -0x1.b3c55a396717dp-5, 0x1.5abd66dd0edabp-5, -0x1.6706bc576af82p-5,
    0x1.28ac1478c6abbp-5, -0x1.315e3faa36814p-5, 0x1.027e5475ff633p-5, -0x1.08ea741dea217p-5,
    0x1.d9ed4661c738ep-6, -0x1.e4afb34fb2241p-6, 0x1.460c60af814ffp-6, -0x1.4a81996dbd9c8p-6,
    0x1.513a3863c747ap-5, -0x1.589d1ec07a16fp-5};
static constexpr double stirling_tail[] = {
    0x1.5555555555554p-4,  -0x1.6c16c16bfc847p-9,  0x1.a01a010266180p-11, -0x1.38132425d0b0bp-11,
    0x1.b935551f1fb90p-11, -0x1.f40db35b41a07p-10, 0x1.903ba07635179p-8,  -0x1.7c3f3d92565d6p-6,
    0x1.52e62ccefe46fp-4,  -0x1.b449a2641a142p-3,  0x1.16fe2d88ea4c8p-2};
static constexpr double digamma_tail[] = {0x1.5555555555535p-4, -0x1.1111110fe7d8cp-7,
                                          0x1.04103a268336ep-8, -0x1.11099d331dc80p-8,
                                          0x1.eccb3f45c3faep-8, -0x1.22538877149ffp-6};
static constexpr double trigamma_tail[] = {0x1.5555555555479p-3, -0x1.1111110d23c85p-5,
                                           0x1.86184a4363427p-6, -0x1.110469ac325dap-5,
                                           0x1.3328843f5eaf6p-4, -0x1.a78c994b1e98dp-3};

// The same as polynomial(x, c...), as a loop, which is less code.
template <int n>
RANVIER_INLINE vec<double> polynomial_of(const double (&c)[n], vec<double> x) {
  vec<double> y = broadcast(c[n - 1]);
  for (int k = n - 2; k >= 0; --k) y = fma(y, x, broadcast(c[k]));
  return y;
}

// The same for even n, as two polynomials in x^2: half as many steps wait for each other.
template <int n>
RANVIER_INLINE vec<double> even_and_odd(const double (&c)[n], vec<double> x) {
  const vec<double> square = x * x;
  vec<double> even = broadcast(c[n - 2]);
  vec<double> odd = broadcast(c[n - 1]);
  for (int k = n - 4; k >= 0; k -= 2) {
    even = fma(even, square, broadcast(c[k]));
    odd = fma(odd, square, broadcast(c[k + 1]));
  }
  return fma(odd, x, even);
}

// Defines a function by its version for doubles, which is out of line. A float is computed as a double and
// rounded once.
#define RANVIER_SPECIAL(name)                                                        \
  RANVIER_INLINE vec<double> name(vec<double> x) { return name##_out_of_line(x); }   \
  RANVIER_INLINE vec<float> name(vec<float> x) {                                     \
    return narrow(name##_out_of_line(widen<0>(x)), name##_out_of_line(widen<1>(x))); \
  }

// erfc(a) for a >= 0 is exp(-a^2) F(t) / (a + node), t = (a - node) / (a + node) (after Shepherd and
// Laframboise, 1981); from `last` on it is 0. With a larger node, F would be steeper at 0, and the error of t
// would matter more there. The error of F is 2^-57.3; the last bits of its coefficients were chosen so that
// erfc(0) is 1 and their rounding costs least, 0.5 ulp.
constexpr double erfc_node = 2, erfc_last = 27.3;
static __attribute__((noinline)) vec<double> erfc_to_be_narrowed(vec<double> x) {
  const vec<double> a = at_most(abs(x), erfc_last);
  const vec<double> inverse = 1.0 / (a + erfc_node);
  const auto square = exact_square(a);
  const vec<double> bell = exp_in_range(-square.hi);
  const vec<double> f = even_and_odd(erfc_scaled, (a - erfc_node) * inverse);
  const vec<double> y = fma(bell, -square.lo, bell) * (f * inverse);
  return select(x < 0.0, 2.0 - y, y);
}
RANVIER_INLINE vec<float> erfc(vec<float> x) {
  return narrow(erfc_to_be_narrowed(widen<0>(x)), erfc_to_be_narrowed(widen<1>(x)));
}

// For double the exponential, F and the quotient are sums of a rounded number and the rest. For |x| < 1/2 it
// is 1 - erf(x).
static __attribute__((noinline)) vec<double> erfc_out_of_line(vec<double> x) {
  typedef vec<double> V;
  const V a = at_most(abs(x), erfc_last);
  const V inverse = 1.0 / (a + erfc_node);
  const auto square = exact_square(a);
  const auto bell = exp_pair(-square.hi, -square.lo);
  const auto bottom = exact_sum(a, broadcast(erfc_node));
  const V t = (a - erfc_node) * inverse;
  const V t_lo = remainder_of(a - erfc_node, t, bottom.hi) * inverse;
  const V t2 = t * t;  // F less its first term, which is the largest
  V even = broadcast(erfc_scaled[24]);
  V odd = broadcast(erfc_scaled[25]);
  for (int k = 22; k > 0; k -= 2) {
    even = fma(even, t2, broadcast(erfc_scaled[k]));
    odd = fma(odd, t2, broadcast(erfc_scaled[k + 1]));
  }
  const V rest = fma(fma(odd, t2, broadcast(erfc_scaled[1])), t, even * t2);
  const V f = rest + erfc_scaled[0];
  const V slope = fma(t, broadcast(2 * erfc_scaled[2]), broadcast(erfc_scaled[1]));  // about that of F
  const V f_lo = fma(slope, t_lo, (erfc_scaled[0] - f) + rest);
  const V q = f * inverse;
  const auto whole = exact_product(q, bottom.hi);
  const V q_lo = (((f - whole.hi) - whole.lo) + fma(-q, bottom.lo, f_lo)) * inverse;
  const V y_lo = fma(bell.hi, q_lo, bell.lo * q);
#if RANVIER_HAS_FMA
  V y = fma(bell.hi, q, y_lo);
#else
  const auto product = exact_product(bell.hi, q);
  V y = product.hi + (product.lo + y_lo);
#endif
  y = select(x < 0.0, 2.0 - y, y);
  const auto near = a < 0.5;
  if (!any(near)) return y;
  const V part = x * erf_small(x * x);
  const V beside = 1.0 - x;
  const V lost = (1.0 - beside) - x;
  return select(near, beside - (part - lost), y);
}
RANVIER_INLINE vec<double> erfc(vec<double> x) { return erfc_out_of_line(x); }

// The two polynomials of erfinv; the comments of the specialisations have their errors.
template <class T>
struct InverseErrorFunction;
template <>
struct InverseErrorFunction<float> {  // 2^-27.4, 2^-27.4
  typedef vec<float> V;
  static constexpr float centre = 2.5f;
  RANVIER_INLINE Pair<V> central(V w) {
    const V rest = polynomial(w, -0x1.11c4ecp-8f, -0x1.486616p-10f, 0x1.c9e6d2p-13f, -0x1.4d1536p-18f,
                              -0x1.d0c24ep-19f, 0x1.f489dap-22f, 0x1.8f2908p-26f, -0x1.2e0934p-27f);
    return last_steps(broadcast(0x1.805c5ep+0f), broadcast(0x1.f91e8ap-3f), rest, w);
  }
  RANVIER_INLINE Pair<V> tail(V s) {
    const V t = s - 3.0f;
    const V rest = polynomial(t, 0x1.358424p-7f, -0x1.f4a808p-8f, 0x1.7473cp-8f, -0x1.d6274ep-9f,
                              0x1.8821fep-10f, -0x1.41615p-14f, -0x1.4e371cp-12f, 0x1.0e777ap-13f);
    return last_steps(broadcast(0x1.6a9efcp+1f), broadcast(0x1.006dc8p+0f), rest, t);
  }
  // c0 + x (c1 + x rest), with what the roundings lose: for the largest |x|, where the terms cancel, that is
  // as much as two units of the last place. |c1| > |x rest|, and |c0| is greater than the other terms.
  RANVIER_INLINE Pair<V> last_steps(V c0, V c1, V rest, V x) {
    const V inner = fma(x, rest, c1);
    const V lost = fma(x, rest, c1 - inner);
    const V hi = fma(inner, x, c0);
    const V lo = fma(inner, x, c0 - hi);
    return {hi, fma(lost, x, lo)};
  }
};
template <>
struct InverseErrorFunction<double> {  // 2^-56.6, 2^-56.3
  typedef vec<double> V;
  static constexpr double centre = 4;
  RANVIER_INLINE Pair<V> central(V w) { return {polynomial_of(erfinv_central, w), V{}}; }
  RANVIER_INLINE Pair<V> tail(V s) { return {polynomial_of(erfinv_tail, (s - 3.5) / (s + 3.5)), V{}}; }
};

// erfinv(y) / y is a polynomial in w = -log(1 - y^2) for w < 2 centre, and for larger w a polynomial in
// sqrt(w) (Giles, 2010).
template <class V>
RANVIER_INLINE V erfinv(V y) {
  using T = element_of<V>;
  using E = InverseErrorFunction<T>;
  const V a = abs(y);
  const V w = -log_of_usual((T(1) - a) * (T(1) + a));
  Pair<V> ratio = E::central(w - E::centre);
  const auto far = w >= 2 * E::centre;
  if (any(far)) {
    const Pair<V> tail = E::tail(sqrt(w));
    ratio = {select(far, tail.hi, ratio.hi), select(far, tail.lo, ratio.lo)};
  }
  const V inverse = fma(a, ratio.hi, a * ratio.lo);
  const V edge = broadcast(Limits<T>::infinity);
  const V outside = broadcast(Limits<T>::nan);
  return copysign(select(a < T(1), inverse, select(a == T(1), edge, outside)), y);
}

// sin(pi r) / pi for r = x - the integer nearest to x. Its size is |sin(pi x)| / pi, its sign that of tan(pi
// x). Error 2^-61.7.
template <class V>
RANVIER_INLINE V sin_of_pi(V r) {
  const V z = r * r;
  return fma(r * z, polynomial_of(sine_of_pi, z), r);
}

// |sin(pi r)| / pi for |r| <= 1/2 as a sum of a rounded number and the rest.
RANVIER_INLINE Pair<vec<double>> size_of_sine_of_pi(vec<double> r) {
  typedef vec<double> V;
  const V size = abs(r);
  const V z = size * size;
  const V change = size * z * polynomial_of(sine_of_pi, z);
  const V hi = size + change;
  return {hi, (size - hi) + change};
}

// log |gamma(x)|, a = |x|:
//   z >= 3:         Stirling's formula (z - 1/2) (log(z) - 1) + log(2 pi) / 2 - 1/2 + S(1 / z^2) / z, error
//                   of S 2^-51.9
//   3/4 <= z < 3:   (z - 1) (z - 2) R(t), t = (z - 1.5) / (z + 1.5), error 2^-59.5
//   a < 3/4:        z = a + 1, and gamma(a) = gamma(z) / a
//   x < 0:          gamma(-a) = -pi / (a sin(pi a) gamma(a))
static __attribute__((noinline)) vec<double> lgamma_to_be_narrowed(vec<double> x) {
  typedef vec<double> V;
  const V a = abs(x);
  const V infinity = broadcast(Limits<double>::infinity);
  const auto negative = x < 0.0;
  const auto near_0 = a < 0.75;
  const auto large = a >= 3.0;
  const V sine = abs(sin_of_pi(a - round_even(a)));
  const V divisor = select(negative, select(near_0, sine, a * sine), a);  // gamma(z) / divisor, or 1 / that
  const V z = select(near_0, a + 1.0, a);
  const V log_z = log_out_of_line(select(large, z, divisor));
  const V r = polynomial_of(lgamma_near_zeros, (z - 1.5) / (z + 1.5));
  const V tail = polynomial_of(stirling_tail, 1.0 / (z * z));
  const V stirling = fma(z - 0.5, log_z - 1.0, tail / z + 0.418938533204672741780);
  const V core = select(large, stirling, fma((z - 1.0) * (z - 2.0), r, V{}));
  const auto reflected = negative & large;
  const V log_divisor = any(reflected) ? select(reflected, log_out_of_line(divisor), log_z) : log_z;
  const V y = select(negative, -log_divisor - core, select(near_0, core - log_divisor, core));
  return select(negative & ((sine == 0.0) | (a == infinity)), infinity, y);
}
RANVIER_INLINE vec<float> lgamma(vec<float> x) {
  return narrow(lgamma_to_be_narrowed(widen<0>(x)), lgamma_to_be_narrowed(widen<1>(x)));
}

RANVIER_INLINE Pair<vec<double>> product_of(Pair<vec<double>> a, Pair<vec<double>> b) {
  const auto p = exact_product(a.hi, b.hi);
  return {p.hi, p.lo + fma(a.hi, b.lo, a.lo * b.hi)};
}
RANVIER_INLINE Pair<vec<double>> sum_of(Pair<vec<double>> a, Pair<vec<double>> b) {
  const auto s = exact_sum(a.hi, b.hi);
  return {s.hi, s.lo + (a.lo + b.lo)};
}

// The same for double: the terms are sums of a rounded number and the rest, and the result is rounded once,
// since the terms of Stirling's formula and those below 0 cancel. Where a < 3/4, z - 1 is a, which is exact.
static __attribute__((noinline)) vec<double> lgamma_out_of_line(vec<double> x) {
  typedef vec<double> V;
  const V a = abs(x);
  const V zero{};
  const V infinity = broadcast(Limits<double>::infinity);
  const auto negative = x < 0.0;
  const auto near_0 = a < 0.75;
  const auto large = a >= 3.0;
  const V past_1 = select(near_0, a, a - 1.0);  // z - 1
  // (z - 1) (z - 2) R(t)
  const V top = past_1 - 0.5;
  const V bottom = past_1 + 2.5;
  const V t = top / bottom;
  const V t_lo = remainder_of(top, t, bottom) / bottom;
  V rest = broadcast(lgamma_near_zeros[21]);
  for (int k = 20; k > 0; --k) rest = fma(rest, t, broadcast(lgamma_near_zeros[k]));
  const V slope =
      fma(t, broadcast(2 * lgamma_near_zeros[2]), broadcast(lgamma_near_zeros[1]));  // about that of R
  rest *= t;
  const V r = rest + lgamma_near_zeros[0];
  const V r_lo = fma(slope, t_lo, (lgamma_near_zeros[0] - r) + rest);
  Pair<V> core = product_of(exact_product(past_1, past_1 - 1.0), {r, r_lo});
  if (any(large)) {
    const auto log_z = log_pair(split_subnormal_too(select(large, a, broadcast(3.0))));
    const auto factor = sum_of(log_z, {broadcast(-1.0), zero});
    // scaled, since the parts of a product that is exact without FMA overflow before the product does
    const V down = select(a > 0x1p900, broadcast(0x1p-100), broadcast(1.0));
    const V up = 1.0 / down;
    auto main = product_of({(a - 0.5) * down, zero}, factor);
    main.hi *= up;
    main.lo *= up;
    const V tail = polynomial_of(stirling_tail, 1.0 / (a * a)) / a;
    const auto constant =
        sum_of({broadcast(0x1.acfe390c97d69p-2), broadcast(0x1.3494bc9001442p-56)}, {tail, zero});
    const auto stirling = sum_of(main, constant);
    const auto finite = main.hi < infinity;
    core.hi = select(large, select(finite, stirling.hi, main.hi), core.hi);
    core.lo = select(large, select(finite, stirling.lo, zero), core.lo);
  }
  const auto logarithm_is_needed = near_0 | negative;
  if (any(logarithm_is_needed)) {
    // gamma(z) is divided by a, or with the reflection by sin(pi a) / pi and, where z is a, by a
    const auto sine = size_of_sine_of_pi(a - round_even(a));
    const auto with_a = exact_product(sine.hi, a);
    const V hi = select(negative, select(near_0, sine.hi, with_a.hi), a);
    const V lo = select(negative, select(near_0, sine.lo, fma(sine.lo, a, with_a.lo)), zero);
    auto log_divisor = log_pair(split_subnormal_too(hi));
    log_divisor.lo += lo / hi;
    const Pair<V> used = {select(logarithm_is_needed, log_divisor.hi, zero),
                          select(logarithm_is_needed, log_divisor.lo, zero)};
    // below 0 -log_divisor - core; else core - log_divisor
    const auto flip = sign_bit(x);
    core = sum_of({from_bits(bits(core.hi) ^ flip), from_bits(bits(core.lo) ^ flip)}, {-used.hi, -used.lo});
    const V pole = select(negative, sine.hi, a);
    core.hi = select((logarithm_is_needed & (pole == 0.0)) | (a == infinity), infinity, core.hi);
  }
  return core.hi + select(abs(core.hi) < infinity, core.lo, zero);
}
RANVIER_INLINE vec<double> lgamma(vec<double> x) { return lgamma_out_of_line(x); }

// The sum of 1 / (z + k)^power over k = 0, 1, ... while z + k < 8, computed as one quotient; and z + k at the
// end.
template <class V>
struct Shifted {
  V z, sum;
};
template <int power, class V>
RANVIER_INLINE Shifted<V> shift_to_8(V z) {
  V top{};
  V bottom = top + 1.0;
  for (int k = 0; k < 8; ++k) {
    const auto small = z < 8.0;
    const V factor = select(small, power == 1 ? z : z * z, broadcast(1.0));
    top = fma(top, factor, select(small, bottom, V{}));
    bottom *= factor;
    z += select(small, broadcast(1.0), V{});
  }
  return {z, top / bottom};
}

// For z >= 8: log(z) - 1 / (2 z) - P(1 / z^2) / z^2, error 2^-56 of the sum. For smaller z the recurrence
// (shift_to_8). For x < 1/2: digamma(1 - x) - pi / tan(pi x).
template <class V>
static __attribute__((noinline)) V digamma_out_of_line(V x) {
  const auto low = x < 0.5;
  const auto [z, sum] = shift_to_8<1>(select(low, 1.0 - x, x));
  const V u = 1.0 / z;
  const V square = u * u;
  const V p = polynomial_of(digamma_tail, square);
  const V y = log_out_of_line(z) - fma(square, p, u * 0.5) - sum;
  const V r = x - round_even(x);
  const V tangent = sin_of_pi(r) / sin_of_pi(0.5 - abs(r));
  const V infinity = broadcast(Limits<double>::infinity);
  const V pole = select(x == 0.0, -copysign(infinity, x), broadcast(Limits<double>::nan));
  return select(low, select(r == 0.0, pole, y - 3.14159265358979323846 / tangent), y);
}
RANVIER_SPECIAL(digamma)

// For z >= 8: 1 / z + 1 / (2 z^2) + Q(1 / z^2) / z^3, error 2^-54 of the sum. For smaller z the recurrence
// (shift_to_8). For x < 1/2: (pi / sin(pi x))^2 - trigamma(1 - x).
template <class V>
static __attribute__((noinline)) V trigamma_out_of_line(V x) {
  const auto low = x < 0.5;
  const auto [z, sum] = shift_to_8<2>(select(low, 1.0 - x, x));
  const V u = 1.0 / z;
  const V square = u * u;
  const V q = polynomial_of(trigamma_tail, square);
  const V y = fma(square, fma(u, q, broadcast(0.5)), u) + sum;
  const V cosecant = 1.0 / sin_of_pi(x - round_even(x));
  const V infinity = broadcast(Limits<double>::infinity);
  return select(low, select(x == -infinity, infinity, cosecant * cosecant - y), y);
}
RANVIER_SPECIAL(trigamma)

#undef RANVIER_SPECIAL

}  // namespace ranvier::RANVIER_ISA
