// Loops over lines of class scores, for class_loss.isa.cpp. A group of as many lines as a vector has lanes is
// read at a time, in one of two ways:
//
//   across  a vector has one class of all lines; lines are transposed through a tile
//   along   a vector has neighbouring classes of one line, if lines are long and their classes contiguous
//
// over_classes(l, group, body, ...) calls y = body.step(x, q, sum) for each vector of scores x. A body is a
// struct of vectors that have one number for each line, and says
//
//   weighs  whether it needs the coefficients q of the classes; else q is 0
//   writes  whether y is stored to dx. Otherwise step() adds to `sum`, and over_classes() returns these sums
//   rare    whether even long lines are read across, which saves code
#pragma once
#include <limits>

#include "base/unroll.h"
#include "kernels/loss/class_loss.h"
#include "simd/long_sum.h"
#include "simd/math.h"
#include "simd/tile.h"

namespace ranvier::RANVIER_ISA {

// `count` lines from line `first` on, one in each lane, and their targets.
template <class T>
struct LineGroup {
  int64_t first;
  int count;
  bool along;                                          // the way in which the group is read
  bool any_ignored;                                    // some line has no class
  alignas(64) T used[lanes<T>];                        // 0: the line is ignored
  alignas(64) T weight[lanes<T>], of_class[lanes<T>];  // the weight and the score of the line's class
  int64_t index[lanes<T>];                             // the index of the line's class; -1: none
};

// Makes the group of lines from `first` on. scores: of_class is needed (in the forward, which reads lines
// several times, so transposing pays for longer ones). This function and the next ones are not inlined, which
// would triple the code.
template <bool scores, class T>
__attribute__((noinline)) static LineGroup<T> group_of(const ClassLines<T>& l, int64_t first) {
  LineGroup<T> g;
  g.first = first;
  g.count = lanes_used<T>(l.count - first);
  constexpr int64_t transposed = scores ? kTileRows : kShortRow<T>;  // classes, at most
  g.along = l.n > transposed && l.x.step == 1 && (!l.probabilities.data || l.probabilities.step == 1) &&
            (!l.dx.data || l.dx.step == 1);
  g.any_ignored = false;
  for (int i = 0; i < lanes<T>; ++i) g.index[i] = -1;
  store(g.used, broadcast(T(1)));
  store(g.weight, broadcast(T(1)));
  store(g.of_class, vec<T>{});
  for (int i = 0; l.index.data && i < g.count; ++i) {
    const int64_t c = l.index.data[(first + i) * l.index.line];
    // Another thread may have changed a checked index.
    if (c == l.settings.ignore_index || c < 0 || c >= l.n) {
      g.used[i] = T(0);
      g.weight[i] = T(0);
      g.any_ignored = true;
    } else {
      g.index[i] = c;
      if (scores) g.of_class[i] = l.x.data[(first + i) * l.x.line + c * l.x.step];
      if (l.weight) g.weight[i] = l.weight[c];
    }
  }
  return g;
}

// v, but 0 for lines that are ignored.
template <class T>
RANVIER_INLINE vec<T> where_used(const LineGroup<T>& g, typename VecOf<T>::type v) {
  return g.any_ignored ? select(load(g.used) == T(0), vec<T>{}, v) : v;
}

// The coefficient of class c is q[c] = w[c] (keep p[c] + spread), where p is 0 without probabilities, and w
// is 1 without weights.
template <class T>
struct Coefficients {
  T keep, spread;
};

// The classes whose terms are one chain where a vector has one class of all lines: few, as the gradient may
// be a small difference of what is made of the sum.
constexpr int64_t kShortBlock = 16;

// The two ways of over_classes(). taken: numbers that are subtracted from dx at the class of each line, or
// null.
template <class Body, class T>
__attribute__((noinline)) static vec<T> across(const ClassLines<T>& l, const LineGroup<T>& g, Body body,
                                               Coefficients<T> q, const T* taken) {
  Tile<T> tile, p;
  [[maybe_unused]] LongSum<T> total;
  for (int64_t k0 = 0; k0 < l.n; k0 += kTileRows) {
    const int64_t n = l.n - k0 < kTileRows ? l.n - k0 : kTileRows;
    load_tile(tile, l.x.data + g.first * l.x.line + k0 * l.x.step, l.x.line, l.x.step, g.count, n);
    if (Body::weighs && l.probabilities.data)
      load_tile(p, l.probabilities.data + g.first * l.probabilities.line + k0 * l.probabilities.step,
                l.probabilities.line, l.probabilities.step, g.count, n);
    const int64_t block = Body::writes ? kTileRows : kShortBlock;
    for (int64_t begin = 0; begin < n; begin += block) {
      const int64_t end = n - begin < block ? n : begin + block;
      vec<T> sum{};
      for (int64_t k = begin; k < end; ++k) {
        vec<T> weight{};
        if constexpr (Body::weighs) {
          weight = broadcast(q.spread);
          if (l.probabilities.data) weight += Tile<T>::row(p, k) * q.keep;
          if (l.weight) weight *= l.weight[k0 + k];
        }
        const vec<T> y = body.step(Tile<T>::row(tile, k), weight, sum);
        if constexpr (Body::writes) Tile<T>::set_row(tile, k, y);
      }
      if constexpr (!Body::writes) total.add(sum);
    }
    if constexpr (Body::writes) {
      for (int i = 0; taken && i < g.count; ++i) {
        const int64_t row = g.index[i] - k0;  // of the line's class in the tile
        if (row >= 0 && row < n) tile.data[row * lanes<T> + i] -= taken[i];
      }
      for (int64_t k = 0; g.any_ignored && k < n; ++k)
        Tile<T>::set_row(tile, k, where_used(g, Tile<T>::row(tile, k)));
      store_tile(tile, l.dx.data + g.first * l.dx.line + k0 * l.dx.step, l.dx.line, l.dx.step, g.count, n);
    }
  }
  return total.value();
}

// A body whose vectors have the numbers of line i in all lanes.
template <class T, class Body>
RANVIER_INLINE Body of_line(const Body& body, int i) {
  Body line;
  const auto* from = reinterpret_cast<const vec<T>*>(&body);
  auto* to = reinterpret_cast<vec<T>*>(&line);
  for (size_t k = 0; k < sizeof(Body) / sizeof(vec<T>); ++k) to[k] = broadcast(from[k][i]);
  return line;
}

// The end of a block of whole vectors (LongSum) that begins at element k of n.
template <class T>
RANVIER_INLINE int64_t block_end(int64_t k, int64_t n) {
  const int64_t whole = (n - k) / lanes<T>;
  const int64_t vectors = whole < kSumBlock ? whole : kSumBlock;
  return k + vectors * lanes<T>;
}

template <class Body, class T>
__attribute__((noinline)) static vec<T> along(const ClassLines<T>& l, const LineGroup<T>& g, Body body,
                                              Coefficients<T> q, const T* taken) {
  alignas(64) T sums[lanes<T>] = {};
  for (int i = 0; i < g.count; ++i) {
    const T* x = l.x.data + (g.first + i) * l.x.line;
    const T* p = l.probabilities.data ? l.probabilities.data + (g.first + i) * l.probabilities.line : nullptr;
    T* dx = Body::writes ? l.dx.data + (g.first + i) * l.dx.line : nullptr;
    const Body line = of_line<T>(body, i);
    const bool used = g.used[i] != T(0);
    vec<T> sum{};
    const auto at = [&](int64_t k, int64_t left) RANVIER_INLINED {
      vec<T> weight{};
      if constexpr (Body::weighs) {
        weight = broadcast(q.spread);
        if (p) weight += load_line<true>(p + k, 1, left) * q.keep;
        if (l.weight) weight *= load_line<true>(l.weight + k, 1, left);
        if (left < lanes<T>) weight = select(iota<T>() < T(left), weight, vec<T>{});
      }
      const vec<T> y = line.step(load_line<true>(x + k, 1, left), weight, sum);
      if constexpr (Body::writes) {
        const vec<T> written = used ? y : vec<T>{};
        store_line<true>(dx + k, 1, written, left);
      }
    };
    LongSum<T> total;
    int64_t k = 0;
    while (k + lanes<T> <= l.n) {
      const int64_t end = block_end<T>(k, l.n);
      for (; k < end; k += lanes<T>) at(k, lanes<T>);
      total.add(sum);
      sum = vec<T>{};
    }
    if (k < l.n) at(k, l.n - k);
    total.add(sum);
    if (Body::writes && taken && g.index[i] >= 0) dx[g.index[i]] -= taken[i];
    sums[i] = reduce_add(total.value());
  }
  return load(sums);
}

template <class Body, class T>
RANVIER_INLINE vec<T> over_classes(const ClassLines<T>& l, const LineGroup<T>& g, Body body,
                                   Coefficients<T> q = {}, const T* taken = nullptr) {
  if constexpr (!Body::rare)
    if (g.along) return along(l, g, body, q, taken);
  return across(l, g, body, q, taken);
}

// top: the maximum of x; sum: the sum of exp(x - top); for each line of a group.
template <class T>
struct TopAndSum {
  vec<T> top, sum;
};

// The two ways to compute them. `maximum` may lose a NaN, but then the sum is NaN.
template <class T>
__attribute__((noinline)) static TopAndSum<T> top_and_sum_across(const ClassLines<T>& l,
                                                                 const LineGroup<T>& g) {
  Tile<T> tile;
  const auto load_from = [&](int64_t k0) {
    const int64_t n = l.n - k0 < kTileRows ? l.n - k0 : kTileRows;
    load_tile(tile, l.x.data + g.first * l.x.line + k0 * l.x.step, l.x.line, l.x.step, g.count, n);
    return n;
  };
  vec<T> top = broadcast(-Limits<T>::infinity);
  vec<T> odd = top;
  for (int64_t k0 = 0; k0 < l.n; k0 += kTileRows) {
    const int64_t n = load_from(k0);
    for (int64_t k = 0; k + 1 < n; k += 2) {
      top = maximum(top, Tile<T>::row(tile, k));
      odd = maximum(odd, Tile<T>::row(tile, k + 1));
    }
    if (n % 2) top = maximum(top, Tile<T>::row(tile, n - 1));
  }
  top = maximum(top, odd);
  LongSum<T> total;
  for (int64_t k0 = 0; k0 < l.n; k0 += kTileRows) {
    const int64_t n = l.n <= kTileRows ? l.n : load_from(k0);
    for (int64_t first = 0; first < n; first += kShortBlock) {
      const int64_t end = n - first < kShortBlock ? n : first + kShortBlock;
      vec<T> sum{};
      for (int64_t k = first; k < end; ++k) sum += exp_beside_1(Tile<T>::row(tile, k) - top);
      total.add(sum);
    }
  }
  return {top, total.value()};
}

template <class T>
__attribute__((noinline)) static TopAndSum<T> top_and_sum_along(const ClassLines<T>& l,
                                                                const LineGroup<T>& g) {
  constexpr int L = lanes<T>, kVectors = 4;  // independent maxima
  constexpr T lowest = -Limits<T>::infinity;
  alignas(64) T tops[L] = {}, sums[L] = {};
  for (int i = 0; i < g.count; ++i) {
    const T* x = l.x.data + (g.first + i) * l.x.line;
    vec<T> top[kVectors];
    for (auto& t : top) t = broadcast(lowest);
    int64_t k = 0;
    for (; k + kVectors * L <= l.n; k += kVectors * L) {
      RANVIER_UNROLL
      for (int v = 0; v < kVectors; ++v) top[v] = maximum(top[v], load(x + k + v * L));
    }
    for (; k < l.n; k += L) top[0] = maximum(top[0], load_line<true>(x + k, 1, l.n - k, lowest));
    tops[i] = reduce_max(maximum(maximum(top[0], top[1]), maximum(top[2], top[3])));
    LongSum<T> total;
    for (k = 0; k + L <= l.n;) {
      const int64_t end = block_end<T>(k, l.n);
      vec<T> sum{};
      for (; k < end; k += L) sum += exp_beside_1(load(x + k) - tops[i]);
      total.add(sum);
    }
    if (k < l.n) total.add(exp_beside_1(load_padded(x + k, int(l.n - k), lowest) - tops[i]));
    sums[i] = reduce_add(total.value());
  }
  return {load(tops), load(sums)};
}

// scaled_softmax() returns factor exp(y), or 0 if exp(y) or the product would be subnormal, as happens for
// samples that a network has learned well. Intel's processors take 150 cycles for a vector with a subnormal
// number, here and in each later product. least_softmax(factor) is the argument `least`: the smallest exp(y)
// that is kept.
template <class V>
RANVIER_INLINE V least_softmax(V factor) {
  constexpr auto tiny = std::numeric_limits<element_of<V>>::min();
  // exp_beside_1() gives less than 2 * tiny in place of smaller numbers.
  return at_least(tiny / abs(factor), 2 * tiny);
}
template <class V>
RANVIER_INLINE V scaled_softmax(V y, V factor, V least) {
  const V p = exp_beside_1(y);
  return select(p < least, V{}, p) * factor;
}

// Computes top and sum of a group, and saves them for the backward.
template <class T>
RANVIER_INLINE TopAndSum<T> top_and_sum(const ClassLines<T>& l, const LineGroup<T>& g) {
  const TopAndSum<T> s = g.along ? top_and_sum_along(l, g) : top_and_sum_across(l, g);
  T* saved = l.tops_and_sums.data + g.first * l.tops_and_sums.line;
  store_lanes(saved, l.tops_and_sums.line, s.top, g.count);
  store_lanes(saved + l.tops_and_sums.step, l.tops_and_sums.line, s.sum, g.count);
  return s;
}

}  // namespace ranvier::RANVIER_ISA
