// The inner loops of kernels.h.
#include "base/unroll.h"
#include "kernels/factor/kernels.h"
#include "simd/transpose.h"
#include "simd/vec.h"

namespace ranvier::RANVIER_ISA {

// The most rows of a tile of two vectors: its sums, a row and a broadcast number stay in registers.
constexpr int kRows = RANVIER_VECTOR_REGISTERS >= 32 ? 8 : 4;

// A row of kVectors vectors. kWhole: all lanes are in use; else `last` lanes of the last vector are.
template <class T, int kVectors, bool kWhole>
struct Line {
  vec<T> part[kVectors];

  RANVIER_INLINE Line read(const T* p, int last) {
    Line x;
    RANVIER_UNROLL
    for (int v = 0; v < kVectors; ++v)
      x.part[v] = kWhole || v + 1 < kVectors ? load(p + v * lanes<T>) : load_n(p + v * lanes<T>, last);
    return x;
  }
  RANVIER_INLINE void write(T* p, const Line& x, int last) {
    RANVIER_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      if (kWhole || v + 1 < kVectors)
        store(p + v * lanes<T>, x.part[v]);
      else
        store_n(p + v * lanes<T>, x.part[v], last);
    }
  }
  // sum += x y
  RANVIER_INLINE void add(Line& sum, T x, const Line& y) {
    const vec<T> factor_x = factor<T>(x);
    RANVIER_UNROLL
    for (int v = 0; v < kVectors; ++v) sum.part[v] = fma(factor_x, y.part[v], sum.part[v]);
  }
};

// The sums of a tile with their signs changed: they start as -y, so that products are added.
template <class T, int kTileRows, int kVectors, bool kWhole>
struct Tile {
  using Row = Line<T, kVectors, kWhole>;
  Row sum[kTileRows];

  RANVIER_INLINE Tile negative(const T* y, int64_t rs_y, int last) {
    Tile t;
    RANVIER_UNROLL
    for (int i = 0; i < kTileRows; ++i) {
      t.sum[i] = Row::read(y + i * rs_y, last);
      RANVIER_UNROLL
      for (int v = 0; v < kVectors; ++v) t.sum[i].part[v] = -t.sum[i].part[v];
    }
    return t;
  }
  RANVIER_INLINE void add_products(Tile& t, int64_t k, const T* a, int64_t rs_a, int64_t cs_a, const T* x,
                                   int64_t rs_x, int last) {
    for (; k > 0; --k, a += cs_a, x += rs_x) {
      const Row row = Row::read(x, last);
      const T* element = a;
      RANVIER_UNROLL
      for (int i = 0; i < kTileRows; ++i, element += rs_a) Row::add(t.sum[i], *element, row);
    }
  }
};

template <class T, int kTileRows, int kVectors, bool kWhole>
static void subtract_tile(const FactorProduct<T>& p, int64_t row, int64_t column, int last) {
  using Sums = Tile<T, kTileRows, kVectors, kWhole>;
  T* y = p.y + row * p.rs_y + column;
  Sums t = Sums::negative(y, p.rs_y, last);
  Sums::add_products(t, p.k, p.a + row * p.rs_a, p.rs_a, p.cs_a, p.x + column, p.rs_x, last);
  RANVIER_UNROLL
  for (int i = 0; i < kTileRows; ++i) {
    RANVIER_UNROLL
    for (int v = 0; v < kVectors; ++v) t.sum[i].part[v] = vec<T>{} - t.sum[i].part[v];  // not -0
    Sums::Row::write(y + i * p.rs_y, t.sum[i], last);
  }
}

template <class T, int kTileRows, int kVectors, bool kWhole>
static void substitute_tile(const Substitution<T>& s, int64_t row, int64_t column, int last) {
  using Sums = Tile<T, kTileRows, kVectors, kWhole>;
  const T* a = s.a + row * s.rs_a;
  T* y = s.y + column;
  T* own = y + row * s.rs_y;
  Sums t = Sums::negative(own, s.rs_y, last);
  Sums::add_products(t, row, a, s.rs_a, s.cs_a, y, s.rs_y, last);
  const T* square = a + row * s.cs_a;  // the part of the diagonal
  RANVIER_UNROLL
  for (int i = 0; i < kTileRows; ++i) {
    RANVIER_UNROLL
    for (int j = 0; j < i; ++j) Sums::Row::add(t.sum[i], square[i * s.rs_a + j * s.cs_a], t.sum[j]);
    const T diagonal = s.unit ? T(1) : square[i * (s.rs_a + s.cs_a)];
    const T inverse = T(1) / diagonal;
    // The inverse of a subnormal number may be infinite where the quotient is not.
    const bool divides = __builtin_isinf(inverse) && diagonal != 0;
    RANVIER_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      const vec<T> rest = vec<T>{} - t.sum[i].part[v];  // not -0
      t.sum[i].part[v] = divides ? rest / broadcast<T>(diagonal) : rest * broadcast<T>(inverse);
    }
    Sums::Row::write(own + i * s.rs_y, t.sum[i], last);
  }
}

