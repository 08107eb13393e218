// Products with at most kDotRows columns whose operands are both contiguous along k, as in the last linear
// layer of a regression. Each element of c is a dot product: lanes are products along k, and the lanes of the
// sum are added at the end. So each element is read once, and nothing is packed. Here "rows" are the few
// columns of c, after a transposition, or the rows where these are fewer (see choice.cpp); "columns" are the
// other dimension. Included by matmul.isa.cpp only.
#pragma once
#include "base/unroll.h"
#include "kernels/matmul/epilogue.h"
#include "kernels/matmul/tile.h"
#include "simd/transpose.h"
#include "simd/vec.h"

namespace ranvier::RANVIER_ISA {

// Adds the products of row i of a and column j + l of b to sums[l * kRows + i], whose lanes are still to be
// added up.
template <int kRows, int kColumns, class T, int kSums>
RANVIER_INLINE void add_products(const MatmulRows<T>& t, int64_t j, typename VecOf<T>::type (&sums)[kSums]) {
  constexpr int L = lanes<T>;
  const T* a = t.a;
  const T* b = t.b + j * t.cs_b;  // a column of b is a row in memory
  const auto step = [&](auto read, int64_t p) RANVIER_INLINED {
    vec<T> row[kRows];
    RANVIER_UNROLL
    for (int i = 0; i < kRows; ++i) row[i] = read(a + i * t.rs_a + p);
    RANVIER_UNROLL
    for (int l = 0; l < kColumns; ++l) {
      const vec<T> column = read(b + l * t.cs_b + p);
      RANVIER_UNROLL
      for (int i = 0; i < kRows; ++i) sums[l * kRows + i] = fma(row[i], column, sums[l * kRows + i]);
    }
  };
  int64_t p = 0;
  for (; p + L <= t.k; p += L) step([](const T* x) RANVIER_INLINED { return load(x); }, p);
  if (p < t.k) step([n = static_cast<int>(t.k - p)](const T* x) { return load_n(x, n); }, p);
}

// c[i, j + l] = sum_of(l * kRows + i) plus the bias.
template <int kRows, int kColumns, class T, class Sum>
RANVIER_INLINE void finish_sums(const MatmulRows<T>& t, int64_t j, const Sum& sum_of) {
  RANVIER_UNROLL
  for (int i = 0; i < kRows; ++i) {
    RANVIER_UNROLL
    for (int l = 0; l < kColumns; ++l) {
      T sum = sum_of(l * kRows + i);
      if (t.after.bias_row) sum += t.after.bias_row[j + l];
      if (t.after.bias_column) sum += t.after.bias_column[i];
      t.c[i * t.rs_c + (j + l) * t.cs_c] = sum;
    }
  }
}

// Computes kRows rows and kColumns columns of c, from column j on.
template <class T, int kRows, int kColumns>
static void dot(const MatmulRows<T>& t, int64_t j) {
  vec<T> sums[kRows * kColumns] = {};
  add_products<kRows, kColumns>(t, j, sums);
  finish_sums<kRows, kColumns>(t, j, [&](int k) RANVIER_INLINED { return reduce_add(sums[k]); });
}

// The columns of dot_group(): their sums for kRows rows fill the lanes of one vector.
template <class T, int kRows>
constexpr int kDotColumns = lanes<T> / kRows;

// Computes kDotColumns columns from j on; the lanes of all sums are added up together. joined: the elements
// of c follow each other in memory, column by column. bias: bias_column, repeated for each column.
template <class T, int kRows>
RANVIER_INLINE void dot_group(const MatmulRows<T>& t, int64_t j, typename VecOf<T>::type bias, bool joined) {
  constexpr int L = lanes<T>, kColumns = kDotColumns<T, kRows>, kSums = kRows * kColumns;
  vec<T> sums[L] = {};
  add_products<kRows, kColumns>(t, j, sums);
  vec<T> totals = sum_lanes<L / 2, T>(sums);
  if (joined) {
    if (t.after.bias_column) totals = totals + bias;
    T* c = t.c + j * t.cs_c;
    return kSums == L ? store(c, totals) : store_n(c, totals, kSums);
  }
  alignas(64) T total[L];
  store(total, totals);
  finish_sums<kRows, kColumns>(t, j, [&](int k) RANVIER_INLINED { return total[k]; });
}

// Computes all columns for kRows rows: groups of kDotColumns where k is short, then some at a time, then one.
template <class T, int kRows>
static void dots(const MatmulRows<T>& t) {
  // The largest k for groups. For a larger k, adding up the lanes is a small part of the time, and the
  // columns of a group, if a page apart, share few sets of L1.
  constexpr int64_t kShort = 256;
  constexpr int L = lanes<T>, kLongColumns = kRows == 1 ? 8 : 4;
  const bool joined = t.cs_c == kRows && (kRows == 1 || t.rs_c == 1) && !t.after.bias_row;
  alignas(64) T repeated[L] = {};
  if (t.after.bias_column)
    for (int i = 0; i < L; ++i) repeated[i] = t.after.bias_column[i % kRows];
  const vec<T> bias = load(repeated);
  int64_t j = 0;
  if constexpr (RANVIER_HAS_FMA && sizeof(T) == sizeof(float))  // elsewhere not worth the size of its code
    for (constexpr int kColumns = kDotColumns<T, kRows>; t.k <= kShort && j + kColumns <= t.columns;
         j += kColumns)
      dot_group<T, kRows>(t, j, bias, joined);
  for (; j + kLongColumns <= t.columns; j += kLongColumns) dot<T, kRows, kLongColumns>(t, j);
  for (; j < t.columns; ++j) dot<T, kRows, 1>(t, j);
}

template <class T>
static __attribute__((noinline)) void normalize_rows(const MatmulRows<T>& t) {
  for_each_part<T>(t.rows, static_cast<int>(t.columns), [&](int i, int j, int n) RANVIER_INLINED {
    T* c = t.c + i * t.rs_c + j * t.cs_c;
    ChannelLine<T> line;
    if (t.after.norm_row)
      line = channel_line(t.after.norm_row + j, t.after.norm_step, n);
    else
      line = same_line(t.after.norm_column + i, t.after.norm_step);
    store_strided(c, t.cs_c, normalized(load_strided(c, t.cs_c, n), line), n);
  });
}

template <class T>
static __attribute__((noinline)) void activate_rows(const MatmulRows<T>& t) {
  const int kind = static_cast<int>(t.after.activation.kind);
  const auto& functions = activation_functions<T>();
  const T alpha = static_cast<T>(t.after.activation.alpha);
  const T beta = static_cast<T>(t.after.activation.beta);
  for (int i = 0; i < t.rows; ++i) {
    T* row = t.c + i * t.rs_c;
    if (t.after.saved)
      functions.backward[kind](
          {t.columns, t.after.saved + i * t.after.rs_s, row, row, t.after.cs_s, t.cs_c, t.cs_c, alpha, beta});
    else
      functions.forward[kind]({t.columns, row, nullptr, row, t.cs_c, 0, t.cs_c, alpha, beta});
  }
}

// Applies the epilogue, except the bias, to finished elements of c, in place.
template <class T>
RANVIER_INLINE void finish_in_place(const MatmulRows<T>& t) {
  if (t.after.norm_row || t.after.norm_column) normalize_rows(t);
  if (t.after.activation.kind != Activation::none) activate_rows(t);
}

// MatmulKernels::dots: all of c. t.k is the whole k, a[i, p] is at a[i * rs_a + p], b[p, j] at b[j * cs_b +
// p].
template <class T>
static void run_dots(const MatmulRows<T>& t) {
  static constexpr void (*of_rows[kDotRows])(const MatmulRows<T>&) = {dots<T, 1>, dots<T, 2>, dots<T, 3>,
                                                                      dots<T, 4>};
  of_rows[t.rows - 1](t);
  finish_in_place(t);
}

}  // namespace ranvier::RANVIER_ISA
