// The loops of ScanKernels (scan.h) over lines, compiled once for each ISA level: running sums and products
// of a contiguous line (along), of lines side by side in memory (across), of any lines (apart), and
// product_backward.
#include "kernels/scan/scan.h"
#include "base/interrupt.h"
#include "simd/strided.h"
#include "simd/vec.h"

namespace ranvier::RANVIER_ISA {

// Lane i of the result is lane i - distance of v (with `down`, lane i + distance). If v has no such lane, it
// is lane i of `rest`.
//
// shifted_lane(): where lane `lane` of n comes from: lane i < n of v, or lane i - n of `rest`.
static constexpr int shifted_lane(int lane, int n, int distance, bool down) {
  const int source = down ? lane + distance : lane - distance;
  const bool exists = source >= 0 && source < n;
  return exists ? source : n + lane;
}
template <int distance, bool down, class V, int... lane>
RANVIER_INLINE V shift_lanes_of(V v, V rest, std::integer_sequence<int, lane...>) {
  constexpr int n = lanes_of<V>;
#if defined(__clang__) || __GNUC__ >= 12
  return __builtin_shufflevector(v, rest, shifted_lane(lane, n, distance, down)...);
#else
  const auto at = [&](int i) { return i < n ? v[i] : rest[i - n]; };
  return V{at(shifted_lane(lane, n, distance, down))...};
#endif
}

template <int distance, bool down, class V>
RANVIER_INLINE V shift_lanes(V v, V rest) {
  return shift_lanes_of<distance, down>(v, rest, std::make_integer_sequence<int, lanes_of<V>>());
}

// Lane i of the result is the op over lanes 0 ... i of v (with `down`, over i ... last), in a tree of fixed
// shape. `identity` has the op's identity in all lanes.
template <class Op, bool down, class V>
RANVIER_INLINE V running(V v, V identity) {
  v = Op::join(v, shift_lanes<1, down>(v, identity));
  if constexpr ((lanes_of<V>) > 2) v = Op::join(v, shift_lanes<2, down>(v, identity));
  if constexpr ((lanes_of<V>) > 4) v = Op::join(v, shift_lanes<4, down>(v, identity));
  if constexpr ((lanes_of<V>) > 8) v = Op::join(v, shift_lanes<8, down>(v, identity));
  return v;
}

// The ops. The identity changes no element: for sums it is -0, since x + -0 is x even if x is -0. Its sign is
// a separate number, as an integer cannot hold -0.
struct RunningSum {
  static constexpr int identity_sign = -1;
  static constexpr int identity = 0;
  template <class V>
  RANVIER_INLINE V join(V a, V b) {
    return a + b;
  }
};
struct RunningProduct {
  static constexpr int identity_sign = 1;
  static constexpr int identity = 1;
  template <class V>
  RANVIER_INLINE V join(V a, V b) {
    return a * b;
  }
};

template <class Op>
static constexpr double kIdentity = double(Op::identity_sign) * double(Op::identity);

// The work between two tests for an interrupt: elements of a line (kPiece), or steps of a vector of lines
// (kSteps).
constexpr int64_t kPiece = 1 << 18;
constexpr int64_t kSteps = 1 << 14;

// Running results for a vector of T, in double for any T: so rounding errors of a long line stay small, and
// products may leave the range of float on the way.
template <class T>
struct Totals {
  static constexpr int parts = lanes<T> / lanes<double>;
  vec<double> part[parts];

