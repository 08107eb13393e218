// Small products: b stays in L1. They have no plan, and nothing is packed, except a b whose rows are not
// contiguous. The sums of a tile are held in registers, where bias, ReLU or its derivative are applied to
// them. Rows of c are contiguous. Included by matmul.isa.cpp only.
#pragma once
#include "base/unroll.h"
#include "kernels/activation/functions.h"
#include "kernels/matmul/blocking.h"
#include "kernels/matmul/packing.h"
#include "kernels/matmul/tile.h"
#include "simd/half.h"
#include "simd/vec.h"

namespace ranvier::RANVIER_ISA {

// The rows of a tile with this many vectors of columns: the sums, the vectors of b and a broadcast element of
// a fill the registers, or about half of them.
constexpr int small_rows(int vectors) {
  if (kManyRegisters || vectors == 1) return 8;
  return vectors == 2 ? 6 : 4;
}

// The first n elements at p, in a vector of the type of the last argument.
template <class T>
RANVIER_INLINE vec<T> load_last(const T* p, int n, vec<T>) {
  return load_n(p, n);
}
template <class T>
RANVIER_INLINE void store_last(T* p, vec<T> v, int n) {
  store_n(p, v, n);
}
#if RANVIER_HAS_HALF
RANVIER_INLINE half_vec load_last(const float* p, int n, half_vec) { return load_half(p, n); }
RANVIER_INLINE void store_last(float* p, half_vec v, int n) { store_half(p, v, n); }
#endif

// The vectors of a row of n columns: kWhole whole ones, then one of type Last. kMasked: Last holds all n
// columns and is masked. Otherwise Last begins at column `offset` = n - its elements, so that it ends with
// the columns and overlaps the vector before.
template <class T, int kWhole, class Last, bool kMasked>
struct SmallRow {
  vec<T> whole[kWhole + 1];  // one more, since an array of no elements is not allowed
  Last last;

