// The lines of scan, compiled once for each ISA level.
#include "kernels/scan/scan.h"
#include "base/interrupt.h"
#include "simd/strided.h"
#include "simd/vec.h"

namespace ranvier::RANVIER_ISA {

// Lane i of the result is lane i - distance of v (i + distance, where down is set); lanes that would come
// from outside are those of rest.
template <int distance, bool down, class V, int... lane>
RANVIER_INLINE V shift_lanes_of(V v, V rest, std::integer_sequence<int, lane...>) {
  constexpr int n = lanes_of<V>;
#if defined(__clang__) || __GNUC__ >= 12
  return __builtin_shufflevector(v, rest,
                                 (down ? (lane + distance < n ? lane + distance : n + lane)
                                       : (lane >= distance ? lane - distance : n + lane))...);
#else
  return V{(down ? (lane + distance < n ? v[(lane + distance) % n] : rest[lane])
                 : (lane >= distance ? v[(lane + n - distance) % n] : rest[lane]))...};
#endif
}

template <int distance, bool down, class V>
RANVIER_INLINE V shift_lanes(V v, V rest) {
  return shift_lanes_of<distance, down>(v, rest, std::make_integer_sequence<int, lanes_of<V>>());
}

// Lane i: op over lanes 0 ... i (i ... last, where down is set), in a tree of fixed shape. identity leaves
// every element as it is.
template <class Op, bool down, class V>
RANVIER_INLINE V running(V v, V identity) {
  v = Op::join(v, shift_lanes<1, down>(v, identity));
  if constexpr ((lanes_of<V>) > 2) v = Op::join(v, shift_lanes<2, down>(v, identity));
  if constexpr ((lanes_of<V>) > 4) v = Op::join(v, shift_lanes<4, down>(v, identity));
  if constexpr ((lanes_of<V>) > 8) v = Op::join(v, shift_lanes<8, down>(v, identity));
  return v;
}

// identity leaves every element as it is: x + -0 is x for every x, -0 included.
struct RunningSum {
  static constexpr int identity_sign = -1, identity = 0;
  template <class V>
  RANVIER_INLINE V join(V a, V b) {
    return a + b;
  }
};
struct RunningProduct {
  static constexpr int identity_sign = 1, identity = 1;
  template <class V>
  RANVIER_INLINE V join(V a, V b) {
    return a * b;
  }
};

template <class Op>
static constexpr double kIdentity = double(Op::identity_sign) * double(Op::identity);

// The work between two calls of interrupted(): elements of a line; steps of a vector of lines.
constexpr int64_t kPiece = 1 << 18, kSteps = 1 << 14;

// Running results for a vector of T, in double for any T: errors do not add up along a long line, and
// products leave the range of floats on the way.
template <class T>
struct Totals {
  static constexpr int parts = lanes<T> / lanes<double>;
  vec<double> part[parts];

  RANVIER_INLINE Totals of(vec<T> v) {
    if constexpr (parts == 1) return {{v}};
    if constexpr (parts == 2) return {{widen<0>(v), widen<1>(v)}};
  }
  // The totals of elements that are side by side, without exchanging lanes.
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
  vec<T> rounded() const {
    if constexpr (parts == 1) return part[0];
    if constexpr (parts == 2) return narrow(part[0], part[1]);
  }
};

// One line whose elements are side by side: a vector at a time, and the total of what came before.
template <class T, class Op, bool reverse>
static void along(const Team& team, int64_t n, const T* x, T* y) {
  constexpr int L = lanes<T>, first = reverse ? Totals<T>::parts - 1 : 0, last = Totals<T>::parts - 1 - first;
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
    if (k > 0) store_n(y, step(Totals<T>::of(load_padded(x, int(k), T(kIdentity<Op>)))).rounded(), int(k));
  } else {
    int64_t k = 0;
    while (k + L <= n) {
      if (k > 0 && interrupted(team)) return;
      const int64_t end = n - k > kPiece ? k + kPiece : n;
      for (; k + L <= end; k += L) step(Totals<T>::load(x + k)).save(y + k);
    }
    if (k < n)
      store_n(y + k, step(Totals<T>::of(load_padded(x + k, int(n - k), T(kIdentity<Op>)))).rounded(),
              int(n - k));
  }
}

