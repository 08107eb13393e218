// The inner loops of ElementwiseKernels (elementwise.h), compiled once for each ISA level: first functions
// that the expressions of ops.h use, then the loops over rows.
#include "kernels/elementwise/elementwise.h"
#include "simd/bytes.h"
#include "simd/halves.h"
#include "simd/math.h"
#include "simd/math_pow_double.h"
#include "simd/math_special.h"
#include "simd/math_sqrt.h"
#include "simd/vec.h"
#include "simd/vector_loop.h"

namespace ranvier::RANVIER_ISA {

template <class V>
RANVIER_INLINE V sigmoid_slope(V x) {  // s (1 - s) = e / (1 + e)^2, even in x
  const V e = exp(-abs(x));
  const V d = e + 1;
  return e / (d * d);
}

// pow(x, 0.5), which equals sqrt(x) except that -0 gives +0 and -infinity gives infinity.
template <class V>
RANVIER_INLINE V pow_half(V x) {
  using T = element_of<V>;
  return select(x == -Limits<T>::infinity, abs(x), sqrt(x + T(0)));
}

// log(x), in the form of simd/math_log.h that is fastest in a loop over many vectors. The bits are those of
// log().
template <class V>
RANVIER_INLINE V quick_log(V x) {
#if RANVIER_HAS_LOOKUP
  return log(x);
#else
  return log_unless_rare(x);
#endif
}

// a = whole b + rest. whole is a / b rounded to the nearest integer, or towards 0 in lanes of
// slow_quotient(). rest is exact.
template <class V>
struct Quotient {
  V whole, rest;
};

// quick_quotient() is exact for |whole| < kQuotient. For floats it computes in double, where the product of
// whole and b has at most 24 + 24 bits and is exact; for doubles the FMA rounds only after the exact
// subtraction. Larger quotients and infinite b take slow_quotient(), by the C function fmod.
template <class T>
constexpr double kQuotient = sizeof(T) == 4 ? 0x1p24 : 0x1p52;

RANVIER_INLINE Quotient<vec<double>> quick_quotient(vec<double> a, vec<double> b) {
  const vec<double> whole = round_even(a / b);
  return {whole, fma(-whole, b, a)};
}

template <class T>
__attribute__((noinline)) static Quotient<vec<T>> slow_quotient(vec<T> a, vec<T> b) {
  Quotient<vec<T>> q;
  for (int i = 0; i < lanes<T>; ++i) {
    const double x = double(a[i]);
    const double y = double(b[i]);
    const double rest = __builtin_fmod(x, y);
    // Rounded twice, so it may be off by one: the next lines correct it.
    double whole = __builtin_rint((x - rest) / y);
    if (__builtin_fabs(whole) >= 1 && __builtin_fabs(whole) < 0x1p53)
      whole += __builtin_rint((__builtin_fma(-whole, y, x) - rest) / y);
    q.rest[i] = T(rest);
    q.whole[i] = T(whole);
  }
  return q;
}

// The quotient, in lanes that need it by slow_quotient().
template <class T>
RANVIER_INLINE Quotient<vec<T>> any_quotient(vec<T> a, vec<T> b) {
  if constexpr (sizeof(T) == 8 && !RANVIER_HAS_FMA) return slow_quotient<T>(a, b);
  Quotient<vec<T>> q;
  if constexpr (sizeof(T) == 4) {
    const auto low = quick_quotient(widen<0>(a), widen<0>(b));
    const auto high = quick_quotient(widen<1>(a), widen<1>(b));
    q = {narrow(low.whole, high.whole), narrow(low.rest, high.rest)};
  } else {
    q = quick_quotient(a, b);
  }
  const auto slow = (abs(q.whole) >= T(kQuotient<T>)) | (abs(b) == Limits<T>::infinity);
  if (__builtin_expect(any(slow), 0)) {
    const Quotient<vec<T>> exact = slow_quotient<T>(a, b);
    q = {select(slow, exact.whole, q.whole), select(slow, exact.rest, q.rest)};
  }
  return q;
}

// The quotient of any a and b. It is not inlined, since a call takes less time than the division. If a is
// NaN, the results are a, else if b is NaN, b: otherwise the sign of the NaN would depend on the order in
// which a compiler takes operands.
template <class T>
__attribute__((noinline)) static Quotient<vec<T>> quotient(vec<T> a, vec<T> b) {
  const Quotient<vec<T>> q = any_quotient<T>(a, b);
  const auto of = [&](vec<T> y) { return select(a != a, a, select(b != b, b, y)); };
  return {of(q.whole), of(q.rest)};
}

// a minus a whole multiple of b: the rest whose size is below |b| and which has the sign of `like`; a rest of
// 0 has the sign of a.
template <class V>
RANVIER_INLINE V rest_like(V like, V a, V b) {
  const V rest = quotient<element_of<V>>(a, b).rest;
  const auto stays = (sign_bit(rest) == sign_bit(like)) | (rest != rest);
  return select(rest == V{}, copysign(V{}, a), select(stays, rest, rest + copysign(b, like)));
}

// floor(a / b), as NumPy computes it: from the exact rest, so that a rounded quotient does not exceed the
// true one.
template <class V>
RANVIER_INLINE V floor_divide(V a, V b) {
  const auto q = quotient<element_of<V>>(a, b);
  const auto above = (sign_bit(q.rest) != sign_bit(b)) & (q.rest != V{});
  const V whole = select(above, q.whole - element_of<V>(1), q.whole);
  const V y = a / b;
  return select(b == V{}, y, select(whole == V{}, copysign(V{}, y), whole));
}

// The number of parameters of a function.
template <class... P>
constexpr int count_parameters(void (*)(P...)) {
  return sizeof...(P);
}

// struct name_op<T>, from a row of ops.h: call() computes y from vectors, one for each parameter.
#define RANVIER_X(name, parameters, nanoseconds, ...)                                           \
  template <class T>                                                                            \
  struct name##_op {                                                                            \
    using V = vec<T>;                                                                           \
    using Array = V;                                                                            \
    using Number = V;                                                                           \
    static constexpr int operands = count_parameters(static_cast<void(*) parameters>(nullptr)); \
    RANVIER_INLINE V call parameters {                                                          \
      [[maybe_unused]] const V zero{}, one = zero + T(1);                                       \
      return __VA_ARGS__;                                                                       \
    }                                                                                           \
  };
