// The inner loops of reduce, compiled once for each ISA level.
#include "kernels/reduce/reduce.h"

#include "simd/math.h"
#include "simd/vec.h"

namespace ranvier::RANVIER_ISA {

constexpr int kVectors = 4;   // independent totals, so that one addition need not wait for the last
constexpr int kRowBlock = 8;  // rows read side by side: as many streams as the caches follow

// identity: where a total starts. center(c): what c counts as. pad(c): an element that leaves the total as it
// is. step(total, x, c): takes in an element. join: two totals. across: the total of a vector's lanes.
template <class T>
struct Sum {
  using V = vec<T>;
  RANVIER_INLINE V identity() { return V{}; }
  RANVIER_INLINE V center(V c) { return c; }
  RANVIER_INLINE V pad(V) { return V{}; }
  RANVIER_INLINE V step(V total, V x, V) { return total + x; }
  RANVIER_INLINE V join(V a, V b) { return a + b; }
  RANVIER_INLINE T across(V v) { return reduce_add(v); }
};
template <class T>
struct Squares : Sum<T> {
  using V = vec<T>;
  RANVIER_INLINE V pad(V c) { return c; }
  RANVIER_INLINE V step(V total, V x, V c) { return fma(x - c, x - c, total); }
};
template <class T>
struct Equals : Sum<T> {
  using V = vec<T>;
  RANVIER_INLINE V pad(V) { return V{} + T(__builtin_nan("")); }
  RANVIER_INLINE V step(V total, V x, V c) { return total + select(x == c, V{} + T(1), V{}); }
};
template <class T>
struct Absolute : Sum<T> {
  using V = vec<T>;
  RANVIER_INLINE V step(V total, V x, V) { return total + abs(x); }
};
template <class T>
struct Exps : Sum<T> {
  using V = vec<T>;
  RANVIER_INLINE V center(V c) { return select(abs(c) == T(__builtin_inf()), V{}, c); }
  RANVIER_INLINE V pad(V) { return V{} - T(__builtin_inf()); }
  RANVIER_INLINE V step(V total, V x, V c) { return total + exp(x - c); }
};
template <class T>
struct Product {
  using V = vec<T>;
  RANVIER_INLINE V identity() { return V{} + T(1); }
  RANVIER_INLINE V center(V c) { return c; }
  RANVIER_INLINE V pad(V) { return identity(); }
  RANVIER_INLINE V step(V total, V x, V) { return total * x; }
  RANVIER_INLINE V join(V a, V b) { return a * b; }
  RANVIER_INLINE T across(V v) {  // the same tree as reduce_add's
    if constexpr (lanes<T> > 8) v *= swap_lanes<8>(v);
    if constexpr (lanes<T> > 4) v *= swap_lanes<4>(v);
    if constexpr (lanes<T> > 2) v *= swap_lanes<2>(v);
    v *= swap_lanes<1>(v);
    return v[0];
  }
};
template <class T>
struct Max {
  using V = vec<T>;
  RANVIER_INLINE V center(V c) { return c; }
  RANVIER_INLINE V identity() { return V{} - T(__builtin_inf()); }
  RANVIER_INLINE V pad(V) { return identity(); }
  RANVIER_INLINE V step(V total, V x, V) { return max(total, x); }
  RANVIER_INLINE V join(V a, V b) { return max(a, b); }
  RANVIER_INLINE T across(V v) { return reduce_max(v); }
};
template <class T>
struct Min {
  using V = vec<T>;
  RANVIER_INLINE V center(V c) { return c; }
  RANVIER_INLINE V identity() { return V{} + T(__builtin_inf()); }
  RANVIER_INLINE V pad(V) { return identity(); }
  RANVIER_INLINE V step(V total, V x, V) { return min(total, x); }
  RANVIER_INLINE V join(V a, V b) { return min(a, b); }
  RANVIER_INLINE T across(V v) { return reduce_min(v); }
};

template <class T, class Op>
static T chunk(const T* x, int64_t n, T center) {
  constexpr int L = lanes<T>;
  const vec<T> c = Op::center(broadcast<T>(center));
  vec<T> total[kVectors];
  for (int v = 0; v < kVectors; ++v) total[v] = Op::identity();
  int64_t i = 0;
  for (; i + kVectors * L <= n; i += kVectors * L)
    for (int v = 0; v < kVectors; ++v) total[v] = Op::step(total[v], load(x + i + v * L), c);
  for (; i + L <= n; i += L) total[0] = Op::step(total[0], load(x + i), c);
  if (const int rest = static_cast<int>(n - i)) {
    const ivec<T> inside = iota<T>() < broadcast<T>(T(rest));
    total[1] = Op::step(total[1], select(inside, load_n(x + i, rest), Op::pad(c)), c);
  }
  return Op::across(Op::join(Op::join(total[0], total[1]), Op::join(total[2], total[3])));
}

// Rows [0, rows) taken into y, or where first is set into new totals.
template <class T, class Op>
static void row_block(const T* x, int64_t stride, int rows, int64_t width, const T* center, T* y,
                      bool first) {
  constexpr int L = lanes<T>;
  int64_t j = 0;
  for (; j + kVectors * L <= width; j += kVectors * L) {
    vec<T> total[kVectors], c[kVectors];
    for (int v = 0; v < kVectors; ++v) {
      total[v] = first ? Op::identity() : load(y + j + v * L);
      c[v] = center ? Op::center(load(center + j + v * L)) : vec<T>{};
    }
    for (int i = 0; i < rows; ++i)
      for (int v = 0; v < kVectors; ++v)
        total[v] = Op::step(total[v], load(x + i * stride + j + v * L), c[v]);
    for (int v = 0; v < kVectors; ++v) store(y + j + v * L, total[v]);
  }
  for (; j < width; j += L) {
    const int n = width - j < L ? static_cast<int>(width - j) : L;
    vec<T> total = first ? Op::identity() : load_n(y + j, n);
    const vec<T> c = center ? Op::center(load_n(center + j, n)) : vec<T>{};
    if (n == L)
      for (int i = 0; i < rows; ++i) total = Op::step(total, load(x + i * stride + j), c);
    else
      for (int i = 0; i < rows; ++i) total = Op::step(total, load_n(x + i * stride + j, n), c);
    store_n(y + j, total, n);
  }
}

template <class T, class Op>
static void columns(const T* x, int64_t stride, int64_t rows, int64_t width, const T* center, T* y) {
  const int64_t block = width <= kVectors * lanes<T> ? kReduceRows : kRowBlock;  // narrow rows: one stream
  int64_t i = 0;
  do {
    const int n = static_cast<int>(rows - i < block ? rows - i : block);
    row_block<T, Op>(x + i * stride, stride, n, width, center, y, i == 0);
    i += block;
  } while (i < rows);
}

template <class T, class Op>
static void join(int64_t n, T* a, const T* b) {
  constexpr int L = lanes<T>;
  int64_t i = 0;
  for (; i + L <= n; i += L) store(a + i, Op::join(load(a + i), load(b + i)));
  if (const int rest = static_cast<int>(n - i))
    store_n(a + i, Op::join(load_n(a + i, rest), load_n(b + i, rest)), rest);
}

template <class T>
static int64_t find(const T* x, int64_t n, T value) {
  constexpr int L = lanes<T>;
  const vec<T> v = broadcast<T>(value);
  int64_t i = 0;
  for (; i + L <= n; i += L) {
    const vec<T> e = load(x + i);
    if (any(value == value ? e == v : e != e)) break;
  }
  for (; i < n; ++i)
    if (value == value ? x[i] == value : x[i] != x[i]) break;
  return i;
}

#define RANVIER_OPS(f, T)                                                  \
  {f<T, Sum<T>>,    f<T, Max<T>>,     f<T, Min<T>>,      f<T, Squares<T>>, \
   f<T, Equals<T>>, f<T, Product<T>>, f<T, Absolute<T>>, f<T, Exps<T>>}
#define RANVIER_KERNELS(T) {RANVIER_OPS(chunk, T), RANVIER_OPS(columns, T), RANVIER_JOINS(T), find<T>}
#define RANVIER_JOINS(T)                                                   \
  {join<T, Sum<T>>, join<T, Max<T>>,     join<T, Min<T>>, join<T, Sum<T>>, \
   join<T, Sum<T>>, join<T, Product<T>>, join<T, Sum<T>>, join<T, Sum<T>>}

extern const ReduceKernels<float> reduce_kernels_float = RANVIER_KERNELS(float);
extern const ReduceKernels<double> reduce_kernels_double = RANVIER_KERNELS(double);

#undef RANVIER_KERNELS
#undef RANVIER_JOINS
#undef RANVIER_OPS

}  // namespace ranvier::RANVIER_ISA
