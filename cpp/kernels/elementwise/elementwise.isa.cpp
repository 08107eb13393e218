// The inner loops of elementwise, compiled once for each ISA level.
#include "kernels/elementwise/elementwise.h"

#include "kernels/elementwise/functions.h"

namespace ranvier::RANVIER_ISA {

// An operand as a stream of vectors: contiguous memory, or one vector of the repeated element.
template <class T>
struct Stream {
  const T* p;
  int step;
  alignas(64) T repeated[lanes<T>];

  RANVIER_INLINE void open(Stream& s, const void* x, int step) {
    s.p = static_cast<const T*>(x);
    s.step = step;
    if (step) return;
    store(s.repeated, broadcast<T>(*s.p));
    s.p = s.repeated;
  }
  RANVIER_INLINE vec<T> at(const Stream& s, int64_t i) { return load(s.p + i * s.step); }
  RANVIER_INLINE vec<T> tail(const Stream& s, int64_t i, int n) {
    return s.step ? load_n(s.p + i, n) : load(s.p);
  }
};

// An operand whose step is known while compiling: the repeated element stays in a register.
template <class T, bool kMoves>
struct Fixed {
  const T* p;
  vec<T> value;
  RANVIER_INLINE Fixed open(const void* x) {
    const T* p = static_cast<const T*>(x);
    return {p, kMoves ? vec<T>{} : broadcast<T>(*p)};
  }
  RANVIER_INLINE vec<T> at(const Fixed& f, int64_t i) { return kMoves ? load(f.p + i) : f.value; }
  RANVIER_INLINE vec<T> tail(const Fixed& f, int64_t i, int n) {
    return kMoves ? load_n(f.p + i, n) : f.value;
  }
};

// At most two operands, a and b (the same one where there is one), of known steps.
template <class T, class Op, bool kMovesA, bool kMovesB>
static void pair_row(const ElementwiseRow& r) {
  constexpr int L = lanes<T>, kUnroll = 2;
  using A = Fixed<T, kMovesA>;
  using B = Fixed<T, kMovesB>;
  const A a = A::open(r.x[0]);
  const B b = B::open(r.x[Op::operands - 1]);
  const auto f = [](vec<T> u, vec<T> v) { return Op::call(u, v, v, v); };
  T* y = static_cast<T*>(r.y);
  int64_t i = 0;
  for (; i + kUnroll * L <= r.n; i += kUnroll * L) {
    const vec<T> first = f(A::at(a, i), B::at(b, i)), second = f(A::at(a, i + L), B::at(b, i + L));
    store(y + i, first);
    store(y + i + L, second);
  }
  for (; i < r.n; i += L) {  // one loop for what is left: f is large where it is exp or pow
    const int n = static_cast<int>(r.n - i < L ? r.n - i : L);
    store_n(y + i, f(A::tail(a, i, n), B::tail(b, i, n)), n);
  }
}

// One result for the whole row.
template <class T, class Op>
static void same_row(const ElementwiseRow& r) {
  constexpr int L = lanes<T>;
  const vec<T> a = broadcast<T>(*static_cast<const T*>(r.x[0]));
  const vec<T> b = broadcast<T>(*static_cast<const T*>(r.x[Op::operands - 1]));
  const vec<T> y = Op::call(a, b, b, b);
  T* to = static_cast<T*>(r.y);
  int64_t i = 0;
  for (; i + L <= r.n; i += L) store(to + i, y);
  if (i < r.n) store_n(to + i, y, static_cast<int>(r.n - i));
}

template <class T, class Op>
static void any_row(const ElementwiseRow& r) {
  constexpr int L = lanes<T>;
  Stream<T> x[Op::operands];
  for (int k = 0; k < Op::operands; ++k) Stream<T>::open(x[k], r.x[k], r.step[k]);
  // Absent operands repeat the last one; the op does not look at them.
  constexpr int last = Op::operands - 1, b = last < 1 ? last : 1, c = last < 2 ? last : 2, d = last;
  T* y = static_cast<T*>(r.y);
  int64_t i = 0;
  for (; i + L <= r.n; i += L)
    store(y + i, Op::call(x[0].at(x[0], i), x[b].at(x[b], i), x[c].at(x[c], i), x[d].at(x[d], i)));
  if (const int n = static_cast<int>(r.n - i))
    store_n(
        y + i,
        Op::call(x[0].tail(x[0], i, n), x[b].tail(x[b], i, n), x[c].tail(x[c], i, n), x[d].tail(x[d], i, n)),
        n);
}

template <class T, class Op>
static void row(const ElementwiseRow& r) {
  if constexpr (Op::operands <= 2) {
    const bool a = r.step[0], b = r.step[Op::operands - 1];
    if (a && b) return pair_row<T, Op, true, true>(r);
    if constexpr (Op::operands == 2) {
      if (a) return pair_row<T, Op, true, false>(r);
      if (b) return pair_row<T, Op, false, true>(r);
    }
    same_row<T, Op>(r);
  } else {
    any_row<T, Op>(r);
  }
}

// One byte for each lane.
template <class T>
struct Bytes {
  typedef int8_t type __attribute__((vector_size(lanes<T>)));
};

template <class T, class Op>
static void compare_row(const ElementwiseRow& r) {
  constexpr int L = lanes<T>;
  using bytes = typename Bytes<T>::type;
  Stream<T> a, b;
  Stream<T>::open(a, r.x[0], r.step[0]);
  Stream<T>::open(b, r.x[1], r.step[1]);
  int8_t* y = static_cast<int8_t*>(r.y);
  const auto result = [](ivec<T> mask) { return __builtin_convertvector(mask, bytes) & int8_t(1); };
  int64_t i = 0;
  for (; i + L <= r.n; i += L) {
    const bytes m = result(Op::call(a.at(a, i), b.at(b, i)));
    __builtin_memcpy(y + i, &m, L);
  }
  if (const int n = static_cast<int>(r.n - i)) {
    const bytes m = result(Op::call(a.tail(a, i, n), b.tail(b, i, n)));
    for (int j = 0; j < n; ++j) y[i + j] = m[j];
  }
}

template <class T>
RANVIER_INLINE ivec<T> condition(const int8_t* p, int step, int n) {
  typename Bytes<T>::type c{};
  if (step == 0)
    c = c + *p;
  else if (n == lanes<T>)
    __builtin_memcpy(&c, p, lanes<T>);
  else
    for (int j = 0; j < n; ++j) c[j] = p[j];
  return __builtin_convertvector(c, ivec<T>) != 0;
}

template <class T>
static void where_row(const ElementwiseRow& r) {
  constexpr int L = lanes<T>;
  const int8_t* c = static_cast<const int8_t*>(r.x[0]);
  Stream<T> a, b;
  Stream<T>::open(a, r.x[1], r.step[1]);
  Stream<T>::open(b, r.x[2], r.step[2]);
  T* y = static_cast<T*>(r.y);
  int64_t i = 0;
  for (; i + L <= r.n; i += L)
    store(y + i, select(condition<T>(c + i * r.step[0], r.step[0], L), a.at(a, i), b.at(b, i)));
  if (const int n = static_cast<int>(r.n - i))
    store_n(y + i, select(condition<T>(c + i * r.step[0], r.step[0], n), a.tail(a, i, n), b.tail(b, i, n)),
            n);
}

#define RANVIER_X(name, operands) row<T, name##_op<T>>,
#define RANVIER_KERNELS                                                                           \
  {{RANVIER_ELEMENTWISE_OPS(RANVIER_X)},                                                          \
   {compare_row<T, eq_compare<T>>, compare_row<T, ne_compare<T>>, compare_row<T, lt_compare<T>>,  \
    compare_row<T, le_compare<T>>, compare_row<T, gt_compare<T>>, compare_row<T, ge_compare<T>>}, \
   where_row<T>}

template <class T>
struct Tables {
  static constexpr ElementwiseKernels<T> kernels = RANVIER_KERNELS;
};
extern const ElementwiseKernels<float> elementwise_kernels_float = Tables<float>::kernels;
extern const ElementwiseKernels<double> elementwise_kernels_double = Tables<double>::kernels;

#undef RANVIER_X
#undef RANVIER_KERNELS

}  // namespace ranvier::RANVIER_ISA
