// activation's loops over a line of elements, compiled once for each ISA level.
#include "kernels/activation/activation.h"

#include "kernels/activation/functions.h"
#include "simd/strided.h"

namespace ranvier::RANVIER_ISA {

template <class Op, class T>
static void forward(const ActivationLine<T>& line) {
  constexpr int L = lanes<T>;
  const ActivationAttributes<T> attributes{line.alpha, line.beta};
  const int64_t n = line.n, sx = line.stride_x, sy = line.stride_y;
  const T* x = line.x;
  T* y = line.y;
  int64_t i = 0;
  if (sx == 1 && sy == 1) {
    for (; i + L <= n; i += L) store(y + i, Op::forward(load(x + i), attributes));
    if (i < n) store_n(y + i, Op::forward(load_n(x + i, int(n - i)), attributes), int(n - i));
    return;
  }
  for (; i < n; i += L) {
    const int count = int(n - i < L ? n - i : L);
    store_strided(y + i * sy, sy, Op::forward(load_strided(x + i * sx, sx, count), attributes), count);
  }
}

template <class Op, class T>
static void backward(const ActivationLine<T>& line) {
  constexpr int L = lanes<T>;
  const ActivationAttributes<T> attributes{line.alpha, line.beta};
  const int64_t n = line.n, sx = line.stride_x, sdy = line.stride_dy, sy = line.stride_y;
  const T *x = line.x, *dy = line.dy;
  T* dx = line.y;
  int64_t i = 0;
  if (sx == 1 && sdy == 1 && sy == 1) {
    for (; i + L <= n; i += L) store(dx + i, Op::backward(load(dy + i), load(x + i), attributes));
    const int count = int(n - i);
    if (count) store_n(dx + i, Op::backward(load_n(dy + i, count), load_n(x + i, count), attributes), count);
    return;
  }
  for (; i < n; i += L) {
    const int count = int(n - i < L ? n - i : L);
    const vec<T> slope_in = load_strided(x + i * sx, sx, count);
    const vec<T> gradient = load_strided(dy + i * sdy, sdy, count);
    store_strided(dx + i * sy, sy, Op::backward(gradient, slope_in, attributes), count);
  }
}

#define RANVIER_X(name, op, cost) forward<op, T>,
#define RANVIER_Y(name, op, cost) backward<op, T>,
template <class T>
static constexpr ActivationKernels<T> activation_table = {{RANVIER_FOR_EACH_ACTIVATION(RANVIER_X)},
                                                          {RANVIER_FOR_EACH_ACTIVATION(RANVIER_Y)}};
#undef RANVIER_X
#undef RANVIER_Y

extern const ActivationKernels<float> activation_kernels_float = activation_table<float>;
extern const ActivationKernels<double> activation_kernels_double = activation_table<double>;

}  // namespace ranvier::RANVIER_ISA
