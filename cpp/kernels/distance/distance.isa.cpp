// The loops of DistanceKernels (distance.h), compiled once for each ISA level: distances of pairs of lines,
// and gradients.
//
// Pairs of lines are read in one of two ways. `across`: a vector of pairs at a time, one in each lane, as the
// columns of two transposed tiles. `along`: long contiguous lines one pair after another, with vectors along
// the elements. What is done with each vector of elements is a body: a struct with
//
//   step(x1, x2, inside, lines, pairs, sums)  the mask `inside` is false in lanes behind the end of a line
//   writes   whether the result of step() is stored to dx
//   sums     how many of the three sums it adds to; over_pairs() returns them
//   adds     whether its sums are sums (LongSum), not a maximum
//   rare     whether it is always read across, which saves code
#include "kernels/distance/distance.h"
#include "simd/long_sum.h"
#include "simd/mask_bits.h"
#include "simd/math.h"
#include "simd/tile.h"

namespace ranvier::RANVIER_ISA {

// Three numbers for each pair of lines, one pair in each lane; or those of one pair in all lanes.
template <class T>
struct OfPairs {
  vec<T> v[3];
};

// `count` pairs of lines from pair `first` on, at most a vector of them.
template <class T>
struct PairGroup {
  const DistanceLines<T>& l;
  int64_t first;
  int count;
};

// Joins the sums of a block of elements to those of all blocks before, and clears them.
template <class Body, class T>
RANVIER_INLINE void end_block(OfPairs<T>& sums, LongSum<T>* totals) {
  if constexpr (Body::adds && Body::sums > 0) end_blocks<Body::sums, T>(totals, sums.v);
}

// Runs a body over the pairs of lines of a group by tiles, and returns its sums. o: the numbers of each pair
// that step() gets as `pairs`.
template <class Body, class T>
__attribute__((noinline)) static OfPairs<T> across(const PairGroup<T>& g, const OfPairs<T>& o) {
  const DistanceLines<T>& l = g.l;
  Tile<T> x1, x2;
  OfPairs<T> sums{};
  LongSum<T> totals[3];
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
    end_block<Body>(sums, totals);
  }
  if constexpr (Body::adds)
    for (int s = 0; s < Body::sums; ++s) sums.v[s] = totals[s].value();
  return sums;
}

// The same for long contiguous lines, one pair after another.
template <class Body, class T>
__attribute__((noinline)) static OfPairs<T> along(const PairGroup<T>& g, const OfPairs<T>& o) {
  constexpr int L = lanes<T>;
  constexpr int kVectors = 2;  // independent sums
  const DistanceLines<T>& l = g.l;
  alignas(64) T given[3][L], found[3][L];
  for (int s = 0; s < 3; ++s) store(given[s], o.v[s]);
  for (int i = 0; i < g.count; ++i) {
    const T* x1 = l.x1.data + (g.first + i) * l.x1.line;
    const T* x2 = l.x2.data + (g.first + i) * l.x2.line;
    T* dx = Body::writes ? l.dx.data + (g.first + i) * l.dx.line : nullptr;
    const OfPairs<T> pair = {broadcast(given[0][i]), broadcast(given[1][i]), broadcast(given[2][i])};
    OfPairs<T> sums[kVectors] = {};
    LongSum<T> totals[3];
    int64_t k = 0;
    while (k + kVectors * L <= l.n) {
      const int64_t whole = (l.n - k) / (kVectors * L);
      const int64_t steps = whole < kSumBlock ? whole : kSumBlock;
      const int64_t end = k + steps * kVectors * L;
      for (; k < end; k += kVectors * L) {
        RANVIER_UNROLL
        for (int v = 0; v < kVectors; ++v) {
          const vec<T> y =
              Body::step(load(x1 + k + v * L), load(x2 + k + v * L), vec<T>{} == T(0), l, pair, sums[v]);
          if (Body::writes) store(dx + k + v * L, y);
        }
      }
      for (auto& block : sums) end_block<Body>(block, totals);
    }
    for (; k < l.n; k += L) {
      const int left = lanes_used<T>(l.n - k);
      const vec<T> y =
          Body::step(load_n(x1 + k, left), load_n(x2 + k, left), iota<T>() < T(left), l, pair, sums[0]);
      if (Body::writes) store_n(dx + k, y, left);
    }
    for (int s = 0; s < Body::sums; ++s) {
      vec<T> sum = sums[0].v[s];
      for (int v = 1; v < kVectors; ++v) sum = Body::join(sum, sums[v].v[s]);
      if constexpr (Body::adds) {
        totals[s].add(sum);
        sum = totals[s].value();
      }
      found[s][i] = Body::across_lanes(sum);
    }
  }
  return {load(found[0]), load(found[1]), load(found[2])};
}

