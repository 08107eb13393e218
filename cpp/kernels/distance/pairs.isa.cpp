// The loops of PairKernels (pairs.h, which says what each of them computes), compiled once for each ISA
// level.
//
// distances() computes tiles of kPairRows rows of x1 by kVectors vectors of rows of x2. Rows of x2 are
// transposed, so that each lane belongs to one row of x2, and no sum runs over lanes. In add_slopes() the
// lanes have elements of a row.
#include "kernels/distance/pairs.h"

#include <cstring>

#include "simd/math.h"
#include "simd/tile.h"

namespace ranvier::RANVIER_ISA {

constexpr int kVectors = 2;  // of rows of x2 in a tile

// to (kPairRows, kVectors * lanes) = for each pair the sum over n elements of |a - b|^p; for
// PairPower::largest the largest |a - b|, for zero how many differ. a: the elements of `rows`; b: those of
// the rows of x2, which the tiles hold.
template <PairPower p, class T>
__attribute__((noinline)) static void add_up(const T* const* rows, const Tile<T>* x2, int64_t n, T* to) {
  vec<T> sums[kPairRows][kVectors] = {};
  for (int64_t k = 0; k < n; ++k) {
    vec<T> b[kVectors];
    RANVIER_UNROLL
    for (int v = 0; v < kVectors; ++v) b[v] = Tile<T>::row(x2[v], k);
    RANVIER_UNROLL
    for (int r = 0; r < kPairRows; ++r) {
      const vec<T> a = broadcast(rows[r][k]);
      RANVIER_UNROLL
      for (int v = 0; v < kVectors; ++v) {
        const vec<T> difference = a - b[v];
        const vec<T> zero = {};
        vec<T>& sum = sums[r][v];
        if constexpr (p == PairPower::zero) sum += select(abs(difference) > zero, zero + T(1), difference);
        if constexpr (p == PairPower::one) sum += abs(difference);
        if constexpr (p == PairPower::two) sum = fma(difference, difference, sum);
        if constexpr (p == PairPower::largest) sum = max(abs(difference), sum);
      }
    }
  }
  RANVIER_UNROLL
  for (int r = 0; r < kPairRows; ++r) {
    RANVIER_UNROLL
    for (int v = 0; v < kVectors; ++v) store(to + (r * kVectors + v) * lanes<T>, sums[r][v]);
  }
}

// Replaces the sums of row i and columns [first, last) by their square roots. A sum whose squares may have
// overflowed or underflowed is computed again by t.exact().
template <class T>
static void roots(const PairTile<T>& t, int64_t i, int64_t first, int64_t last, T* sums) {
  constexpr T limit = sizeof(T) == 4 ? 0x1p60f : T(0x1p500);
  for (int64_t j = first; j < last; j += lanes<T>) {
    T* to = sums + (j - t.column);
    const int count = lanes_used<T>(last - j);
    const vec<T> sum = load_n(to, count);
    ivec<T> far = (sum > limit) | (sum < T(1) / limit) | (sum != sum);
    if (count < lanes<T>) far &= iota<T>() < T(count);
    if (!any(far)) {
      store_n(to, sqrt(sum), count);
      continue;
    }
    for (int k = 0; k < count; ++k) {
      const bool in_range = to[k] <= limit && to[k] >= T(1) / limit;
      if (in_range) {
        to[k] = __builtin_sqrt(to[k]);
      } else {
        to[k] = t.exact(t.x1 + i * t.d, t.x2 + (j + k) * t.d, t.d);
      }
    }
  }
}

// Joins two parts of a sum over d: a + b, or for PairPower::largest the larger one, where NaN is larger than
// any number.
template <class T>
RANVIER_INLINE T join(PairPower p, T a, T b) {
  if (p != PairPower::largest) return a + b;
  const bool takes_a = a > b || a != a;
  return takes_a ? a : b;
}

template <class T>
static void distances(const PairTile<T>& t) {
  constexpr int L = lanes<T>;
  constexpr int kColumns = kVectors * L;
  using AddUp = void (*)(const T* const*, const Tile<T>*, int64_t, T*);
  constexpr AddUp functions[] = {add_up<PairPower::zero, T>, add_up<PairPower::one, T>,
                                 add_up<PairPower::two, T>, add_up<PairPower::largest, T>};
  Tile<T> x2[kVectors];
  T sums[kPairRows * kColumns];
  for (int64_t k0 = 0; k0 < t.d; k0 += kTileRows) {
    const int64_t n = t.d - k0 < kTileRows ? t.d - k0 : kTileRows;
    for (int v = 0; v < kVectors; ++v) {
      // Lanes behind the last column hold other rows, whose sums are not stored.
      const int64_t at = v * L < t.columns ? v * L : 0;
      const int64_t left = t.columns - at;
      load_tile(x2[v], t.x2 + (t.column + at) * t.d + k0, t.d, 1, lanes_used<T>(left), n);
    }
    for (int64_t i = t.begin; i < t.end; i += kPairRows) {
      const T* rows[kPairRows];
      for (int r = 0; r < kPairRows; ++r) {
        const int64_t row = i + r < t.end ? i + r : i;  // rows behind the last one repeat row i; not stored
        rows[r] = t.x1 + row * t.d + k0;
      }
      functions[int(t.power)](rows, x2, n, sums);
      for (int r = 0; r < kPairRows && i + r < t.end; ++r) {
        const int64_t first = t.of_one && i + r + 1 > t.column ? i + r + 1 : t.column;
        const int64_t last = t.column + t.columns;
        if (first >= last) break;
        T* own = sums + r * kColumns;
        T* y = t.y + pair_row(t.of_one, t.n, i + r);
        for (int64_t j = first; k0 > 0 && j < last; ++j)  // y has the sum of the elements before k0
          own[j - t.column] = join(t.power, own[j - t.column], y[j]);
        if (t.power == PairPower::two && k0 + n == t.d) roots(t, i + r, first, last, own);
        std::memcpy(y + first, own + (first - t.column), sizeof(T) * size_t(last - first));
      }
    }
  }
}

// PairKernels::weights: dy / y, for p = 2.
template <class T>
static bool weights(int64_t count, const T* y, T* dy) {
  const vec<T> zero = {};
  ivec<T> far = zero != zero;
  for (int64_t k = 0; k < count; k += lanes<T>) {
    const int left = lanes_used<T>(count - k);
    const vec<T> distance = load_n(y + k, left);
    far |= (distance != zero) & ~((distance >= T(1e-15)) & (distance <= T(1e15)));
    store_n(dy + k, select(distance == zero, zero, load_n(dy + k, left) / distance), left);
  }
  return !any(far);
}

// PairKernels::share: the weight of a pair divided by how many elements have the largest difference.
template <class T>
static void share(const PairSlopes<T>& s, T (*weight)[kPairGroup]) {
  constexpr int L = lanes<T>;
  const vec<T> zero = {};
  const vec<T> one = zero + T(1);
  Tile<T> x2;
  for (int64_t k = 0; k < s.count; k += L) {
    const int left = lanes_used<T>(s.count - k);
    vec<T> largest[kPairRows], found[kPairRows] = {};
    for (int r = 0; r < kPairRows; ++r) largest[r] = load_n(s.distance[r] + k, left);
    for (int64_t c = 0; c < s.d; c += kTileRows) {
      const int64_t n = s.d - c < kTileRows ? s.d - c : kTileRows;
      load_tile(x2, s.x2 + k * s.d + c, s.d, 1, left, n);
      for (int64_t i = 0; i < n; ++i) {
        const vec<T> b = Tile<T>::row(x2, i);
        RANVIER_UNROLL
        for (int r = 0; r < kPairRows; ++r)
          found[r] += select(abs(broadcast(s.x1[r][c + i]) - b) == largest[r], one, zero);
      }
    }
    for (int r = 0; r < kPairRows; ++r) {
      if (!s.to[r]) continue;
      const vec<T> count = max(found[r], one);  // where the largest one is NaN, no element equals it
      const vec<T> share = load_n(weight[r] + k, left) / count;
      store_n(weight[r] + k, select(largest[r] == zero, zero, share), left);
    }
  }
}

// PairKernels::slopes for one p: the gradient of kPairRows rows of x1, a vector of their elements at a time.
template <PairPower p, class T>
static void add_slopes(const PairSlopes<T>& s) {
  const vec<T> zero = {};
  const vec<T> one = zero + T(1);
  for (int64_t c = 0; c < s.d; c += lanes<T>) {
    const int left = lanes_used<T>(s.d - c);
    const bool whole = left == lanes<T>;
    vec<T> sums[kPairRows] = {}, rows[kPairRows];
    RANVIER_UNROLL
    for (int r = 0; r < kPairRows; ++r) rows[r] = load_n(s.x1[r] + c, left);
    const T* from = s.x2 + c;
    for (int64_t k = 0; k < s.count; ++k) {
      const vec<T> b = whole ? load(from) : load_n(from, left);
      RANVIER_UNROLL
      for (int r = 0; r < kPairRows; ++r) {
        const vec<T> difference = rows[r] - b;
        vec<T> slope = difference;
        if constexpr (p == PairPower::one) slope = select(abs(slope) > zero, copysign(one, slope), slope);
        if constexpr (p == PairPower::largest) {
          const auto is_largest = (abs(slope) == s.distance[r][k]) & (slope != zero);
          const vec<T> other = select(slope == slope, zero, slope);  // NaN stays: infinity - infinity
          slope = select(is_largest, copysign(one, slope), other);
        }
        sums[r] = fma(broadcast(s.weight[r][k]), slope, sums[r]);
      }
      from += s.d;
    }
    RANVIER_UNROLL
    for (int r = 0; r < kPairRows; ++r)
      if (s.to[r]) store_n(s.to[r] + c, load_n(s.to[r] + c, left) + sums[r], left);
  }
}

template <class T>
static void slopes(const PairSlopes<T>& s) {
  if (s.power == PairPower::two) return add_slopes<PairPower::two>(s);
  if (s.power == PairPower::one) {
    add_slopes<PairPower::one>(s);
  } else {
    add_slopes<PairPower::largest>(s);
  }
}

template <class T>
static constexpr PairKernels<T> pair_table = {kVectors * lanes<T>, distances<T>, weights<T>, share<T>,
                                              slopes<T>};

RANVIER_DEFINE_TABLES(PairKernels, pair_kernels, pair_table);

}  // namespace ranvier::RANVIER_ISA