  RANVIER_INLINE SmallRow load(const T* p, int64_t offset, int n) {
    SmallRow row;
    RANVIER_UNROLL
    for (int v = 0; v < kWhole; ++v) row.whole[v] = ranvier::RANVIER_ISA::load(p + v * lanes<T>);
    if constexpr (kMasked) {
      row.last = load_last(p, n, Last{});
    } else {
      __builtin_memcpy(&row.last, p + offset, sizeof row.last);
    }
    return row;
  }
  RANVIER_INLINE void store(T* p, const SmallRow& row, int64_t offset, int n) {
    RANVIER_UNROLL
    for (int v = 0; v < kWhole; ++v) ranvier::RANVIER_ISA::store(p + v * lanes<T>, row.whole[v]);
    if constexpr (kMasked) {
      store_last(p, row.last, n);
    } else {
      __builtin_memcpy(p + offset, &row.last, sizeof row.last);
    }
  }
  // Replaces each vector x of `row` by f(x, the same vector of `other`).
  template <class F>
  RANVIER_INLINE void each(SmallRow& row, const SmallRow& other, const F& f) {
    RANVIER_UNROLL
    for (int v = 0; v < kWhole; ++v) row.whole[v] = f(row.whole[v], other.whole[v]);
    row.last = f(row.last, other.last);
  }
};

// Computes kRows rows of c from `row` on and n columns from `column` on; a and b point to the first row and
// the first column of these.
template <class T, int kRows, class Row>
static void small_tile(const MatmulRows<T>& t, const T* a, const T* b, int64_t column, int64_t row, int n) {
  const int64_t offset = n - int64_t(sizeof(Row::last) / sizeof(T));
  Row acc[kRows];
  RANVIER_UNROLL
  for (int i = 0; i < kRows; ++i) acc[i] = Row{};
  const int64_t rs_a = opaque(t.rs_a);
  const int64_t cs_a = t.cs_a;
  const int64_t rs_b = t.rs_b;
  for (int64_t p = t.k; p > 0; --p, a += cs_a, b += rs_b) {
    const Row line = Row::load(b, offset, n);
    const T* x = a;
    RANVIER_UNROLL
    for (int i = 0; i < kRows; ++i, x += rs_a)
      Row::each(acc[i], line, [xs = *x](auto sum, auto bs) RANVIER_INLINED {
        return fma(xs - decltype(sum){}, bs, sum);  // a broadcast, as in vec.h
      });
  }
  const bool relu = t.after.activation.kind == Activation::relu;
  const T* saved = relu && t.after.saved ? t.after.saved + row * t.after.rs_s + column : nullptr;
  Row bias{};
  if (t.after.bias_row) bias = Row::load(t.after.bias_row + column, offset, n);
  T* c = t.c + row * t.rs_c + column;
  RANVIER_UNROLL
  for (int i = 0; i < kRows; ++i) {
    if (t.after.bias_row) Row::each(acc[i], bias, [](auto y, auto b) RANVIER_INLINED { return y + b; });
    if (saved)
      Row::each(acc[i], Row::load(saved, offset, n),
                [](auto y, auto s) RANVIER_INLINED { return s <= T(0) ? decltype(y){} : y; });
    else if (relu)
      Row::each(acc[i], acc[i], [](auto y, auto) RANVIER_INLINED { return y <= T(0) ? decltype(y){} : y; });
    Row::store(c, acc[i], offset, n);
    c += t.rs_c;
    if (saved) saved += t.after.rs_s;
  }
}

// Computes all rows of n columns, which are kVectors vectors, the last of type Last.
template <class T, int kVectors, class Last, bool kMasked = false>
static void small_columns(const MatmulRows<T>& t, const T* b, int64_t column, int n) {
  using Row = SmallRow<T, kVectors - 1, Last, kMasked>;
  constexpr int kMost = small_rows(kVectors);
  const T* a = t.a;
  int64_t row = 0;
  const auto rows = [&](auto count) RANVIER_INLINED {
    constexpr int kRows = decltype(count)::value;
    small_tile<T, kRows, Row>(t, a + row * t.rs_a, b, column, row, n);
    row += kRows;
  };
  // With tiles of 6 rows, a rest of 8 rows is computed as twice 4, without an overlap.
  while (t.rows - row >= kMost && (kMost != 6 || t.rows - row != 8))
    rows(std::integral_constant<int, kMost>());
  while (t.rows > row && t.rows >= 4) {  // a last tile of 4 rows may overlap the one before
    if (t.rows - row < 4) row = t.rows - 4;
    rows(std::integral_constant<int, 4>());
  }
  while (t.rows > row) rows(std::integral_constant<int, 1>());
}

// Computes the last n columns, at most two vectors (three where the level has no half vectors).
template <class T>
RANVIER_INLINE void last_columns(const MatmulRows<T>& t, const T* b, int64_t column, int n) {
  constexpr int L = lanes<T>;
#if RANVIER_HAS_HALF
  if (n < L / 2) return small_columns<T, 1, half_vec, true>(t, b, column, n);
  if (n == L / 2) return small_columns<T, 1, half_vec>(t, b, column, n);
  if (n > L && n <= L + L / 2) return small_columns<T, 2, half_vec>(t, b, column, n);
#else
  if (n > 2 * L) return small_columns<T, 3, vec<T>>(t, b, column, n);
#endif
  if (n < L) return small_columns<T, 1, vec<T>, true>(t, b, column, n);
  if (n == L) return small_columns<T, 1, vec<T>>(t, b, column, n);
  small_columns<T, 2, vec<T>>(t, b, column, n);
}

// Computes the last n columns, at most four, where columns of a are contiguous (rs_a = 1) and nothing follows
// the sums, as in the gradient of a weight. Lanes are rows of c here, since vectors of columns would be
// mostly empty. The chain of each element is the same, and so are its bits. At least one vector of rows. T is
// float, whose vectors have four lanes or more: other types and levels without FMA have no small.h
// (kFrequent).
template <class T, int kVectors>
static void few_columns(const MatmulRows<T>& t, const T* b, int64_t column, int n) {
  constexpr int L = lanes<T>, kRows = kVectors * L;
  for (int64_t row = 0, next; row < t.rows; row = next) {
    next = row + kRows;
    row = next <= t.rows ? row : t.rows - kRows;  // the last may overlap those before
    const T* x = t.a + row;
    const T* y = b;
    vec<T> acc[kVectors][4] = {};
    for (int64_t p = t.k; p > 0; --p, x += t.cs_a, y += t.rs_b) {
      RANVIER_UNROLL
      for (int v = 0; v < kVectors; ++v) {
        const vec<T> rows = load(x + v * L);
        RANVIER_UNROLL
        for (int j = 0; j < 4; ++j) {
          const int column_of_b = j < n ? j : 0;  // sums of columns that do not exist are not stored
          acc[v][j] = fma(rows, factor<T>(y[column_of_b]), acc[v][j]);
        }
      }
    }
    T* c = t.c + row * t.rs_c + column;
    for (int v = 0; v < kVectors; ++v) {
      transpose_fours(acc[v], std::make_integer_sequence<int, L>());
      T lines[4][L];  // row 4 q + i of c has its four columns at lines[i][4 q]
      RANVIER_UNROLL
      for (int i = 0; i < 4; ++i) store(lines[i], acc[v][i]);
      for (int i = 0; i < L; ++i, c += t.rs_c) {
        const T* line = lines[i % 4] + i / 4 * 4;
        if (n == 4)
          __builtin_memcpy(c, line, 4 * sizeof(T));
        else
          for (int j = 0; j < n; ++j) c[j] = line[j];
      }
    }
  }
}

// MatmulKernels::small: c (t.rows, t.columns). If cs_b is not 1, b is packed to `scratch`, and t describes
// the packed b afterwards, so that a call for further rows does not pack it again.
template <class T>
static void run_small(MatmulRows<T>& t, T* scratch) {
  constexpr int L = lanes<T>;
  if (t.cs_b != 1) {
    const int width = (t.columns + L - 1) / L * L;
    pack<T>(t.k, t.columns, width, t.b, t.rs_b, t.cs_b, scratch);
    t.b = scratch;
    t.rs_b = width;
    t.cs_b = 1;
  }
  constexpr int kMost = RANVIER_HAS_HALF ? 2 * L : 3 * L;  // the most columns that last_columns() takes
  const bool by_rows =
      t.rs_a == 1 && t.rows >= L && !t.after.bias_row && t.after.activation.kind == Activation::none;
  const int rest = t.columns % L;
  const int few = by_rows && rest <= 4 ? rest : 0;  // the last columns, for few_columns()
  const int64_t columns = t.columns - few;
  int64_t column = 0;
  for (; columns - column > kMost; column += 2 * L)
    small_columns<T, 2, vec<T>>(t, t.b + column, column, 2 * L);
  if (column < columns) last_columns(t, t.b + column, column, static_cast<int>(columns - column));
  if (few > 0 && t.rows >= 2 * L)
    few_columns<T, 2>(t, t.b + columns, columns, few);
  else if (few > 0)
    few_columns<T, 1>(t, t.b + columns, columns, few);
}

}  // namespace ranvier::RANVIER_ISA