// Runs a body over the lines of a group, and returns its sums for each pair.
template <class Body, class T>
RANVIER_INLINE OfPairs<T> over_pairs(const PairGroup<T>& g, const OfPairs<T>& o = {}) {
  const DistanceLines<T>& l = g.l;
  const bool dense = l.x1.step == 1 && l.x2.step == 1 && (!l.dx.data || l.dx.step == 1);
  if constexpr (!Body::rare)
    if (dense && l.n > kTileRows) return along<Body>(g, o);
  return across<Body>(g, o);
}

// Parts of the bodies below: a body that adds to sums, and one that stores slopes.
struct Adds {
  static constexpr bool writes = false;
  static constexpr bool rare = false;
  static constexpr bool adds = true;
  static constexpr int sums = 1;
  template <class V>
  RANVIER_INLINE V join(V a, V b) {
    return a + b;
  }
  template <class V>
  RANVIER_INLINE element_of<V> across_lanes(V v) {
    return reduce_add(v);
  }
};
struct WritesSlopes : Adds {
  static constexpr bool writes = true;
  static constexpr int sums = 0;
};

// is_far(): true where a sum of squares is so large or small that squares may have left the range of T. Such
// lines are summed again, scaled by the power of 2 that scale_for() returns (1 for other lines).
template <class T>
RANVIER_INLINE ivec<T> is_far(typename VecOf<T>::type squares) {
  constexpr T limit = sizeof(T) == 4 ? 0x1p60f : T(0x1p500);
  return (squares > limit) | (squares < T(1) / limit);
}
template <class T>
RANVIER_INLINE vec<T> scale_for(typename VecOf<T>::type squares) {
  constexpr T scale = sizeof(T) == 4 ? 0x1p80f : T(0x1p700);
  const vec<T> one = vec<T>{} + T(1);
  const vec<T> smaller = vec<T>{} + T(1) / scale;
  const vec<T> greater = vec<T>{} + scale;
  return select(is_far<T>(squares), select(squares > T(1), smaller, greater), one);
}

// --- The two distances. forward() returns y of each pair of a group, backward() stores dx.
struct Cosine {
  struct Sums : Adds {  // the sums of x1 x2, x1^2 and x2^2
    static constexpr int sums = 3;
    template <class V, class M, class L, class O>
    RANVIER_INLINE V step(V a, V b, M, const L&, const O&, O& sums) {
      sums.v[0] = fma(a, b, sums.v[0]);
      sums.v[1] = fma(a, a, sums.v[1]);
      sums.v[2] = fma(b, b, sums.v[2]);
      return a;
    }
  };
  struct ScaledSums : Sums {  // the same sums for x1 v[1] and x2 v[2], where v are the numbers of a pair
    static constexpr bool rare = true;
    template <class V, class M, class L, class O>
    RANVIER_INLINE V step(V a, V b, M inside, const L& l, const O& o, O& sums) {
      return Sums::step(a * o.v[1], b * o.v[2], inside, l, o, sums);
    }
  };
  struct Slope : WritesSlopes {  // (other v[0] - own v[1]) v[2]; own: the line whose gradient is wanted
    template <class V, class M, class L, class O>
    RANVIER_INLINE V step(V a, V b, M, const L& l, const O& o, O&) {
      if (l.of_second) return (a * o.v[0] - b * o.v[1]) * o.v[2];
      return (b * o.v[0] - a * o.v[1]) * o.v[2];
    }
  };