// Lines side by side, a row of them at a time; of floats at most kColumns. Totals of doubles are y's row
// before.
constexpr int64_t kColumns = 512;
// Lines side by side in memory, `count` of them: each step joins a vector of lines with the step before.
template <class T, class Op>
static void across(const Team& team, int64_t count, int64_t n, const T* x, int64_t sx, T* y, int64_t sy) {
  constexpr int L = lanes<T>;
  constexpr bool wider = Totals<T>::parts > 1;
  double totals[wider ? kColumns : 1];
  int64_t work = 0;
  for (int64_t k = 0; k < n; ++k, x += sx, y += sy) {
    if ((work += count) > kPiece) {
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
  }
}

// Any strides: a line in each lane.
template <class T, class Op>
static void apart(const Team& team, int64_t left, int64_t n, const T* x, int64_t lx, int64_t sx, T* y,
                  int64_t ly, int64_t sy) {
  const int count = int(left < lanes<T> ? left : lanes<T>);
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
  const int64_t last = reverse ? l.n - 1 : 0, sign = reverse ? -1 : 1;
  const int64_t sx = sign * l.x.step, sy = sign * l.out.step;
  const T* x = l.x.data + last * l.x.step;
  T* y = l.out.data + last * l.out.step;
  if (l.x.step == 1 && l.out.step == 1) {
    for (int64_t i = 0; i < l.count; ++i)
      along<T, Op, reverse>(*l.team, l.n, l.x.data + i * l.x.line, l.out.data + i * l.out.line);
  } else if (l.x.line == 1 && l.out.line == 1) {
    const int64_t block = Totals<T>::parts > 1 ? kColumns : l.count;
    for (int64_t i = 0; i < l.count; i += block)
      across<T, Op>(*l.team, l.count - i < block ? l.count - i : block, l.n, x + i, sx, y + i, sy);
  } else {
    for (int64_t i = 0; i < l.count; i += lanes<T>)
      apart<T, Op>(*l.team, l.count - i, l.n, x + i * l.x.line, l.x.line, sx, y + i * l.out.line, l.out.line,
                   sy);
  }
}

// A line in each lane.
template <class T, bool dense>
static void product_backward(const ScanLines<T>& l, int64_t first) {
  const int64_t left = l.count - first, n = l.n;
  const T *x = l.x.data + first * l.x.line, *dy = l.dy.data + first * l.dy.line;
  T* dx = l.out.data + first * l.out.line;
  vec<T> before = broadcast(T(1)), after{}, next{};  // next: x[i + 1]
  for (int64_t k = 0; k < n; ++k) {
    if (k % kSteps == kSteps - 1 && interrupted(*l.team)) return;
    store_line<dense>(dx + k * l.out.step, l.out.line, before, left);
    before *= load_line<dense>(x + k * l.x.step, l.x.line, left);
  }
  for (int64_t k = n - 1; k >= 0; --k) {
    if (k % kSteps == kSteps - 1 && interrupted(*l.team)) return;
    const bool has_dy = !l.only_last || k == n - 1;
    const vec<T> here =
        has_dy ? load_line<dense>(dy + (l.only_last ? 0 : k) * l.dy.step, l.dy.line, left) : vec<T>{};
    after = k == n - 1 ? here : fma(next, after, here);
    next = load_line<dense>(x + k * l.x.step, l.x.line, left);
    T* p = dx + k * l.out.step;
    store_line<dense>(p, l.out.line, load_line<dense>(p, l.out.line, left) * after, left);
  }
}

template <class T>
static void product_backward(const ScanLines<T>& l) {
  const bool dense = l.x.line == 1 && l.dy.line == 1 && l.out.line == 1;
  for (int64_t i = 0; i < l.count; i += lanes<T>)
    dense ? product_backward<T, true>(l, i) : product_backward<T, false>(l, i);
}

template <class T>
static constexpr ScanKernels<T> scan_table = {
    {{scan<T, RunningSum, false>, scan<T, RunningSum, true>},
     {scan<T, RunningProduct, false>, scan<T, RunningProduct, true>}},
    product_backward<T>};

RANVIER_DEFINE_TABLES(ScanKernels, scan_kernels, scan_table);

}  // namespace ranvier::RANVIER_ISA