// Calls f(rows, row) for tiles of kRows, 4 and 1 rows, whose number is a constant.
template <class F>
RANVIER_INLINE void each_tile(int64_t rows, const F& f) {
  int64_t row = 0;
  for (; rows - row >= kRows; row += kRows) f(std::integral_constant<int, kRows>(), row);
  if constexpr (kRows > 4)
    for (; rows - row >= 4; row += 4) f(std::integral_constant<int, 4>(), row);
  for (; row < rows; ++row) f(std::integral_constant<int, 1>(), row);
}

// Calls f(vectors, whole, column, last) for each strip of the columns; vectors and whole are constants.
template <class T, class F>
RANVIER_INLINE void each_strip(int64_t columns, const F& f) {
  constexpr int L = lanes<T>;
  const auto two = std::integral_constant<int, 2>();
  const auto one = std::integral_constant<int, 1>();
  int64_t column = 0;
  for (; columns - column >= 2 * L; column += 2 * L) f(two, std::true_type(), column, L);
  const auto rest = static_cast<int>(columns - column);
  if (rest > L) {
    f(two, std::false_type(), column, rest - L);
  } else if (rest > 0) {
    f(one, std::false_type(), column, rest);
  }
}

template <class T>
static void subtract(const FactorProduct<T>& p) {
  each_strip<T>(p.columns, [&](auto vectors, auto whole, int64_t column, int last) RANVIER_INLINED {
    each_tile(p.rows, [&](auto rows, int64_t row) RANVIER_INLINED {
      subtract_tile<T, decltype(rows)::value, decltype(vectors)::value, decltype(whole)::value>(p, row,
                                                                                                column, last);
    });
  });
}

template <class T>
static void substitute(const Substitution<T>& s) {
  each_strip<T>(s.columns, [&](auto vectors, auto whole, int64_t column, int last) RANVIER_INLINED {
    each_tile(s.n, [&](auto rows, int64_t row) RANVIER_INLINED {
      substitute_tile<T, decltype(rows)::value, decltype(vectors)::value, decltype(whole)::value>(
          s, row, column, last);
    });
  });
}

RANVIER_INLINE float root_of(float x) { return __builtin_sqrtf(x); }
RANVIER_INLINE double root_of(double x) { return __builtin_sqrt(x); }

template <class T>
static int64_t cholesky(int64_t n, int64_t width, T* u, int64_t rs_u) {
  constexpr int L = lanes<T>;
  constexpr int kTogether = 4;  // vectors whose sums are computed at once, which hides the latency of FMAs
  for (int64_t i = 0; i < n; ++i) {
    T* row = u + i * rs_u;
    for (int64_t column = i / L * L; column < width; column += kTogether * L) {
      const int64_t left = (width - column) / L;
      const int count = left < kTogether ? static_cast<int>(left) : kTogether;
      vec<T> sum[kTogether] = {};
      for (int v = 0; v < count; ++v) sum[v] = load(row + column + v * L);
      const T* above = u + column;
      if (count == kTogether) {
        for (int64_t j = 0; j < i; ++j, above += rs_u) {
          const vec<T> x = broadcast<T>(-u[j * rs_u + i]);
          RANVIER_UNROLL
          for (int v = 0; v < kTogether; ++v) sum[v] = fma(x, load(above + v * L), sum[v]);
        }
      } else {
        for (int64_t j = 0; j < i; ++j, above += rs_u) {
          const vec<T> x = broadcast<T>(-u[j * rs_u + i]);
          for (int v = 0; v < count; ++v) sum[v] = fma(x, load(above + v * L), sum[v]);
        }
      }
      for (int v = 0; v < count; ++v) store(row + column + v * L, sum[v]);
    }
    const T pivot = row[i];
    if (!(pivot > 0)) return i;
    const T root = root_of(pivot);
    for (int64_t column = i / L * L; column < width; column += L)
      store(row + column, load(row + column) / broadcast<T>(root));
    row[i] = root;
    if (__builtin_isinf(root)) return i + 1;
  }
  return n;
}

