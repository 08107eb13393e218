// The arithmetic of each op of reduce (ReduceOp in reduce.h), on vectors of elements, as a struct for each:
// Sum, Numbers, Squares, Deviations, Equals, Absolute, Exps, Product, Max and Min. reduce.isa.cpp, which
// alone includes this file, compiles its loops over them.
#pragma once
#include <type_traits>

#include "simd/math.h"

namespace ranvier::RANVIER_ISA {

constexpr int kVectors = 4;  // independent totals, so that an addition does not wait for the one before it

// An op is a struct of functions on vectors. c has the op's center (reduce.h) in each lane.
//
//   identity()         the first value of a total
//   center(c)          the center as the other functions get it
//   pad(c)             an element that changes no total; it fills the lanes after the last element
//   step(total, x, c)  the total with the elements x
//   join(a, b)         one total of two
//   across(v)          the total of a vector's lanes
//
// vectors: the number of independent totals in the loop. Join: an op with the same join and across; the code
// that joins chunks is compiled once for all ops with the same Join.
template <class T>
struct Sum {
  using Join = Sum;
  static constexpr int vectors = kVectors;
  using V = vec<T>;
  RANVIER_INLINE V identity() { return V{}; }
  RANVIER_INLINE V center(V c) { return c; }
  RANVIER_INLINE V pad(V) { return V{}; }
  RANVIER_INLINE V step(V total, V x, V) { return total + x; }
  RANVIER_INLINE V join(V a, V b) { return a + b; }
  RANVIER_INLINE T across(V v) { return reduce_add(v); }
};
template <class T>
struct Numbers : Sum<T> {
  using V = vec<T>;
  RANVIER_INLINE V step(V total, V x, V) { return total + select(x == x, x, V{}); }
};
template <class T>
struct Squares : Sum<T> {
  using V = vec<T>;
  RANVIER_INLINE V pad(V c) { return c; }
  RANVIER_INLINE V step(V total, V x, V c) { return fma(x - c, x - c, total); }
};
template <class T>
struct Deviations : Squares<T> {};
template <class T>
struct Equals : Sum<T> {
  static constexpr int vectors = 2;
  using V = vec<T>;
  // An element that does not equal c: NaN, or 0 in lanes where c is NaN.
  RANVIER_INLINE V pad(V c) { return select(c == c, V{} + T(__builtin_nan("")), V{}); }
  RANVIER_INLINE V step(V total, V x, V c) {
    return total + select((x == c) | ((x != x) & (c != c)), V{} + T(1), V{});
  }
};
template <class T>
struct Absolute : Sum<T> {
  static constexpr int vectors = 2;
  using V = vec<T>;
  RANVIER_INLINE V step(V total, V x, V) { return total + abs(x); }
};
template <class T>
struct Exps : Sum<T> {
  static constexpr int vectors = 1;  // one step of exp has enough independent instructions
  using V = vec<T>;
  RANVIER_INLINE V center(V c) { return select(abs(c) == T(__builtin_inf()), V{}, c); }
  RANVIER_INLINE V pad(V) { return V{} - T(__builtin_inf()); }
  RANVIER_INLINE V step(V total, V x, V c) { return total + exp_or_0(at_most(x - c, ExpRange<T>::high)); }
};
template <class T>
struct Product {
  using Join = Product;
  static constexpr int vectors = 2;
  using V = vec<T>;
  RANVIER_INLINE V identity() { return V{} + T(1); }
  RANVIER_INLINE V center(V c) { return c; }
  RANVIER_INLINE V pad(V) { return identity(); }
  RANVIER_INLINE V step(V total, V x, V) { return total * x; }
  RANVIER_INLINE V join(V a, V b) { return a * b; }
  RANVIER_INLINE T across(V v) {
    return fold_lanes(v, [](V a, V b) RANVIER_INLINED { return a * b; });
  }
};
template <class T, bool kLargest>
struct Extreme {
  using Join = Extreme;
  static constexpr int vectors = kVectors;
  using V = vec<T>;
  RANVIER_INLINE V center(V c) { return c; }
  RANVIER_INLINE V identity() {
    constexpr double kWorst = kLargest ? -__builtin_inf() : __builtin_inf();
    return V{} + T(kWorst);
  }
  RANVIER_INLINE V pad(V) { return identity(); }
  RANVIER_INLINE V step(V total, V x, V) { return join(total, x); }
  RANVIER_INLINE V plain_step(V total, V x) { return kLargest ? maximum(total, x) : minimum(total, x); }
  RANVIER_INLINE V join(V a, V b) { return kLargest ? max(a, b) : min(a, b); }
  RANVIER_INLINE T across(V v) { return kLargest ? reduce_max(v) : reduce_min(v); }
};
template <class T>
using Max = Extreme<T, true>;
template <class T>
using Min = Extreme<T, false>;

// The total of all vectors of totals. It is written out for each number of them, so that they stay in
// registers.
template <class Op, class V>
RANVIER_INLINE V join_all(const V (&total)[4]) {
  return Op::join(Op::join(total[0], total[1]), Op::join(total[2], total[3]));
}
template <class Op, class V>
RANVIER_INLINE V join_all(const V (&total)[2]) {
  return Op::join(total[0], total[1]);
}
template <class Op, class V>
RANVIER_INLINE V join_all(const V (&total)[1]) {
  return total[0];
}

template <class T, class Op>
static constexpr bool is_addition = std::is_same_v<Op, Sum<T>> || std::is_same_v<Op, Numbers<T>>;

// The ops of float32 that are used most have additional loops. The others have none, which keeps the code
// small.
template <class T, class Op>
static constexpr bool is_extreme = std::is_same_v<Op, Max<T>> || std::is_same_v<Op, Min<T>>;
template <class T, class Op>
static constexpr bool is_common =
    RANVIER_VECTOR_BYTES >= 32 && sizeof(T) == 4 && (is_addition<T, Op> || is_extreme<T, Op>);

// True if the loop tries plain_step first. plain_step is one instruction, and gives the result of step if no
// operand is NaN. step takes five instructions with AVX2; with AVX-512 it takes three, so there plain_step is
// not used.
template <class T, class Op>
static constexpr bool has_plain_step = RANVIER_VECTOR_BYTES == 32 && is_common<T, Op> && is_extreme<T, Op>;

// A mask of the lanes in which neither a nor b is NaN. GCC makes one comparison of the two.
template <class V>
RANVIER_INLINE ivec<element_of<V>> are_ordered(V a, V b) {
  return (a <= b) | (a > b);
}

}  // namespace ranvier::RANVIER_ISA
