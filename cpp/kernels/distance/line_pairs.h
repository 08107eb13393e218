// How pairs of lines are read: a vector of them at a time, as the columns of two tiles; long lines whose
// elements are side by side are read one pair after another, along the elements.
#pragma once
#include "kernels/distance/distance.h"
#include "simd/math.h"
#include "simd/tile.h"

namespace ranvier::RANVIER_ISA {

// Three numbers of each pair of lines, a pair in each lane; or of one pair, all lanes alike.
template <class T>
struct OfPairs {
  vec<T> v[3];
};

// Up to a vector of pairs, from `first` on.
template <class T>
struct PairGroup {
  const DistanceLines<T>& l;
  int64_t first;
  int count;
};

// Body::step(x1, x2, inside, lines, pairs, sums): the mask `inside` is false beyond a line. Its result is
// written to dx if Body::writes; Body::sums sums are kept. A rare body has no separate code for long lines.
template <class Body, class T>
__attribute__((noinline)) static OfPairs<T> across(const PairGroup<T>& g, const OfPairs<T>& o) {
  const DistanceLines<T>& l = g.l;
  Tile<T> x1, x2;
  OfPairs<T> sums{};
  for (int64_t k0 = 0; k0 < l.n; k0 += kTileRows) {
    const int64_t n = l.n - k0 < kTileRows ? l.n - k0 : kTileRows;
    load_tile(x1, l.x1.data + g.first * l.x1.line + k0 * l.x1.step, l.x1.line, l.x1.step, g.count, n);
    load_tile(x2, l.x2.data + g.first * l.x2.line + k0 * l.x2.step, l.x2.line, l.x2.step, g.count, n);
    for (int64_t k = 0; k < n; ++k) {
      const vec<T> y = Body::step(Tile<T>::row(x1, k), Tile<T>::row(x2, k), vec<T>{} == T(0), l, o, sums);
      if (Body::writes) Tile<T>::set_row(x1, k, y);
    }
    if (Body::writes)
      store_tile(x1, l.dx.data + g.first * l.dx.line + k0 * l.dx.step, l.dx.line, l.dx.step, g.count, n);
  }
  return sums;
}

// The same, one pair after another.
template <class Body, class T>
__attribute__((noinline)) static OfPairs<T> along(const PairGroup<T>& g, const OfPairs<T>& o) {
  constexpr int L = lanes<T>, kVectors = 2;  // sums that need not wait for each other
  const DistanceLines<T>& l = g.l;
  alignas(64) T given[3][L], found[3][L];
  for (int s = 0; s < 3; ++s) store(given[s], o.v[s]);
  for (int i = 0; i < g.count; ++i) {
    const T *x1 = l.x1.data + (g.first + i) * l.x1.line, *x2 = l.x2.data + (g.first + i) * l.x2.line;
    T* dx = Body::writes ? l.dx.data + (g.first + i) * l.dx.line : nullptr;
    const OfPairs<T> pair = {broadcast(given[0][i]), broadcast(given[1][i]), broadcast(given[2][i])};
    OfPairs<T> sums[kVectors] = {};
    int64_t k = 0;
    for (; k + kVectors * L <= l.n; k += kVectors * L) {
      RANVIER_UNROLL
      for (int v = 0; v < kVectors; ++v) {
        const vec<T> y =
            Body::step(load(x1 + k + v * L), load(x2 + k + v * L), vec<T>{} == T(0), l, pair, sums[v]);
        if (Body::writes) store(dx + k + v * L, y);
      }
    }
    for (; k < l.n; k += L) {
      const int left = int(l.n - k < L ? l.n - k : L);
      const vec<T> y =
          Body::step(load_n(x1 + k, left), load_n(x2 + k, left), iota<T>() < T(left), l, pair, sums[0]);
      if (Body::writes) store_n(dx + k, y, left);
    }
    for (int s = 0; s < Body::sums; ++s) {
      vec<T> sum = sums[0].v[s];
      for (int v = 1; v < kVectors; ++v) sum = Body::join(sum, sums[v].v[s]);
      found[s][i] = Body::across_lanes(sum);
    }
  }
  return {load(found[0]), load(found[1]), load(found[2])};
}

// What Body's sums come to, pair by pair.
template <class Body, class T>
RANVIER_INLINE OfPairs<T> over_pairs(const PairGroup<T>& g, const OfPairs<T>& o = {}) {
  const DistanceLines<T>& l = g.l;
  const bool dense = l.x1.step == 1 && l.x2.step == 1 && (!l.dx.data || l.dx.step == 1);
  if constexpr (!Body::rare)
    if (dense && l.n > kTileRows) return along<Body>(g, o);
  return across<Body>(g, o);
}

}  // namespace ranvier::RANVIER_ISA
