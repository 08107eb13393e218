// Pairs of lines, compiled once for each ISA level.
#include "kernels/distance/distance.h"

#include "simd/math.h"
#include "simd/strided.h"

namespace ranvier::RANVIER_ISA {

struct Cosine {
  template <class T>
  struct Sums {
    T dot, norm1, norm2;      // norms not below eps
    bool bounded1, bounded2;  // is the norm eps?
  };

  template <bool dense, class T>
  RANVIER_INLINE Sums<T> sums(const DistanceLine<T>& l) {
    vec<T> dot{}, square1{}, square2{};
    for (int64_t k = 0; k < l.n; k += lanes<T>) {
      const vec<T> a = load_line<dense>(l.x1 + k * l.step1, l.step1, l.n - k);
      const vec<T> b = load_line<dense>(l.x2 + k * l.step2, l.step2, l.n - k);
      dot = fma(a, b, dot), square1 = fma(a, a, square1), square2 = fma(b, b, square2);
    }
    const T norm1 = sqrt(broadcast(reduce_add(square1)))[0], norm2 = sqrt(broadcast(reduce_add(square2)))[0];
    return {reduce_add(dot), norm1 < l.eps ? l.eps : norm1, norm2 < l.eps ? l.eps : norm2, norm1 < l.eps,
            norm2 < l.eps};
  }

  template <bool dense, class T>
  RANVIER_INLINE T forward(const DistanceLine<T>& l) {
    const Sums<T> s = sums<dense>(l);
    return s.dot / s.norm1 / s.norm2;
  }

  // By x1: x2 / (|x1| |x2|) - y x1 / |x1|^2, the second part only where |x1| is not bounded.
  template <bool dense, class T>
  RANVIER_INLINE void backward(const DistanceLine<T>& l) {
    const Sums<T> s = sums<dense>(l);
    const T own = l.of_second ? s.norm2 : s.norm1;
    const bool bounded = l.of_second ? s.bounded2 : s.bounded1;
    const T* x = l.of_second ? l.x2 : l.x1;
    const T* other = l.of_second ? l.x1 : l.x2;
    const int64_t step = l.of_second ? l.step2 : l.step1, step_other = l.of_second ? l.step1 : l.step2;
    const T of_other = l.dy / s.norm1 / s.norm2;
    const T of_own = bounded ? T(0) : of_other * s.dot / own / own;
    for (int64_t k = 0; k < l.n; k += lanes<T>) {
      const vec<T> a = load_line<dense>(x + k * step, step, l.n - k);
      const vec<T> b = load_line<dense>(other + k * step_other, step_other, l.n - k);
      store_line<dense>(l.dx + k * l.step_dx, l.step_dx, b * of_other - a * of_own, l.n - k);
    }
  }
};

struct Norm {
  template <bool dense, class T>
  RANVIER_INLINE vec<T> difference(const DistanceLine<T>& l, int64_t k) {  // 0 beyond the line
    const vec<T> d = load_line<dense>(l.x1 + k * l.step1, l.step1, l.n - k) -
                     load_line<dense>(l.x2 + k * l.step2, l.step2, l.n - k) + l.eps;
    return l.n - k >= lanes<T> ? d : select(iota<T>() < T(l.n - k), d, vec<T>{});
  }

  template <bool dense, class T>
  RANVIER_INLINE T forward(const DistanceLine<T>& l) {
    vec<T> sum{}, top{};
    const bool largest = l.p == Limits<T>::infinity;
    for (int64_t k = 0; k < l.n; k += lanes<T>) {
      const vec<T> d = abs(difference<dense>(l, k));
      if (largest)
        top = max(top, d);
      else if (l.p == T(2))
        sum = fma(d, d, sum);
      else
        sum += l.p == T(1) ? d : pow(d, broadcast(l.p));
    }
    if (largest) return reduce_max(top);
    const vec<T> total = broadcast(reduce_add(sum));
    if (l.p == T(1)) return total[0];
    return l.p == T(2) ? sqrt(total)[0] : pow(total, broadcast(T(1) / l.p))[0];
  }

  // By x1: sign(d) (|d| / y)^(p - 1); of the largest alone, shared where several are, for p = infinity.
  template <bool dense, class T>
  RANVIER_INLINE void backward(const DistanceLine<T>& l) {
    const T y = forward<dense>(l), dy = l.of_second ? -l.dy : l.dy;
    const bool largest = l.p == Limits<T>::infinity;
    vec<T> ties{};
    for (int64_t k = 0; largest && k < l.n; k += lanes<T>)
      ties +=
          select((abs(difference<dense>(l, k)) == y) & (iota<T>() < T(l.n - k)), vec<T>{} + T(1), vec<T>{});
    const T share = largest ? dy / reduce_add(ties) : dy;
    for (int64_t k = 0; k < l.n; k += lanes<T>) {
      const vec<T> d = difference<dense>(l, k), size = abs(d);
      vec<T> slope = vec<T>{} + T(1);
      if (largest)
        slope = select(size == y, slope, vec<T>{});
      else if (l.p == T(2))
        slope = size / y;
      else if (l.p != T(1))
        slope = pow(size / y, broadcast(l.p - T(1)));
      const vec<T> g = select(d == T(0), d, copysign(slope, d) * share);  // no slope at 0
      store_line<dense>(l.dx + k * l.step_dx, l.step_dx, g, l.n - k);
    }
  }
};

template <class Op, class T>
static T forward(const DistanceLine<T>& l) {
  return l.step1 == 1 && l.step2 == 1 ? Op::template forward<true>(l) : Op::template forward<false>(l);
}

template <class Op, class T>
static void backward(const DistanceLine<T>& l) {
  const bool dense = l.step1 == 1 && l.step2 == 1 && l.step_dx == 1;
  dense ? Op::template backward<true>(l) : Op::template backward<false>(l);
}

#define RANVIER_FORWARD(name, op) forward<op, T>,
#define RANVIER_BACKWARD(name, op) backward<op, T>,
template <class T>
static constexpr DistanceKernels<T> distance_table = {{RANVIER_FOR_EACH_DISTANCE(RANVIER_FORWARD)},
                                                      {RANVIER_FOR_EACH_DISTANCE(RANVIER_BACKWARD)}};

extern const DistanceKernels<float> distance_kernels_float = distance_table<float>;
extern const DistanceKernels<double> distance_kernels_double = distance_table<double>;

}  // namespace ranvier::RANVIER_ISA