  // Returns the cosine, |x1| and |x2| of each pair.
  template <class T>
  __attribute__((noinline)) static OfPairs<T> lengths(const PairGroup<T>& g) {
    OfPairs<T> s = over_pairs<Sums>(g);
    const vec<T> one = vec<T>{} + T(1);
    OfPairs<T> scale = {one, one, one};
    const ivec<T> far = is_far<T>(s.v[1]) | is_far<T>(s.v[2]);
    if (any(far & (iota<T>() < T(g.count)))) {  // lanes from g.count on have no pair
      scale = {one, scale_for<T>(s.v[1]), scale_for<T>(s.v[2])};
      s = over_pairs<ScaledSums>(g, scale);
    }
    const vec<T> first = sqrt(s.v[1]) / scale.v[1];
    const vec<T> second = sqrt(s.v[2]) / scale.v[2];
    const vec<T> a = at_least(first, g.l.eps) * scale.v[1];
    const vec<T> b = at_least(second, g.l.eps) * scale.v[2];
    return {s.v[0] / a / b, first, second};
  }

  template <class T>
  RANVIER_INLINE vec<T> forward(const PairGroup<T>& g) {
    return lengths(g).v[0];
  }

  // The gradient of x1: (x2 / |x2| - y x1 / |x1|) / |x1|, without the second term where eps takes the place
  // of |x1|.
  template <class T>
  RANVIER_INLINE void backward(const PairGroup<T>& g, typename VecOf<T>::type dy) {
    const OfPairs<T> of = lengths(g);
    const int own_index = g.l.of_second ? 2 : 1;
    const int other_index = g.l.of_second ? 1 : 2;
    const vec<T> length = of.v[own_index];
    const vec<T> own = at_least(length, g.l.eps);
    const vec<T> other = at_least(of.v[other_index], g.l.eps);
    const vec<T> along = select(length < g.l.eps, vec<T>{}, of.v[0] / own);
    over_pairs<Slope>(g, OfPairs<T>{{T(1) / other, along, dy / own}});
  }
};

enum class Power { one, two, any, largest };

// Not inlined, since pow would be most of the code of this file.
template <class T>
__attribute__((noinline)) static vec<T> power_of(vec<T> x, vec<T> y) {
  return pow(x, y);
}

template <Power p>
struct Norm {
  // The sum of d^p with d = |x1 - x2 + eps|, or the largest d. For Power::any, d is divided by v[0] first.
  struct Sums : Adds {
    static constexpr bool rare = p == Power::largest;
    static constexpr bool adds = p != Power::largest;
    template <class V>
    RANVIER_INLINE V join(V a, V b) {
      return p == Power::largest ? max(a, b) : a + b;
    }
    template <class V>
    RANVIER_INLINE element_of<V> across_lanes(V v) {
      return p == Power::largest ? reduce_max(v) : reduce_add(v);
    }
    template <class V, class M, class L, class O>
    RANVIER_INLINE V step(V a, V b, M inside, const L& l, const O& o, O& sums) {
      const V d = abs(select(inside, a - b + l.eps, V{}));
      V& sum = sums.v[0];
      if constexpr (p == Power::largest) sum = max(sum, d);
      if constexpr (p == Power::two) sum = fma(d, d, sum);
      if constexpr (p == Power::one) sum += d;
      if constexpr (p == Power::any) sum += power_of<element_of<V>>(d / o.v[0], V{} + l.p);
      return a;
    }
  };
  struct Ties : Adds {  // how many d equal v[0], the largest one
    static constexpr bool rare = true;
    template <class V, class M, class L, class O>
    RANVIER_INLINE V step(V a, V b, M inside, const L& l, const O& o, O& sums) {
      sums.v[0] += select((abs(a - b + l.eps) == o.v[0]) & inside, V{} + element_of<V>(1), V{});
      return a;
    }
  };
  struct Slope : WritesSlopes {  // the gradient; v[0]: y; v[1]: dy, with the sign for x2
    static constexpr bool rare = p == Power::largest;
    template <class V, class M, class L, class O>
    RANVIER_INLINE V step(V a, V b, M, const L& l, const O& o, O&) {
      using T = element_of<V>;
      const V d = a - b + l.eps;
      const V size = abs(d);
      V slope = V{} + T(1);
      if constexpr (p == Power::largest) slope = select(size == o.v[0], slope, V{});
      if constexpr (p == Power::two) slope = size / o.v[0];
      if constexpr (p == Power::any) slope = power_of<T>(size / o.v[0], V{} + (l.p - T(1)));
      return select(size > T(0), copysign(slope, d) * o.v[1], d);  // 0 where d is 0, NaN where d is NaN
    }
  };