RANVIER_ELEMENTWISE_OPS(RANVIER_X)
RANVIER_POWER_OPS(RANVIER_X)
#undef RANVIER_X

// Op::call of the operands at(0), at(1) ...
template <class Op, class At>
RANVIER_INLINE auto call_op(const At& at) {
  if constexpr (Op::operands == 1)
    return Op::call(at(0));
  else if constexpr (Op::operands == 2)
    return Op::call(at(0), at(1));
  else if constexpr (Op::operands == 3)
    return Op::call(at(0), at(1), at(2));
  else
    return Op::call(at(0), at(1), at(2), at(3));
}

#define RANVIER_COMPARE(name, operator_)                                      \
  template <class T>                                                          \
  struct name##_compare {                                                     \
    RANVIER_INLINE ivec<T> call(vec<T> a, vec<T> b) { return a operator_ b; } \
  };

RANVIER_COMPARE(eq, ==)
RANVIER_COMPARE(ne, !=)
RANVIER_COMPARE(lt, <)
RANVIER_COMPARE(le, <=)
RANVIER_COMPARE(gt, >)
RANVIER_COMPARE(ge, >=)

#undef RANVIER_COMPARE

// The loop of an op over whole vectors. op_row is the loop over a row of any length: run_row
// (simd/vector_loop.h) calls op_loop on its vectors.
template <class T, class Op>
static void op_loop(const Vectors& v) {
  for_each_vector<Op::operands, sizeof(vec<T>)>(v, [](char* y, const char* const* x) RANVIER_INLINED {
    const vec<T> result = call_op<Op>([&](int k) RANVIER_INLINED { return vector_at<T>(x[k]); });
    store(reinterpret_cast<T*>(y), result);
  });
}
template <class T, class Op>
static void op_row(const ElementRow& r) {
  run_row<T, T, T, T>(r, Op::operands, op_loop<T, Op>);
}

// Short ops, whose arithmetic takes less time than a way through a buffer of floats, have loops of their own
// for rows of 16-bit floats.
template <class Op, class... Ops>
constexpr bool is_among = (std::is_same_v<Op, Ops> || ...);
template <class Op>
constexpr bool is_short =
    is_among<Op, neg_op<float>, abs_op<float>, square_op<float>, add_op<float>, sub_op<float>, mul_op<float>,
             div_op<float>, maximum_op<float>, minimum_op<float>>;