// The place of the greatest |x[i]| for i in [begin, end), the first of equal ones; `begin` if x[begin] is
// NaN, while NaN elsewhere does not count. What follows x[end - 1] up to a whole vector is 0 or NaN.
template <class T>
static int64_t greatest(const T* x, int64_t begin, int64_t end) {
  constexpr int L = lanes<T>;
  if (__builtin_isnan(x[begin])) return begin;
  vec<T> most = broadcast<T>(T(-1));
  for (int64_t i = begin; i < end; i += L) most = maximum(abs(load(x + i)), most);
  const T found = reduce_max(most);
  for (int64_t i = begin; i < end; i += L) {
    const ivec<T> equal = abs(load(x + i)) == broadcast<T>(found);
    if (!any(equal)) continue;
    for (int lane = 0; lane < L; ++lane)
      if (equal[lane]) return i + lane;
  }
  return begin;
}

// y -= f x, from element `begin` to `end`, for kLines lines y. The products are rounded, so that the rests of
// a row that is a multiple of another one are 0 as often as possible, and the matrix is found to be singular.
template <class T, int kLines>
RANVIER_INLINE void subtract_line(int64_t begin, int64_t end, const T* x, T* y, int64_t ld,
                                  const T (&f)[kLines]) {
  for (int64_t i = begin; i < end; i += lanes<T>) {
    const vec<T> part = load(x + i);
    RANVIER_UNROLL
    for (int k = 0; k < kLines; ++k) {
      T* to = y + k * ld + i;
      store(to, load(to) - broadcast<T>(f[k]) * part);
    }
  }
}

template <class T>
static void lu_panel(const Panel<T>& p, int32_t* exchanged) {
  constexpr int kTogether = 4;
  for (int j = 0; j < p.columns; ++j) {
    T* line = p.column(j);
    const int64_t place = greatest(line, j, p.rows);
    exchanged[j] = static_cast<int32_t>(place);
    if (place != j)
      for (int k = 0; k < p.columns; ++k) {
        T* other = p.column(k);
        const T moved = other[j];
        other[j] = other[place];
        other[place] = moved;
      }
    const T pivot = line[j];
    const int64_t begin = j + 1;
    if (pivot != 0)
      for (int64_t i = begin; i < p.rows; i += lanes<T>)
        store(line + i, load(line + i) / broadcast<T>(pivot));
    int k = j + 1;
    for (; k + kTogether <= p.columns; k += kTogether) {
      T* y = p.column(k);
      const T f[kTogether] = {y[j], y[p.ld + j], y[2 * p.ld + j], y[3 * p.ld + j]};
      subtract_line(begin, p.rows, line, y, p.ld, f);
    }
    for (; k < p.columns; ++k) {
      T* y = p.column(k);
      const T f[1] = {y[j]};
      subtract_line(begin, p.rows, line, y, p.ld, f);
    }
  }
}

// The sums of x y_k from element `begin` to `end`, for kLines lines y.
template <class T, int kLines>
RANVIER_INLINE void dots(int64_t begin, int64_t end, const T* x, const T* y, int64_t ld, T (&sums)[kLines]) {
  vec<T> sum[kLines] = {};
  for (int64_t i = begin; i < end; i += lanes<T>) {
    const vec<T> part = load(x + i);
    RANVIER_UNROLL
    for (int k = 0; k < kLines; ++k) sum[k] = fma(part, load(y + k * ld + i), sum[k]);
  }
  RANVIER_UNROLL
  for (int k = 0; k < kLines; ++k) sums[k] = reduce_add(sum[k]);
}

// The 2-norm of x[begin] to x[end - 1]. What follows up to a whole vector is 0.
template <class T>
static T norm_of(const T* x, int64_t begin, int64_t end) {
  constexpr T kLeast = sizeof(T) == 4 ? T(1e-30) : T(1e-280);
  constexpr T kMost = sizeof(T) == 4 ? T(1e30) : T(1e280);
  T squares[1];
  dots<T, 1>(begin, end, x, x, 0, squares);
  if (squares[0] >= kLeast && squares[0] <= kMost) return root_of(squares[0]);
  if (__builtin_isnan(squares[0])) return squares[0];
  // The squares may have overflowed or vanished: of numbers that are divided by the greatest they do not.
  vec<T> most = {};
  for (int64_t i = begin; i < end; i += lanes<T>) most = max(abs(load(x + i)), most);
  const T scale = reduce_max(most);
  if (scale == 0 || __builtin_isinf(scale)) return scale;
  vec<T> sum = {};
  for (int64_t i = begin; i < end; i += lanes<T>) {
    const vec<T> part = load(x + i) / broadcast<T>(scale);
    sum = fma(part, part, sum);
  }
  return scale * root_of(reduce_add(sum));
}

