// The element-wise losses on lines of elements, compiled once for each ISA level.
#include "kernels/loss/loss.h"

#include "simd/math.h"
#include "simd/strided.h"

namespace ranvier::RANVIER_ISA {

// value(x, t); gradient(x, t) by x; target_gradient(x, t) by t.
struct Mse {
  template <class V>
  RANVIER_INLINE V value(V x, V t) {
    return (x - t) * (x - t);
  }
  template <class V>
  RANVIER_INLINE V gradient(V x, V t) {
    return (x - t) + (x - t);
  }
  template <class V>
  RANVIER_INLINE V target_gradient(V x, V t) {
    return (t - x) + (t - x);
  }
};

struct Bce {
  static constexpr int floor = -100;            // of the logarithms: x = 0 or 1 gives a finite loss
  static constexpr double least_slope = 1e-12;  // of x (1 - x), which the gradient divides by
  template <class V>
  RANVIER_INLINE V log_of(V x) {
    return at_least(log(x), floor);
  }
  template <class V>
  RANVIER_INLINE V log_of_rest(V x) {
    return at_least(log1p(-x), floor);
  }
  template <class V>
  RANVIER_INLINE V value(V x, V t) {
    return (t - element_of<V>(1)) * log_of_rest(x) - t * log_of(x);
  }
  template <class V>
  RANVIER_INLINE V gradient(V x, V t) {
    return (x - t) / at_least(x * (element_of<V>(1) - x), element_of<V>(least_slope));
  }
  template <class V>
  RANVIER_INLINE V target_gradient(V x, V) {
    return log_of_rest(x) - log_of(x);
  }
};

struct BceWithLogits {
  template <class V>
  RANVIER_INLINE V value(V x, V t) {
    return at_least(x, element_of<V>(0)) - x * t + log1p(exp(-abs(x)));
  }
  template <class V>
  RANVIER_INLINE V gradient(V x, V t) {
    return sigmoid(x) - t;
  }
  template <class V>
  RANVIER_INLINE V target_gradient(V x, V) {
    return -x;
  }
};

template <class Op, bool dense, class T>
static void each_of(const LossLine<T>& l) {
  for (int64_t i = 0; i < l.n; i += lanes<T>) {
    const vec<T> x = load_line<dense>(l.x + i * l.stride_x, l.stride_x, l.n - i);
    const vec<T> t = load_line<dense>(l.target + i * l.stride_target, l.stride_target, l.n - i);
    store_line<dense>(l.out + i * l.stride_out, l.stride_out, Op::value(x, t), l.n - i);
  }
}

template <class Op, class T>
static void each(const LossLine<T>& l) {
  const bool dense = l.stride_x == 1 && l.stride_target == 1 && l.stride_out == 1;
  dense ? each_of<Op, true>(l) : each_of<Op, false>(l);
}

template <class Op, bool dense, class T>
static double sum_of(const LossLine<T>& l) {
  constexpr int64_t L = lanes<T>, run = 64 * L;
  double total = 0;
  for (int64_t begin = 0; begin < l.n; begin += run) {
    const int64_t end = l.n < begin + run ? l.n : begin + run;
    vec<T> sum{};
    for (int64_t i = begin; i < end; i += L) {
      const vec<T> x = load_line<dense>(l.x + i * l.stride_x, l.stride_x, end - i);
      const vec<T> t = load_line<dense>(l.target + i * l.stride_target, l.stride_target, end - i);
      const vec<T> value = Op::value(x, t);
      sum += end - i >= L ? value : select(iota<T>() < T(end - i), value, vec<T>{});
    }
    total += double(reduce_add(sum));
  }
  return total;
}

template <class Op, class T>
static double sum(const LossLine<T>& l) {
  return l.stride_x == 1 && l.stride_target == 1 ? sum_of<Op, true>(l) : sum_of<Op, false>(l);
}

template <class Op, bool of_target, bool dense, class T>
static void gradient_of(const LossLine<T>& l) {
  const vec<T> common = broadcast(l.dy[0] * l.scale);
  for (int64_t i = 0; i < l.n; i += lanes<T>) {
    const vec<T> x = load_line<dense>(l.x + i * l.stride_x, l.stride_x, l.n - i);
    const vec<T> t = load_line<dense>(l.target + i * l.stride_target, l.stride_target, l.n - i);
    vec<T> dy = common;
    if (l.stride_dy) dy = load_line<dense>(l.dy + i * l.stride_dy, l.stride_dy, l.n - i) * l.scale;
    const vec<T> slope = of_target ? Op::target_gradient(x, t) : Op::gradient(x, t);
    store_line<dense>(l.out + i * l.stride_out, l.stride_out, dy * slope, l.n - i);
  }
}

template <class Op, bool of_target, class T>
static void gradient(const LossLine<T>& l) {
  const bool dense =
      l.stride_x == 1 && l.stride_target == 1 && l.stride_out == 1 && (l.stride_dy == 0 || l.stride_dy == 1);
  dense ? gradient_of<Op, of_target, true>(l) : gradient_of<Op, of_target, false>(l);
}

#define RANVIER_SUM(name, op, cost) sum<op, T>,
#define RANVIER_EACH(name, op, cost) each<op, T>,
#define RANVIER_GRADIENT(name, op, cost) gradient<op, false, T>,
#define RANVIER_TARGET_GRADIENT(name, op, cost) gradient<op, true, T>,
template <class T>
static constexpr LossKernels<T> loss_table = {{RANVIER_FOR_EACH_LOSS(RANVIER_SUM)},
                                              {RANVIER_FOR_EACH_LOSS(RANVIER_EACH)},
                                              {RANVIER_FOR_EACH_LOSS(RANVIER_GRADIENT)},
                                              {RANVIER_FOR_EACH_LOSS(RANVIER_TARGET_GRADIENT)}};

extern const LossKernels<float> loss_kernels_float = loss_table<float>;
extern const LossKernels<double> loss_kernels_double = loss_table<double>;

}  // namespace ranvier::RANVIER_ISA