// The loop of a short op on vectors of 16-bit floats.
template <class Half, class Op>
static void half_loop(const Vectors& v) {
  for_each_vector<Op::operands, sizeof(halves)>(v, [](char* y, const char* const* x) RANVIER_INLINED {
    const auto at = [&](int k) RANVIER_INLINED { return load_halves(reinterpret_cast<const Half*>(x[k])); };
    if constexpr (std::is_same_v<Op, neg_op<float>> || std::is_same_v<Op, abs_op<float>>) {
      // The sign is the highest of the 16 bits, as in a float, so it is changed without a conversion.
      halves a;
      __builtin_memcpy(&a, x[0], sizeof a);
      a = std::is_same_v<Op, neg_op<float>> ? a ^ 0x8000 : a & 0x7fff;
      __builtin_memcpy(y, &a, sizeof a);
    } else {
      store_halves(reinterpret_cast<Half*>(y), call_op<Op>(at));
    }
  });
}
template <class Half, class Op>
static void half_row(const ElementRow& r) {
  run_row<float, Half, Half, Half>(r, Op::operands, half_loop<Half, Op>);
}
template <class Half, class Op>
static constexpr ElementwiseFunction half_row_of() {
  if constexpr (is_short<Op>)
    return half_row<Half, Op>;
  else
    return nullptr;
}

#if RANVIER_HAS_NARROW_FOUR
// Compares four vectors at a time, and returns the vectors that remain.
template <class Op>
static Vectors compare_fours(Vectors v) {
  for (; v.count >= 4; v.count -= 4) {
    ivec<float> masks[4];
    RANVIER_UNROLL
    for (int i = 0; i < 4; ++i)
      masks[i] = Op::call(vector_at<float>(v.x[0] + i * v.step[0]), vector_at<float>(v.x[1] + i * v.step[1]));
    const FourOfBytes bytes = narrow_four(masks) & 1;
    __builtin_memcpy(v.y, &bytes, sizeof bytes);
    for (int k = 0; k < 2; ++k) v.x[k] += 4 * v.step[k];
    v.y += sizeof bytes;
  }
  return v;
}
#endif

// The loop of a comparison, which stores one byte (0 or 1) for each lane.
template <class T, class Op>
static void compare_loop(const Vectors& all) {
  Vectors v = all;
#if RANVIER_HAS_NARROW_FOUR
  if constexpr (sizeof(T) == sizeof(float)) v = compare_fours<Op>(all);
#endif
  for_each_vector<2, lanes<T>>(v, [](char* y, const char* const* x) RANVIER_INLINED {
    const auto result = narrow_to_bytes(Op::call(vector_at<T>(x[0]), vector_at<T>(x[1])) & 1);
    __builtin_memcpy(y, &result, lanes<T>);
  });
}
template <class T, class Op>
static void compare_row(const ElementRow& r) {
  run_row<T, T, T, bool>(r, 2, compare_loop<T, Op>);
}

// The loop of Where: operand 0 is the condition, a byte for each element.
template <class T>
static void where_loop(const Vectors& v) {
  for_each_vector<3, sizeof(vec<T>)>(v, [](char* y, const char* const* x) RANVIER_INLINED {
    const ivec<T> condition = widen_bytes(reinterpret_cast<const uint8_t*>(x[0]), T{});
    store(reinterpret_cast<T*>(y), select(condition != 0, vector_at<T>(x[1]), vector_at<T>(x[2])));
  });
}
template <class T>
static void where_row(const ElementRow& r) {
  run_row<T, bool, T, T>(r, 3, where_loop<T>);
}

#define RANVIER_ALL_OPS(X) RANVIER_ELEMENTWISE_OPS(X) RANVIER_POWER_OPS(X)
#define RANVIER_X(name, ...) op_row<T, name##_op<T>>,
#define RANVIER_FLOAT16(name, ...) half_row_of<Float16, name##_op<T>>(),
#define RANVIER_BFLOAT16(name, ...) half_row_of<BFloat16, name##_op<T>>(),

template <class T>
struct Tables {
  static constexpr ElementwiseKernels<T> kernels = {
      {RANVIER_ALL_OPS(RANVIER_X)},
      {RANVIER_ALL_OPS(RANVIER_FLOAT16)},
      {RANVIER_ALL_OPS(RANVIER_BFLOAT16)},
      {compare_row<T, eq_compare<T>>, compare_row<T, ne_compare<T>>, compare_row<T, lt_compare<T>>,
       compare_row<T, le_compare<T>>, compare_row<T, gt_compare<T>>, compare_row<T, ge_compare<T>>},
      where_row<T>};
};
extern const ElementwiseKernels<float> elementwise_kernels_float = Tables<float>::kernels;
extern const ElementwiseKernels<double> elementwise_kernels_double = Tables<double>::kernels;

#undef RANVIER_X
#undef RANVIER_FLOAT16
#undef RANVIER_BFLOAT16
#undef RANVIER_ALL_OPS

}  // namespace ranvier::RANVIER_ISA