// Makes line[j] and what follows the vector v of a reflection that leaves beta in place of line[j] and 0
// after it; v's first element is 1. Returns tau. If only zeros follow line[j], tau is 0.
template <class T>
static T reflection(T* line, int64_t j, int64_t rows, T& beta) {
  const T alpha = line[j];
  const T norm = norm_of(line, j + 1, rows);
  beta = alpha;
  line[j] = 1;
  if (norm == 0) return 0;
  const T size = alpha < 0 ? -alpha : alpha;
  const T larger = size < norm ? norm : size;
  const T smaller = size < norm ? size : norm;
  const T ratio = smaller / larger;
  T length = larger * root_of(1 + ratio * ratio);
  if (__builtin_isnan(alpha) || __builtin_isnan(norm)) length = alpha + norm;
  beta = __builtin_signbit(alpha) ? length : -length;
  const T divisor = alpha - beta;
  const T inverse = 1 / divisor;
  const bool divides = __builtin_isinf(inverse);
  for (int64_t i = j + 1; i < rows; i += lanes<T>) {
    const vec<T> x = load(line + i);
    store(line + i, divides ? x / broadcast<T>(divisor) : x * broadcast<T>(inverse));
  }
  return (beta - alpha) / beta;
}

// Column j of t: tau on the diagonal, and above it -tau t (V^T v_j) for the vectors V before v_j.
template <class T>
static void extend(const Panel<T>& p, int j, T tau, T* t) {
  constexpr int kTogether = 4;
  const int n = p.columns;
  T shares[64];
  int k = 0;
  for (; k + kTogether <= j; k += kTogether) {
    T sums[kTogether];
    dots(j, p.rows, p.column(j), p.column(k), p.ld, sums);
    for (int i = 0; i < kTogether; ++i) shares[k + i] = sums[i];
  }
  for (; k < j; ++k) {
    T sums[1];
    dots(j, p.rows, p.column(j), p.column(k), p.ld, sums);
    shares[k] = sums[0];
  }
  for (int i = 0; i < j; ++i) {
    T sum = 0;
    for (int q = i; q < j; ++q) sum += t[i * n + q] * shares[q];
    t[i * n + j] = -tau * sum;
  }
  t[j * n + j] = tau;
}

// The columns after j less tau times their share of v_j.
template <class T>
static void reflect_columns(const Panel<T>& p, int j, T tau) {
  constexpr int kTogether = 4;
  int k = j + 1;
  for (; k + kTogether <= p.columns; k += kTogether) {
    T sums[kTogether];
    dots(j, p.rows, p.column(j), p.column(k), p.ld, sums);
    RANVIER_UNROLL
    for (int i = 0; i < kTogether; ++i) sums[i] *= tau;
    subtract_line(j, p.rows, p.column(j), p.column(k), p.ld, sums);
  }
  for (; k < p.columns; ++k) {
    T sums[1];
    dots(j, p.rows, p.column(j), p.column(k), p.ld, sums);
    sums[0] *= tau;
    subtract_line(j, p.rows, p.column(j), p.column(k), p.ld, sums);
  }
}

template <class T>
static void qr_panel(const Panel<T>& p, T* r, T* t) {
  const int n = p.columns;
  for (int i = 0; i < n * n; ++i) r[i] = t[i] = 0;
  for (int j = 0; j < n; ++j) {
    T* line = p.column(j);
    T beta;
    const T tau = reflection(line, j, p.rows, beta);
    for (int i = 0; i < j; ++i) {
      r[i * n + j] = line[i];
      line[i] = 0;
    }
    r[j * n + j] = beta;
    if (tau != 0) reflect_columns(p, j, tau);
    extend(p, j, tau, t);
  }
}

template <class T>
static void transpose_matrix(int64_t rows, int64_t columns, const T* x, int64_t rs_x, T* y, int64_t rs_y) {
  constexpr int L = lanes<T>;
  int64_t i = 0;
  for (; rows - i >= L; i += L) {
    const T* from = x + i * rs_x;
    int64_t j = 0;
    for (; columns - j >= L; j += L) {
      vec<T> square[L];
      RANVIER_UNROLL
      for (int q = 0; q < L; ++q) square[q] = load(from + q * rs_x + j);
      transpose(square);
      RANVIER_UNROLL
      for (int q = 0; q < L; ++q) store(y + (j + q) * rs_y + i, square[q]);
    }
    for (; j < columns; ++j)
      for (int q = 0; q < L; ++q) y[j * rs_y + i + q] = from[q * rs_x + j];
  }
  for (; i < rows; ++i)
    for (int64_t j = 0; j < columns; ++j) y[j * rs_y + i] = x[i * rs_x + j];
}

template <class T>
static constexpr FactorKernels<T> factor_table = {2 * lanes<T>, subtract<T>, substitute<T>,      cholesky<T>,
                                                  lu_panel<T>,  qr_panel<T>, transpose_matrix<T>};

RANVIER_DEFINE_TABLES(FactorKernels, factor_kernels, factor_table);

}  // namespace ranvier::RANVIER_ISA
