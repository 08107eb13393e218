// Eigenvalues and eigenvectors of a panel of symmetric matrices by Jacobi's rotations.
//
// A rotation of rows and columns p and q makes a[p][q] 0. A sweep has one for each pair; it goes round by
// round, as in a tournament: the pairs of a round have no number in common, so that their rotations do not
// wait for each other. Sweeps are repeated until all elements beside the diagonals are 0 to rounding. Lanes
// that are done take part with the angle 0, which changes no bit.
#pragma once
#include <limits>

#include "kernels/small_matrices/panel.h"

namespace ranvier::RANVIER_ISA {

constexpr int kMostSweeps = 40;  // 6 to 10 are usual
constexpr int kMostPairs = int(kSmallMatrix / 2);

// The rotations of a round: those of rows and columns p[i] < q[i]. resting: the number without a partner; -1
// if there is none.
template <class T>
struct Round {
  int pairs, resting;
  int p[kMostPairs], q[kMostPairs];
  vec<T> sine[kMostPairs], half[kMostPairs];  // half: the tangent of half the angle
};

// (x, y) becomes (cos x - sin y, sin x + cos y). With cos = 1 - sin * half, a small angle changes the last
// bits of x and y only, and rounding errors do not add up over the sweeps.
template <class T>
RANVIER_INLINE void rotate(vec<T> sine, vec<T> half, vec<T>& x, vec<T>& y) {
  const vec<T> from_x = fma(half, x, y);
  const vec<T> from_y = fma(-half, y, x);
  x = fma(-sine, from_x, x);
  y = fma(sine, from_y, y);
}

// The pairs of round number `round` among n numbers. `order` has them, and for odd n also n, whose partner
// rests.
template <class T>
RANVIER_INLINE void set_pairs(Round<T>& r, const int* order, int64_t n) {
  const int64_t players = n + n % 2;
  r.pairs = 0;
  r.resting = -1;
  for (int64_t i = 0; i < players / 2; ++i) {
    const int one = order[i];
    const int other = order[players - 1 - i];
    const int greater = one > other ? one : other;
    const int less = one > other ? other : one;
    if (greater == n) {
      r.resting = less;
      continue;
    }
    r.p[r.pairs] = less;
    r.q[r.pairs] = greater;
    ++r.pairs;
  }
}

// Moves all numbers but the first one place on, for the next round.
RANVIER_INLINE void next_round(int* order, int64_t n) {
  const int64_t players = n + n % 2;
  if (players < 3) return;
  const int last = order[players - 1];
  for (int64_t i = players - 1; i > 1; --i) order[i] = order[i - 1];
  order[1] = last;
}

// The rotation of each pair, by the angle of at most 45 degrees, and its effect on the diagonal and on
// a[q][p]. Only the lower triangle of a is kept. An element up to the limit stays: its rotation would make
// others so small that they leave the range of T, and processors are slow with such numbers.
template <class T>
RANVIER_INLINE void set_rotations(Round<T>& r, vec<T>* a, int64_t n, vec<T> limit, ivec<T> active) {
  const vec<T> zero = {};
  const vec<T> one = zero + T(1);
  for (int i = 0; i < r.pairs; ++i) {
    vec<T>& app = a[r.p[i] * n + r.p[i]];
    vec<T>& aqq = a[r.q[i] * n + r.q[i]];
    vec<T>& aqp = a[r.q[i] * n + r.p[i]];
    const ivec<T> rotates = active & (abs(aqp) > limit);
    const vec<T> cotangent = (aqq - app) / select(rotates, aqp + aqp, one);  // of twice the angle
    const vec<T> root = sqrt(fma(cotangent, cotangent, one));
    const vec<T> size = one / (abs(cotangent) + root);
    const vec<T> tangent = select(rotates, copysign(size, cotangent), zero);
    const vec<T> cosine = one / sqrt(fma(tangent, tangent, one));
    r.sine[i] = tangent * cosine;
    r.half[i] = r.sine[i] / (one + cosine);
    app = fma(-tangent, aqp, app);
    aqq = fma(tangent, aqp, aqq);
    aqp = select(rotates, zero, aqp);
  }
}

// Element (i, j) of a symmetric matrix whose lower triangle is kept.
template <class T>
RANVIER_INLINE vec<T>& lower(vec<T>* a, int64_t n, int i, int j) {
  return i > j ? a[i * n + j] : a[j * n + i];
}

// Applies the rotations to the elements of a in rows of one pair, and columns of another or of the resting
// number.
template <class T>
RANVIER_INLINE void rotate_matrix(const Round<T>& r, vec<T>* a, int64_t n) {
  for (int i = 1; i < r.pairs; ++i) {
    const int p = r.p[i];
    const int q = r.q[i];
    const vec<T> sine = r.sine[i];
    const vec<T> half = r.half[i];
    for (int j = 0; j < i; ++j) {
      vec<T>& pp = lower<T>(a, n, p, r.p[j]);
      vec<T>& pq = lower<T>(a, n, p, r.q[j]);
      vec<T>& qp = lower<T>(a, n, q, r.p[j]);
      vec<T>& qq = lower<T>(a, n, q, r.q[j]);
      vec<T> pp_now = pp;
      vec<T> pq_now = pq;
      vec<T> qp_now = qp;
      vec<T> qq_now = qq;
      rotate<T>(sine, half, pp_now, qp_now);
      rotate<T>(sine, half, pq_now, qq_now);
      rotate<T>(r.sine[j], r.half[j], pp_now, pq_now);
      rotate<T>(r.sine[j], r.half[j], qp_now, qq_now);
      pp = pp_now;
      pq = pq_now;
      qp = qp_now;
      qq = qq_now;
    }
  }
  if (r.resting < 0) return;
  for (int i = 0; i < r.pairs; ++i) {
    vec<T>& x = lower<T>(a, n, r.resting, r.p[i]);
    vec<T>& y = lower<T>(a, n, r.resting, r.q[i]);
    rotate<T>(r.sine[i], r.half[i], x, y);
  }
}

// Applies the rotations to pairs of rows of v (n, n), whose rows are the eigenvectors.
template <class T>
RANVIER_INLINE void rotate_vectors(const Round<T>& r, vec<T>* v, int64_t n) {
  for (int i = 0; i < r.pairs; ++i) {
    const vec<T> sine = r.sine[i];
    const vec<T> half = r.half[i];
    vec<T>* row_p = v + r.p[i] * n;
    vec<T>* row_q = v + r.q[i] * n;
    for (int64_t k = 0; k < n; ++k) {
      vec<T> x = row_p[k];
      vec<T> y = row_q[k];
      rotate<T>(sine, half, x, y);
      row_p[k] = x;
      row_q[k] = y;
    }
  }
}

template <class T>
RANVIER_INLINE vec<T> most_beside_diagonal(const vec<T>* a, int64_t n) {
  vec<T> most = {};
  for (int64_t i = 1; i < n; ++i)
    for (int64_t j = 0; j < i; ++j) most = maximum(abs(a[i * n + j]), most);
  return most;
}

// Sweeps over a until it is diagonal. v: null, or the rows that are rotated with it. most: the largest number
// of a at the start.
template <class T>
static void diagonalize(vec<T>* a, vec<T>* v, int64_t n, vec<T> most) {
  const vec<T> limit = most * (std::numeric_limits<T>::epsilon() / 8);
  for (int sweep = 0; sweep < kMostSweeps; ++sweep) {
    const ivec<T> active = most_beside_diagonal<T>(a, n) > limit;
    if (!any(active)) return;
    int order[kSmallMatrix + 1];
    const int64_t players = n + n % 2;
    for (int i = 0; i < players; ++i) order[i] = i;
    for (int64_t round = 1; round < players; ++round) {
      Round<T> r;
      set_pairs<T>(r, order, n);
      set_rotations<T>(r, a, n, limit, active);
      rotate_matrix<T>(r, a, n);
      if (v) rotate_vectors<T>(r, v, n);
      next_round(order, n);
    }
  }
}

// Gives each row of v a sign that small changes of the matrix do not turn: the last element that is not small
// is above 0.
template <class T>
RANVIER_INLINE void set_signs(vec<T>* v, int64_t n) {
  const T small = T(0.37) / __builtin_sqrt(T(n));
  for (int64_t i = 0; i < n; ++i) {
    vec<T>* row = v + i * n;
    vec<T> sign = vec<T>{} + T(1);
    for (int64_t k = 0; k < n; ++k) sign = select(abs(row[k]) > small, row[k], sign);
    for (int64_t k = 0; k < n; ++k) row[k] = from_bits(bits(row[k]) ^ sign_bit(sign));
  }
}

// Stores the eigenvalues of each matrix in rising order and the eigenvectors, the rows of v, as columns.
template <class T>
RANVIER_INLINE void store_in_order(const MatrixPanel<T>& p, const vec<T>* values, const vec<T>* v) {
  constexpr int L = lanes<T>;
  const int64_t n = p.a.rows;
  const T* each = reinterpret_cast<const T*>(values);
  const T* vectors = reinterpret_cast<const T*>(v);
  for (int i = 0; i < p.count; ++i) {
    int order[kSmallMatrix];
    for (int k = 0; k < n; ++k) {  // insertion
      const T value = each[k * L + i];
      int place = k;
      for (; place > 0 && each[order[place - 1] * L + i] > value; --place) order[place] = order[place - 1];
      order[place] = k;
    }
    for (int64_t k = 0; k < n; ++k) p.y[i * n + k] = each[order[k] * L + i];
    if (!p.z) continue;
    T* to = p.z + i * n * n;
    for (int64_t k = 0; k < n; ++k) {
      const T* from = vectors + order[k] * n * L + i;
      for (int64_t r = 0; r < n; ++r) to[r * n + k] = from[r * L];
    }
  }
}

template <class T>
static void eigenvectors(const MatrixPanel<T>& p) {
  const int64_t n = p.a.rows;
  const vec<T> zero = {};
  vec<T>* a = memory_of(p);
  vec<T>* v = p.z ? behind<T>(a, n * n) : nullptr;
  vec<T>* values = behind<T>(a, n * n) + n * n;
  load_panel(p.a, a);
  vec<T> most = zero;
  vec<T> finite = zero;  // NaN for a matrix that is not
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j <= i; ++j) {
      if (p.upper) a[i * n + j] = a[j * n + i];
      most = maximum(abs(a[i * n + j]), most);
      finite += a[i * n + j] * T(0);
    }
  const vec<T> scale = scale_to_1<T>(most);
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j <= i; ++j) a[i * n + j] = select(finite == finite, a[i * n + j] * scale, zero);
  if (v)
    for (int64_t i = 0; i < n; ++i)
      for (int64_t j = 0; j < n; ++j) v[i * n + j] = zero + T(i == j);
  diagonalize<T>(a, v, n, most * scale);
  const vec<T> back = T(1) / scale;
  for (int64_t i = 0; i < n; ++i) values[i] = fma(a[i * n + i], back, finite);
  if (v) {
    set_signs<T>(v, n);
    for (int64_t i = 0; i < n * n; ++i) v[i] += finite;
  }
  store_in_order<T>(p, values, v);
}

}  // namespace ranvier::RANVIER_ISA