  template <class T>
  RANVIER_INLINE vec<T> forward(const PairGroup<T>& g) {
    const vec<T> sum = over_pairs<Sums>(g, OfPairs<T>{{vec<T>{} + T(1)}}).v[0];
    if constexpr (p == Power::one || p == Power::largest) return sum;
    const vec<T> y = p == Power::two ? sqrt(sum) : power_of<T>(sum, broadcast(T(1) / g.l.p));
    const ivec<T> far = is_far<T>(sum);
    if (!any(far)) return y;
    return select(far, Norm<Power::any>::of_largest(g), y);
  }

  // The norm computed from d divided by the largest d, so that no power leaves the range of T.
  template <class T>
  __attribute__((noinline)) static vec<T> of_largest(const PairGroup<T>& g) {
    const vec<T> top = over_pairs<Norm<Power::largest>::Sums>(g).v[0];
    const vec<T> unit = select((top > T(0)) & (top < Limits<T>::infinity), top, vec<T>{} + T(1));
    return unit * power_of<T>(over_pairs<Sums>(g, OfPairs<T>{{unit}}).v[0], broadcast(T(1) / g.l.p));
  }

  // The gradient of x1 is sign(d) (|d| / y)^(p - 1). For p = infinity only the largest |d| has one; equal
  // ones share it.
  template <class T>
  RANVIER_INLINE void backward(const PairGroup<T>& g, typename VecOf<T>::type dy) {
    const vec<T> y = forward(g);
    vec<T> factor = g.l.of_second ? -dy : dy;
    if constexpr (p == Power::largest) factor /= over_pairs<Ties>(g, OfPairs<T>{{y}}).v[0];
    over_pairs<Slope>(g, OfPairs<T>{{y, factor}});
  }
};

template <class Op, class T>
static void forward(const DistanceLines<T>& l) {
  for (int64_t i = 0; i < l.count; i += lanes<T>) {
    const PairGroup<T> g = {l, i, lanes_used<T>(l.count - i)};
    store_lanes(l.y.data + i * l.y.line, l.y.line, Op::forward(g), g.count);
  }
}

template <class Op, class T>
static void backward(const DistanceLines<T>& l) {
  // `some` lines at a time: the second pass over them finds them in the L1 cache.
  const int64_t near = 1024 / (l.n + 1) + 1;
  const int64_t some = near < lanes<T> && l.n > kTileRows ? near : lanes<T>;
  for (int64_t i = 0; i < l.count; i += some) {
    const int64_t count = l.count - i < some ? l.count - i : some;
    const PairGroup<T> g = {l, i, int(count)};
    Op::backward(g, load_lanes(l.dy.data + i * l.dy.line, l.dy.line, g.count));
  }
}

template <class T>
static void norm_forward(const DistanceLines<T>& l) {
  if (l.p == T(2)) return forward<Norm<Power::two>>(l);
  if (l.p == T(1)) return forward<Norm<Power::one>>(l);
  if (l.p == Limits<T>::infinity) {
    forward<Norm<Power::largest>>(l);
  } else {
    forward<Norm<Power::any>>(l);
  }
}
template <class T>
static void norm_backward(const DistanceLines<T>& l) {
  if (l.p == T(2)) return backward<Norm<Power::two>>(l);
  if (l.p == T(1)) return backward<Norm<Power::one>>(l);
  if (l.p == Limits<T>::infinity) {
    backward<Norm<Power::largest>>(l);
  } else {
    backward<Norm<Power::any>>(l);
  }
}

template <class T>
static constexpr DistanceKernels<T> distance_table = {{forward<Cosine, T>, norm_forward<T>},
                                                      {backward<Cosine, T>, norm_backward<T>}};

RANVIER_DEFINE_TABLES(DistanceKernels, distance_kernels, distance_table);

}  // namespace ranvier::RANVIER_ISA
