// The element-wise losses on dense strips, compiled once for each ISA level.
#include "kernels/loss/functions.h"

#include "simd/strided.h"

namespace ranvier::RANVIER_ISA {

enum class Which { value, by_x, by_target, by_other };

template <class Op, Which which, class T>
static void strip(const LossStrip<T>& s) {
  for (int64_t i = 0; i < s.n; i += lanes<T>) {
    const int64_t left = s.n - i;
    const vec<T> x = load_line<true>(s.x + i, 1, left), t = load_line<true>(s.target + i, 1, left);
    const vec<T> o = load_line<true>(s.other + i, 1, left);
    vec<T> y;
    if constexpr (which == Which::value) y = Op::value(x, t, o, s);
    if constexpr (which == Which::by_x) y = Op::by_x(x, t, o, s);
    if constexpr (which == Which::by_target) y = Op::by_target(x, t, o, s);
    if constexpr (which == Which::by_other) y = Op::by_other(x, t, o, s);
    store_line<true>(s.out + i, 1, y * s.scale, left);
  }
}

template <class T>
static void multiply(int64_t n, T* out, const T* by) {
  for (int64_t i = 0; i < n; i += lanes<T>)
    store_line<true>(out + i, 1, load_line<true>(out + i, 1, n - i) * load_line<true>(by + i, 1, n - i),
                     n - i);
}

template <class T>
static double sum(int64_t n, const T* x) {
  vec<T> total{};
  for (int64_t i = 0; i < n; i += lanes<T>) total += load_line<true>(x + i, 1, n - i);
  return double(reduce_add(total));
}

#define RANVIER_X(name, op, cost) strip<op, Which::value, T>,
#define RANVIER_BY_X(name, op, cost) strip<op, Which::by_x, T>,
#define RANVIER_BY_TARGET(name, op, cost) strip<op, Which::by_target, T>,
#define RANVIER_BY_OTHER(name, op, cost) strip<op, Which::by_other, T>,
template <class T>
static constexpr LossKernels<T> loss_table = {{RANVIER_FOR_EACH_LOSS(RANVIER_X)},
                                              {{RANVIER_FOR_EACH_LOSS(RANVIER_BY_X)},
                                               {RANVIER_FOR_EACH_LOSS(RANVIER_BY_TARGET)},
                                               {RANVIER_FOR_EACH_LOSS(RANVIER_BY_OTHER)}},
                                              multiply<T>,
                                              sum<T>};

extern const LossKernels<float> loss_kernels_float = loss_table<float>;
extern const LossKernels<double> loss_kernels_double = loss_table<double>;

}  // namespace ranvier::RANVIER_ISA