  RANVIER_INLINE Totals of(vec<T> v) {
    if constexpr (parts == 1) return {{v}};
    if constexpr (parts == 2) return {{widen<0>(v), widen<1>(v)}};
  }
  // A vector of contiguous elements, and the way back. Parts are converted separately, so no lanes are
  // exchanged.
  template <class E>
  RANVIER_INLINE Totals load(const E* p) {
    typedef E Part __attribute__((vector_size(sizeof(E) * lanes<double>)));
    Totals t;
    for (int i = 0; i < parts; ++i) {
      Part part;
      __builtin_memcpy(&part, p + i * lanes<double>, sizeof part);
      t.part[i] = __builtin_convertvector(part, vec<double>);
    }
    return t;
  }
  template <class E>
  void save(E* p) const {
    typedef E Part __attribute__((vector_size(sizeof(E) * lanes<double>)));
    for (int i = 0; i < parts; ++i) {
      const Part rounded = __builtin_convertvector(part[i], Part);
      __builtin_memcpy(p + i * lanes<double>, &rounded, sizeof rounded);
    }
  }
  template <class Op>
  Totals join(const Totals& next) const {
    Totals t;
    for (int i = 0; i < parts; ++i) t.part[i] = Op::join(part[i], next.part[i]);
    return t;
  }
  // this * factor + term
  Totals times_plus(const Totals& factor, const Totals& term) const {
    Totals t;
    for (int i = 0; i < parts; ++i) t.part[i] = fma(part[i], factor.part[i], term.part[i]);
    return t;
  }
  vec<T> rounded() const {
    if constexpr (parts == 1) return part[0];
    if constexpr (parts == 2) return narrow(part[0], part[1]);
  }
};

// One contiguous line, a vector at a time; `carry` has the total of all vectors before.
template <class T, class Op, bool reverse>
static void along(const Team& team, int64_t n, const T* x, T* y) {
  constexpr int L = lanes<T>;
  // The parts of a Totals, and the lanes of a part, in the order of the scan.
  constexpr int first = reverse ? Totals<T>::parts - 1 : 0;
  constexpr int last = Totals<T>::parts - 1 - first;
  constexpr int end_lane = reverse ? 0 : lanes<double> - 1;
  const vec<double> identity = broadcast(kIdentity<Op>);
  vec<double> carry = identity;
  const auto step = [&](Totals<T> t) __attribute__((always_inline)) {
    for (auto& part : t.part) part = running<Op, reverse>(part, identity);
    if (first != last) t.part[last] = Op::join(broadcast(t.part[first][end_lane]), t.part[last]);
    for (auto& part : t.part) part = Op::join(carry, part);
    carry = broadcast(t.part[last][end_lane]);
    return t;
  };
  if (reverse) {
    int64_t k = n;
    while (k >= L) {
      if (k < n && interrupted(team)) return;
      const int64_t end = k > kPiece ? k - kPiece : 0;
      for (; k >= L && k > end; k -= L) step(Totals<T>::load(x + k - L)).save(y + k - L);
    }
    if (k > 0) {
      const vec<T> rest = load_padded(x, int(k), T(kIdentity<Op>));
      store_n(y, step(Totals<T>::of(rest)).rounded(), int(k));
    }
  } else {
    int64_t k = 0;
    while (k + L <= n) {
      if (k > 0 && interrupted(team)) return;
      const int64_t end = n - k > kPiece ? k + kPiece : n;
      for (; k + L <= end; k += L) step(Totals<T>::load(x + k)).save(y + k);
    }
    if (k < n) {
      const int left = int(n - k);
      const vec<T> rest = load_padded(x + k, left, T(kIdentity<Op>));
      store_n(y + k, step(Totals<T>::of(rest)).rounded(), left);
    }
  }
}

constexpr int64_t kColumns = 512;  // the most lines of a call of across() for floats

// `count` lines that are side by side in memory, element after element (k) for all of them. The totals of
// floats are kept in double in `totals`; those of doubles are read from the row of y before.
template <class T, class Op>
static void across(const Team& team, int64_t count, int64_t n, const T* x, int64_t sx, T* y, int64_t sy) {
  constexpr int L = lanes<T>;
  constexpr bool wider = Totals<T>::parts > 1;
  constexpr int64_t kTotals = wider ? kColumns : 1;
  double totals[kTotals];
  int64_t work = 0;  // elements since the last test for an interrupt
  for (int64_t k = 0; k < n; ++k) {
    work += count;
    if (work > kPiece) {
      if (interrupted(team)) return;
      work = 0;
    }
    for (int64_t i = 0; i < count; i += L) {
      const vec<T> v = load_line<true>(x + i, 1, count - i);
      Totals<T> t = Totals<T>::of(v);
      if (k > 0) {
        if constexpr (wider) t = Totals<T>::load(totals + i).template join<Op>(t);
        if constexpr (!wider) t.part[0] = Op::join(load_line<true>(y - sy + i, 1, count - i), v);
      }
      if constexpr (wider) t.save(totals + i);
      store_line<true>(y + i, 1, t.rounded(), count - i);
    }
    x += sx;
    y += sy;
  }
}

// Up to a vector of lines with any strides, one in each lane. lx, ly: distances of lines; sx, sy: of
// elements; `left`: how many lines there are from x on.
template <class T, class Op>
static void apart(const Team& team, int64_t left, int64_t n, const T* x, int64_t lx, int64_t sx, T* y,
                  int64_t ly, int64_t sy) {
  const int count = lanes_used<T>(left);
  vec<T> v = load_strided(x, lx, count);
  Totals<T> total = Totals<T>::of(v);
  store_strided(y, ly, v, count);
  for (int64_t k = 1; k < n; ++k) {
    if (k % kSteps == 0 && interrupted(team)) return;
    v = load_strided(x + k * sx, lx, count);
    total = total.template join<Op>(Totals<T>::of(v));
    store_strided(y + k * sy, ly, total.rounded(), count);
  }
}

// ScanKernels::scan: chooses by the layout between along, across and apart.
template <class T, class Op, bool reverse>
static void scan(const ScanLines<T>& l) {
  const int64_t last = reverse ? l.n - 1 : 0;
  const int64_t sign = reverse ? -1 : 1;
  const int64_t sx = sign * l.x.step;
  const int64_t sy = sign * l.out.step;
  const T* x = l.x.data + last * l.x.step;
  T* y = l.out.data + last * l.out.step;
  if (l.x.step == 1 && l.out.step == 1) {
    for (int64_t i = 0; i < l.count; ++i)
      along<T, Op, reverse>(*l.team, l.n, l.x.data + i * l.x.line, l.out.data + i * l.out.line);
  } else if (l.x.line == 1 && l.out.line == 1) {
    const int64_t block = Totals<T>::parts > 1 ? kColumns : l.count;
    for (int64_t i = 0; i < l.count; i += block) {
      const int64_t count = l.count - i < block ? l.count - i : block;
      across<T, Op>(*l.team, count, l.n, x + i, sx, y + i, sy);
    }
  } else {
    for (int64_t i = 0; i < l.count; i += lanes<T>)
      apart<T, Op>(*l.team, l.count - i, l.n, x + i * l.x.line, l.x.line, sx, y + i * l.out.line, l.out.line,
                   sy);
  }
}

// A vector of lines from line `first` on, one in each lane: first `before` is written to dx, then each
// element is multiplied by `after` (scan.h), from the end to the start. Both are running in double, so that
// the error of float does not grow with the length. dense: lines are side by side in memory.
template <class T, bool dense>
static void product_backward(const ScanLines<T>& l, int64_t first) {
  const int64_t left = l.count - first;
  const int64_t n = l.n;
  const T* x = l.x.data + first * l.x.line;
  const T* dy = l.dy.data + first * l.dy.line;
  T* dx = l.out.data + first * l.out.line;
  const auto load_at = [&](const T* p, const Lines<const T>& lines, int64_t k) RANVIER_INLINED {
    return Totals<T>::of(load_line<dense>(p + k * lines.step, lines.line, left));
  };
  Totals<T> before = Totals<T>::of(broadcast(T(1)));
  Totals<T> after{};
  Totals<T> next{};  // next: x[i + 1]
  for (int64_t k = 0; k < n; ++k) {
    if (k % kSteps == kSteps - 1 && interrupted(*l.team)) return;
    store_line<dense>(dx + k * l.out.step, l.out.line, before.rounded(), left);
    before = before.template join<RunningProduct>(load_at(x, l.x, k));
  }
  for (int64_t k = n - 1; k >= 0; --k) {
    if (k % kSteps == kSteps - 1 && interrupted(*l.team)) return;
    const bool has_dy = !l.only_last || k == n - 1;
    const int64_t dy_place = l.only_last ? 0 : k;
    Totals<T> here{};
    if (has_dy) here = load_at(dy, l.dy, dy_place);
    after = k == n - 1 ? here : next.times_plus(after, here);
    next = load_at(x, l.x, k);
    T* p = dx + k * l.out.step;
    const Totals<T> kept = Totals<T>::of(load_line<dense>(p, l.out.line, left));
    store_line<dense>(p, l.out.line, kept.template join<RunningProduct>(after).rounded(), left);
  }
}

// As many floats as a vec<double> has lanes, as doubles, and the way back.
typedef float NarrowPart __attribute__((vector_size(sizeof(float) * lanes<double>)));

RANVIER_INLINE vec<double> load_wide(const float* p) {
  NarrowPart part;
  __builtin_memcpy(&part, p, sizeof part);
  return __builtin_convertvector(part, vec<double>);
}
RANVIER_INLINE void save_wide(float* p, vec<double> v) {
  const NarrowPart part = __builtin_convertvector(v, NarrowPart);
  __builtin_memcpy(p, &part, sizeof part);
}

// One step of the scan of `after` (scan.h) in a vector: lane i has a and b of after[i] = b + a after[j], at
// first for j = i + 1. A step makes of j = i + distance one of i + 2 distance. Lanes whose after[j] belongs
// to the next vector stay: an infinite a would make NaN of a 0 in its place.
template <int distance, bool has_dy>
RANVIER_INLINE void join_slopes(vec<double>& a, vec<double>& b) {
  if constexpr (distance < lanes<double>) {
    const auto inside = iota<double>() < double(lanes<double> - distance);
    if constexpr (has_dy) b = select(inside, fma(a, shift_lanes<distance, true>(b, b), b), b);
    a *= shift_lanes<distance, true>(a, broadcast(1.0));
  }
}

// The same for one contiguous line of floats, with vectors along it.
template <bool has_dy>
static void product_backward_along(const Team& team, int64_t n, const float* x, const float* dy, float* dx) {
  constexpr int L = lanes<double>;
  const vec<double> one = broadcast(1.0);
  double before = 1;
  double after = has_dy ? dy[n - 1] : dy[0];
  int64_t k = 0;
  for (; k + L <= n; k += L) {
    if (k % kPiece == kPiece - L && interrupted(team)) return;
    const vec<double> products = running<RunningProduct, false>(load_wide(x + k), one);
    save_wide(dx + k, shift_lanes<1, false>(products, one) * before);
    before *= products[L - 1];
  }
  for (; k < n; ++k) {
    dx[k] = float(before);
    before *= x[k];
  }
  k = n - 1;
  dx[k] = float(dx[k] * after);
  const auto one_back = [&] {
    --k;
    after = has_dy ? dy[k] + double(x[k + 1]) * after : double(x[k + 1]) * after;
    dx[k] = float(dx[k] * after);
  };
  while (k % L != 0) one_back();
  while (k > 0) {
    k -= L;
    if (k % kPiece == 0 && interrupted(team)) return;
    vec<double> a = load_wide(x + k + 1);
    vec<double> b{};
    if constexpr (has_dy) b = load_wide(dy + k);
    join_slopes<1, has_dy>(a, b);
    join_slopes<2, has_dy>(a, b);
    join_slopes<4, has_dy>(a, b);
    const vec<double> slopes = has_dy ? fma(a, broadcast(after), b) : a * after;
    if (any(slopes != slopes)) {
      // The products of several x, of which one is infinite and one 0, are NaN where `after` may not be.
      const int64_t first = k;
      for (k += L; k > first;) one_back();
      continue;
    }
    save_wide(dx + k, load_wide(dx + k) * slopes);
    after = slopes[0];
  }
}

// ScanKernels::product_backward.
template <class T>
static void product_backward(const ScanLines<T>& l) {
  const bool dense = l.x.line == 1 && l.dy.line == 1 && l.out.line == 1;
  if constexpr (sizeof(T) == 4)
    if (l.x.step == 1 && (l.only_last || l.dy.step == 1) && l.out.step == 1) {
      for (int64_t i = 0; i < l.count; ++i) {
        const T* x = l.x.data + i * l.x.line;
        const T* dy = l.dy.data + i * l.dy.line;
        T* dx = l.out.data + i * l.out.line;
        if (l.only_last) {
          product_backward_along<false>(*l.team, l.n, x, dy, dx);
        } else {
          product_backward_along<true>(*l.team, l.n, x, dy, dx);
        }
      }
      return;
    }
  for (int64_t i = 0; i < l.count; i += lanes<T>) {
    if (dense) {
      product_backward<T, true>(l, i);
    } else {
      product_backward<T, false>(l, i);
    }
  }
}

template <class T>
static constexpr ScanKernels<T> scan_table = {
    {{scan<T, RunningSum, false>, scan<T, RunningSum, true>},
     {scan<T, RunningProduct, false>, scan<T, RunningProduct, true>}},
    product_backward<T>};

RANVIER_DEFINE_TABLES(ScanKernels, scan_kernels, scan_table);

}  // namespace ranvier::RANVIER_ISA
