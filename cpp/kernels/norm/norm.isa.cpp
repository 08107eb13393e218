// The inner loops of the normalisations (NormKernels in norm.h, which has their formulas), compiled once for
// each ISA level. batch_norm.cpp, group_norm.cpp and layer_norm.cpp call them. Either a line of contiguous
// elements is normalized together (layer norm, group norm in NCHW), or rows whose columns are channels (batch
// norm, channels-last): then lanes are columns, and sums go over the rows.
#include "kernels/norm/norm.h"
#include "simd/strided.h"

namespace ranvier::RANVIER_ISA {

// --- The loops along a line.

constexpr int kNormVectors = 4;  // independent sums, so that one addition need not wait for the one before it

// Calls f(v, i, n) for each vector of [0, count): it begins at element i and has n elements, and belongs to
// sum v.
template <class T, class F>
RANVIER_INLINE void for_each_vector(int64_t count, const F& f) {
  constexpr int L = lanes<T>;
  int64_t i = 0;
  for (; i + kNormVectors * L <= count; i += kNormVectors * L)
    for (int v = 0; v < kNormVectors; ++v) f(v, i + v * L, L);
  for (; i + L <= count; i += L) f(0, i, L);
  if (i < count) f(1, i, static_cast<int>(count - i));
}

// v in the first n lanes, 0 in the others.
template <class T>
RANVIER_INLINE vec<T> first_lanes(typename VecOf<T>::type v, int n) {
  return n == lanes<T> ? v : select(iota<T>() < T(n), v, vec<T>{});
}
template <class T>
RANVIER_INLINE double total(const typename VecOf<T>::type (&v)[kNormVectors]) {
  return double(reduce_add((v[0] + v[1]) + (v[2] + v[3])));
}

// Two passes: the mean m, rounded to T; then the sums of x - m, which correct the mean, and of their squares.
template <class T>
static Moments moments(const T* x, int64_t n) {
  vec<T> sum[kNormVectors]{}, rest[kNormVectors]{}, squares[kNormVectors]{};
  for_each_vector<T>(n, [&](int v, int64_t i, int l) { sum[v] += load_lanes(x + i, l); });
  const T m = T(total<T>(sum) / double(n));
  const int64_t ahead = n >= 256 ? n : 0;  // prefetches the next line in the second pass over this one
  for_each_vector<T>(n, [&](int v, int64_t i, int l) {
    __builtin_prefetch(x + i + ahead);
    const vec<T> d = first_lanes<T>(load_lanes(x + i, l) - m, l);
    rest[v] += d;
    squares[v] = fma(d, d, squares[v]);
  });
  const double missing = total<T>(rest) / double(n);
  const double m2 = total<T>(squares) - missing * missing * double(n);
  const double not_negative = m2 < 0 ? 0 : m2;  // rounding can make it negative
  return {double(m) + missing, not_negative};
}

template <bool has_weight, bool has_bias, class T>
static void normalize_line(const T* x, int64_t n, Normalize<T> f, const T* weight, const T* bias, T* y) {
  const vec<T> a = broadcast(f.a);
  const vec<T> b = broadcast(f.b);
  for_each_vector<T>(n, [&](int, int64_t i, int l) {
    vec<T> v = fma(load_lanes(x + i, l) - f.m, a, b);
    const vec<T> shift = has_bias ? load_lanes(bias + i, l) : vec<T>{};
    if constexpr (has_weight)
      v = fma(v, load_lanes(weight + i, l), shift);
    else if constexpr (has_bias)
      v = v + shift;
    store_lanes(y + i, v, l);
  });
}

template <class T>
static void normalize(const T* x, int64_t n, Normalize<T> f, const T* weight, const T* bias, T* y) {
  if (weight && bias)
    normalize_line<true, true, T>(x, n, f, weight, bias, y);
  else if (weight)
    normalize_line<true, false, T>(x, n, f, weight, bias, y);
  else if (bias)
    normalize_line<false, true, T>(x, n, f, weight, bias, y);
  else
    normalize_line<false, false, T>(x, n, f, weight, bias, y);
}

template <bool has_weight, class T>
static GradientSums line_sums(const T* dy, const T* x, int64_t n, T m, const T* weight) {
  vec<T> sum[kNormVectors]{}, dot[kNormVectors]{};
  for_each_vector<T>(n, [&](int v, int64_t i, int l) {
    vec<T> g = load_lanes(dy + i, l);  // 0 in lanes behind the end
    if constexpr (has_weight) g = g * load_lanes(weight + i, l);
    const vec<T> d = first_lanes<T>(load_lanes(x + i, l) - m, l);
    sum[v] += g;
    dot[v] = fma(g, d, dot[v]);
  });
  return {total<T>(sum), total<T>(dot)};
}

template <class T>
static GradientSums sums(const T* dy, const T* x, int64_t n, T m, const T* weight) {
  if (weight) return line_sums<true, T>(dy, x, n, m, weight);
  return line_sums<false, T>(dy, x, n, m, weight);
}

template <bool has_weight, class T>
static void line_gradient(const T* dy, const T* x, int64_t n, NormGradient<T> f, const T* weight, T* dx) {
  const vec<T> a = broadcast(f.a);
  const vec<T> b = broadcast(f.b);
  const vec<T> k = broadcast(f.k);
  for_each_vector<T>(n, [&](int, int64_t i, int l) {
    vec<T> g = load_lanes(dy + i, l);
    if constexpr (has_weight) g = g * load_lanes(weight + i, l);
    store_lanes(dx + i, fma(g, a, fma(load_lanes(x + i, l) - f.m, b, k)), l);
  });
}

template <class T>
static void gradient(const T* dy, const T* x, int64_t n, NormGradient<T> f, const T* weight, T* dx) {
  if (weight)
    line_gradient<true, T>(dy, x, n, f, weight, dx);
  else
    line_gradient<false, T>(dy, x, n, f, weight, dx);
}

// --- The loops over rows, in which a group of columns is handled at a time.

// A group of columns: kVectors vectors of them.
template <int kVectors>
struct ColumnGroup {
  static constexpr int vectors = kVectors;
};

// Calls f(group, j, n) for groups of columns that cover [0, width). A group begins at column j; n is the
// number of lanes of each of its vectors, fewer than all only for a single vector.
template <class T, class F>
RANVIER_INLINE void for_each_group(int64_t width, const F& f) {
  constexpr int L = lanes<T>;
  int64_t j = 0;
  for (; j + kNormVectors * L <= width; j += kNormVectors * L) f(ColumnGroup<kNormVectors>{}, j, L);
  for (; j + L <= width; j += L) f(ColumnGroup<1>{}, j, L);
  if (j < width) f(ColumnGroup<1>{}, j, static_cast<int>(width - j));
}

// Computes again, in double, the sums of squares that overflowed in T.
template <class T>
__attribute__((noinline)) static void sum_wide_squares(const T* x, int64_t stride, int64_t rows,
                                                       int64_t count, const T* first, double* squares) {
  for (int64_t i = 0; i < count; ++i) {
    if (squares[i] - squares[i] == 0) continue;
    squares[i] = 0;
    for (int64_t r = 1; r < rows; ++r) {
      const double d = double(x[r * stride + i]) - double(first[i]);
      squares[i] += d * d;
    }
  }
}

// For a group of columns: row 0 (first), and the sums over rows of x - first and of its square.
template <class T>
struct ColumnSums {
  static constexpr int kMost = kNormVectors * lanes<T>;  // columns
  T first[kMost], sum[kMost], squares[kMost];
};

// Joins the sums of `rows` rows and `count` columns with the moments of the `seen` rows before. far: a sum of
// squares overflowed in T. It is one function for groups of any width, since its vectorised loop is long
// code.
template <class T>
__attribute__((noinline)) static void join_columns(const ColumnSums<T>& c, const T* x, int64_t stride,
                                                   int64_t rows, int64_t count, int64_t seen, bool far,
                                                   double* mean, double* m2) {
  // Of two sets of rows with means a, b and sums of squared deviations: delta = b - a moves the mean by its
  // share of the rows, and adds delta^2 * seen * rows / all to the squares (Chan, Golub and LeVeque, 1979).
  const double inverse = 1.0 / double(rows);
  const double all = double(seen + rows);
  const double share = double(rows) / all;
  const double both = double(seen) * share;
  double squares[ColumnSums<T>::kMost];
  for (int64_t i = 0; i < count; ++i) squares[i] = double(c.squares[i]);
  if (far) sum_wide_squares(x, stride, rows, count, c.first, squares);
  for (int64_t i = 0; i < count; ++i) {
    const double step = double(c.sum[i]) * inverse;
    const double found = squares[i] - double(c.sum[i]) * step;
    const double deviations = found < 0 ? 0 : found;  // rounding can make it negative
    const double delta = double(c.first[i]) + step - mean[i];
    mean[i] += delta * share;
    m2[i] += deviations + delta * delta * both;
  }
}

template <class T>
static void column_moments(const T* x, int64_t stride, int64_t rows, int64_t width, int64_t seen,
                           double* mean, double* m2) {
  constexpr int L = lanes<T>;
  ColumnSums<T> c;
  for_each_group<T>(width, [&](auto group, int64_t j, int l) {
    constexpr int kVectors = decltype(group)::vectors;
    vec<T> first[kVectors], sum[kVectors]{}, squares[kVectors]{};
    for (int v = 0; v < kVectors; ++v) first[v] = load_lanes(x + j + v * L, l);
    for (int64_t r = 1; r < rows; ++r)
      for (int v = 0; v < kVectors; ++v) {
        const vec<T> d = load_lanes(x + r * stride + j + v * L, l) - first[v];
        sum[v] += d;
        squares[v] = fma(d, d, squares[v]);
      }
    ivec<T> far{};
    for (int v = 0; v < kVectors; ++v) {
      store(c.first + v * L, first[v]);
      store(c.sum + v * L, sum[v]);
      store(c.squares + v * L, squares[v]);
      far |= squares[v] - squares[v] != vec<T>{};
    }
    const int64_t columns = l == L ? kVectors * L : l;
    join_columns(c, x + j, stride, rows, columns, seen, any(far), mean + j, m2 + j);
  });
}

// y[r, j] = (x[r, j] - m[j]) a[j] + b[j]
template <class T>
static void normalize_rows(const T* x, int64_t stride_x, int64_t rows, int64_t width, const T* m, const T* a,
                           const T* b, T* y, int64_t stride_y) {
  constexpr int L = lanes<T>;
  for (int64_t r = 0; r < rows; ++r, x += stride_x, y += stride_y)
    for_each_group<T>(width, [&](auto group, int64_t j, int l) {
      for (int v = 0; v < decltype(group)::vectors; ++v, j += L) {
        const vec<T> deviation = load_lanes(x + j, l) - load_lanes(m + j, l);
        store_lanes(y + j, fma(deviation, load_lanes(a + j, l), load_lanes(b + j, l)), l);
      }
    });
}

// to[i] += lane i of v, for i < n.
template <class T>
RANVIER_INLINE void add_lanes(double* to, typename VecOf<T>::type v, int n) {
  T lane[lanes<T>];
  store(lane, v);
  if (n == lanes<T>)
    for (int i = 0; i < lanes<T>; ++i) to[i] += double(lane[i]);
  else
    for (int i = 0; i < n; ++i) to[i] += double(lane[i]);
}

// Adds to dy_sums[j] the sum of dy over rows, and to dots[j] that of dy (x - m).
template <class T>
static void column_sums(const T* dy, int64_t stride_dy, const T* x, int64_t stride_x, int64_t rows,
                        int64_t width, const T* m, double* dy_sums, double* dots) {
  constexpr int L = lanes<T>;
  for_each_group<T>(width, [&](auto group, int64_t j, int l) {
    constexpr int kVectors = decltype(group)::vectors;
    vec<T> mean[kVectors], sum[kVectors]{}, dot[kVectors]{};
    for (int v = 0; v < kVectors; ++v) mean[v] = load_lanes(m + j + v * L, l);
    for (int64_t r = 0; r < rows; ++r)
      for (int v = 0; v < kVectors; ++v) {
        const vec<T> g = load_lanes(dy + r * stride_dy + j + v * L, l);
        sum[v] += g;
        dot[v] = fma(g, load_lanes(x + r * stride_x + j + v * L, l) - mean[v], dot[v]);
      }
    for (int v = 0; v < kVectors; ++v) {
      add_lanes<T>(dy_sums + j + v * L, sum[v], l);
      add_lanes<T>(dots + j + v * L, dot[v], l);
    }
  });
}

// dx[r, j] = dy[r, j] a[j] + (x[r, j] - m[j]) b[j] + k[j]
template <class T>
static void gradient_rows(const T* dy, int64_t stride_dy, const T* x, int64_t stride_x, int64_t rows,
                          int64_t width, const T* m, const T* a, const T* b, const T* k, T* dx,
                          int64_t stride_dx) {
  constexpr int L = lanes<T>;
  for (int64_t r = 0; r < rows; ++r, dy += stride_dy, x += stride_x, dx += stride_dx)
    for_each_group<T>(width, [&](auto group, int64_t j, int l) {
      for (int v = 0; v < decltype(group)::vectors; ++v, j += L) {
        const vec<T> of_x =
            fma(load_lanes(x + j, l) - load_lanes(m + j, l), load_lanes(b + j, l), load_lanes(k + j, l));
        store_lanes(dx + j, fma(load_lanes(dy + j, l), load_lanes(a + j, l), of_x), l);
      }
    });
}

// The gradients of weight and bias of a layer norm (NormKernels).
template <class T>
static void parameter_sums(const T* dy, int64_t stride_dy, const T* x, int64_t stride_x, int64_t rows,
                           int64_t width, const Normalize<T>* f, double* dweight, double* dbias) {
  constexpr int L = lanes<T>;
  for_each_group<T>(width, [&](auto group, int64_t j, int l) {
    constexpr int kVectors = decltype(group)::vectors;
    vec<T> sum[kVectors]{}, dot[kVectors]{};
    for (int64_t r = 0; r < rows; ++r) {
      const vec<T> a = broadcast(f[r].a);
      const vec<T> b = broadcast(f[r].b);
      for (int v = 0; v < kVectors; ++v) {
        __builtin_prefetch(dy + (rows + r) * stride_dy + j + v * L, 0, 2);  // prefetches the next rows to L2
        __builtin_prefetch(x + (rows + r) * stride_x + j + v * L, 0, 2);
        const vec<T> g = load_lanes(dy + r * stride_dy + j + v * L, l);
        sum[v] += g;
        dot[v] = fma(g, fma(load_lanes(x + r * stride_x + j + v * L, l) - f[r].m, a, b), dot[v]);
      }
    }
    for (int v = 0; v < kVectors; ++v) {
      add_lanes<T>(dbias + j + v * L, sum[v], l);
      add_lanes<T>(dweight + j + v * L, dot[v], l);
    }
  });
}

template <class T>
static constexpr NormKernels<T> norm_table = {moments<T>,     normalize<T>,      sums<T>,
                                              gradient<T>,    column_moments<T>, normalize_rows<T>,
                                              column_sums<T>, gradient_rows<T>,  parameter_sums<T>};

RANVIER_DEFINE_TABLES(NormKernels, norm_kernels, norm_table);

}  // namespace ranvier::RANVIER_ISA
