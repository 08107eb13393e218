// Gaussian elimination with exchanged rows for a panel of matrices: LU factors, systems of equations,
// logarithms of determinants.
//
// Products are rounded before they are subtracted. With fused products, rows that depend on each other would
// leave a rounding error in place of a pivot that is 0, and a singular matrix would pass as a regular one.
#pragma once
#include "kernels/small_matrices/panel.h"
#include "simd/math.h"

namespace ranvier::RANVIER_ISA {

// The matrices (a | b) that are eliminated: a (rows, columns), b (rows, right).
template <class T>
struct Eliminated {
  vec<T>*a, *b;
  int64_t rows, columns, right;
};

template <class T>
RANVIER_INLINE void exchange(ivec<T> mask, vec<T>& x, vec<T>& y) {
  const vec<T> before = x;
  x = select(mask, y, before);
  y = select(mask, before, y);
}

// Step k: exchanges row k with the row that has the largest number in column k, and subtracts multiples of it
// from the rows below. The multiples replace column k. NaN is a pivot only where it is in row k. Returns the
// row of the pivot. kFirst: whether the columns before k, which have the multiples, are exchanged, too.
template <bool kFirst, class T>
RANVIER_INLINE ivec<T> eliminate(const Eliminated<T>& m, int64_t k) {
  vec<T>* row_k = m.a + k * m.columns;
  vec<T>* right_k = m.b + k * m.right;
  vec<T> most = abs(row_k[k]);
  ivec<T> place = ibroadcast<T>(int_of<T>(k));
  for (int64_t i = k + 1; i < m.rows; ++i) {
    const vec<T> size = abs(m.a[i * m.columns + k]);
    const ivec<T> larger = size > most;
    most = select(larger, size, most);
    place = select(larger, ibroadcast<T>(int_of<T>(i)), place);
  }
  constexpr int64_t kFew = 4;  // a branch that depends on the numbers costs more than the exchange of a row
  for (int64_t i = k + 1; i < m.rows; ++i) {
    const ivec<T> here = place == int_of<T>(i);
    if (m.rows > kFew && !any(here)) continue;
    for (int64_t c = kFirst ? 0 : k; c < m.columns; ++c) exchange<T>(here, row_k[c], m.a[i * m.columns + c]);
    for (int64_t c = 0; c < m.right; ++c) exchange<T>(here, right_k[c], m.b[i * m.right + c]);
  }
  const vec<T> pivot = row_k[k];
  const vec<T> zero = {};
  const vec<T> divisor = select(pivot == zero, zero + T(1), pivot);
  for (int64_t i = k + 1; i < m.rows; ++i) {
    vec<T>* row = m.a + i * m.columns;
    const vec<T> factor = row[k] / divisor;
    row[k] = factor;
    for (int64_t c = k + 1; c < m.columns; ++c) row[c] -= factor * row_k[c];
    for (int64_t c = 0; c < m.right; ++c) m.b[i * m.right + c] -= factor * right_k[c];
  }
  return place;
}

template <class T>
static void factor_lu(const MatrixPanel<T>& p) {
  const Eliminated<T> m = {memory_of(p), nullptr, p.a.rows, p.a.columns, 0};
  load_panel(p.a, m.a);
  const int64_t steps = m.rows < m.columns ? m.rows : m.columns;
  for (int64_t k = 0; k < steps; ++k) {
    const ivec<T> place = eliminate<true>(m, k);
    store_whole<T>(place + int_of<T>(1), p.info + k, steps, p.count);
  }
  store_panel(m.a, p.y, m.rows * m.columns, p.count);
}

// The place, from 1, of the first pivot that is 0: `before`, unless that is 0 and the pivot of step k is 0.
template <class T>
RANVIER_INLINE ivec<T> zero_pivot(ivec<T> before, vec<T> pivot, int64_t k) {
  return select((before == 0) & (pivot == T(0)), ibroadcast<T>(int_of<T>(k + 1)), before);
}

template <class T>
static void solve_general(const MatrixPanel<T>& p) {
  const int64_t n = p.a.rows;
  const int64_t columns = p.b.columns;
  vec<T>* a = memory_of(p);
  vec<T>* b = behind<T>(a, n * n);
  const Eliminated<T> m = {a, b, n, n, columns};
  load_panel(p.a, a);
  load_panel(p.b, b);
  ivec<T> place = {};
  for (int64_t k = 0; k < n; ++k) {
    eliminate<false>(m, k);
    place = zero_pivot<T>(place, a[k * n + k], k);
  }
  for (int64_t k = n - 1; k >= 0; --k) {
    const vec<T> pivot = a[k * n + k];
    vec<T>* found = b + k * columns;
    for (int64_t c = 0; c < columns; ++c) found[c] /= pivot;
    for (int64_t i = 0; i < k; ++i) {
      const vec<T> factor = -a[i * n + k];
      vec<T>* row = b + i * columns;
      for (int64_t c = 0; c < columns; ++c) row[c] = fma(factor, found[c], row[c]);
    }
  }
  store_panel(b, p.y, n * columns, p.count);
  store_whole<T>(place, p.info, 1, p.count);
}

// The sign of a determinant, 1 or -1, and the pivots, whose product is the determinant times the sign.
template <class T>
RANVIER_INLINE vec<T> eliminate_all(const Eliminated<T>& m) {
  const vec<T> one = vec<T>{} + T(1);
  vec<T> sign = one;
  for (int64_t k = 0; k < m.rows; ++k) {
    const ivec<T> place = eliminate<false>(m, k);
    sign = select(place == int_of<T>(k), sign, -sign);
  }
  return sign;
}

template <class T>
RANVIER_INLINE vec<T> log_of_pivots(const vec<T>* a, int64_t n) {
  vec<T> sum = {};
  for (int64_t k = 0; k < n; ++k) sum += log(abs(a[k * n + k]));
  return sum;
}

// The determinant of matrices with these pivots. Where a product of some of them leaves the range of T, it is
// computed by logarithms.
template <class T>
RANVIER_INLINE vec<T> product_of_pivots(const vec<T>* a, int64_t n, vec<T> sign) {
  constexpr T kLeast = sizeof(T) == 4 ? T(0x1p-126) : T(0x1p-1022);
  constexpr T kMost = sizeof(T) == 4 ? T(0x1p127) : T(0x1p1023);
  vec<T> product = sign;
  const vec<T> zero = {};
  ivec<T> outside = zero != zero;
  for (int64_t k = 0; k < n; ++k) {
    product *= a[k * n + k];
    const vec<T> size = abs(product);
    outside |= (size < kLeast) | (size > kMost);
  }
  if (!any(outside)) return product;
  vec<T> signs = sign;
  for (int64_t k = 0; k < n; ++k) signs = from_bits(bits(signs) ^ sign_bit(a[k * n + k]));
  const vec<T> by_logarithms = copysign(exp(log_of_pivots<T>(a, n)), signs);
  return select(outside, by_logarithms, product);
}

template <class T>
static void log_determinant(const MatrixPanel<T>& p) {
  const int64_t n = p.a.rows;
  vec<T>* a = memory_of(p);
  load_panel(p.a, a);
  const vec<T> zero = {};
  const vec<T> one = zero + T(1);
  vec<T> sign = eliminate_all<T>({a, nullptr, n, n, 0});
  ivec<T> place = {};
  for (int64_t k = 0; k < n; ++k) {
    const vec<T> pivot = a[k * n + k];
    place = zero_pivot<T>(place, pivot, k);
    sign *= select(pivot == zero, zero, copysign(one, pivot));
  }
  const vec<T> logarithm = log_of_pivots<T>(a, n);
  sign = select(logarithm == logarithm, sign, zero);  // NaN has no sign
  store_n(p.y, sign, p.count);
  store_n(p.z, logarithm, p.count);
  store_whole<T>(place, p.info, 1, p.count);
}

}  // namespace ranvier::RANVIER_ISA
