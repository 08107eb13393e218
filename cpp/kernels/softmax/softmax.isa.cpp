// softmax's lines, compiled once for each ISA level.
#include "kernels/softmax/softmax.h"

#include "simd/math.h"
#include "simd/strided.h"

namespace ranvier::RANVIER_ISA {

// One line of at most a vector: it stays in a register.
template <bool is_log, class T>
static void short_line(int n, const T* x, T* y) {
  const vec<T> v = load_padded(x, n, -Limits<T>::infinity);
  const vec<T> shifted = v - broadcast(reduce_max(v)), e = exp(shifted);
  const vec<T> sum = broadcast(reduce_add(e));
  store_n(y, is_log ? shifted - log(sum) : e / sum, n);
}

// One line, along which the vectors lie.
template <bool is_log, bool dense, class T>
static void along(int64_t n, const T* x, int64_t sx, T* y, int64_t sy) {
  constexpr int L = lanes<T>;
  constexpr T lowest = -Limits<T>::infinity;
  vec<T> top = broadcast(lowest), sum{};
  for (int64_t k = 0; k < n; k += L) top = maximum(top, load_line<dense>(x + k * sx, sx, n - k, lowest));
  const vec<T> m = broadcast(reduce_max(top));
  for (int64_t k = 0; k < n; k += L) {
    const vec<T> e = exp(load_line<dense>(x + k * sx, sx, n - k, lowest) - m);
    if (!is_log) store_line<dense>(y + k * sy, sy, e, n - k);
    sum += e;
  }
  const vec<T> total = broadcast(reduce_add(sum)), factor = T(1) / total, log_total = log(total);
  for (int64_t k = 0; k < n; k += L) {
    const vec<T> result = is_log ? (load_line<dense>(x + k * sx, sx, n - k) - m) - log_total
                                 : load_line<dense>(y + k * sy, sy, n - k) * factor;
    store_line<dense>(y + k * sy, sy, result, n - k);
  }
}

// Lines side by side, one in each lane; `left` of them are left.
template <bool is_log, class T>
static void across(int64_t left, int64_t n, const T* x, int64_t sx, T* y, int64_t sy) {
  vec<T> m = broadcast(-Limits<T>::infinity), sum{};
  for (int64_t k = 0; k < n; ++k) m = maximum(m, load_line<true>(x + k * sx, 1, left));
  for (int64_t k = 0; k < n; ++k) {
    const vec<T> e = exp(load_line<true>(x + k * sx, 1, left) - m);
    if (!is_log) store_line<true>(y + k * sy, 1, e, left);
    sum += e;
  }
  const vec<T> factor = T(1) / sum, log_sum = log(sum);
  for (int64_t k = 0; k < n; ++k) {
    const vec<T> result = is_log ? (load_line<true>(x + k * sx, 1, left) - m) - log_sum
                                 : load_line<true>(y + k * sy, 1, left) * factor;
    store_line<true>(y + k * sy, 1, result, left);
  }
}

template <bool is_log, class T>
static void forward(const SoftmaxLines<T>& l) {
  if (l.x.step != 1 && l.x.line == 1 && l.out.line == 1) {
    for (int64_t i = 0; i < l.count; i += lanes<T>)
      across<is_log>(l.count - i, l.n, l.x.data + i, l.x.step, l.out.data + i, l.out.step);
    return;
  }
  const bool dense = l.x.step == 1 && l.out.step == 1;
  for (int64_t i = 0; i < l.count; ++i) {
    const T* x = l.x.data + i * l.x.line;
    T* y = l.out.data + i * l.out.line;
    if (dense && l.n <= lanes<T>)
      short_line<is_log>(int(l.n), x, y);
    else if (dense)
      along<is_log, true>(l.n, x, 1, y, 1);
    else
      along<is_log, false>(l.n, x, l.x.step, y, l.out.step);
  }
}

// What is summed over the line, and the gradient from the sum.
template <bool is_log, class V>
RANVIER_INLINE V term(V dy, V y) {
  return is_log ? dy : dy * y;
}
template <bool is_log, class V>
RANVIER_INLINE V gradient(V dy, V y, V sum) {
  return is_log ? dy - exp(y) * sum : y * (dy - sum);
}

template <bool is_log, bool dense, class T>
static void along_backward(int64_t n, const T* dy, int64_t sdy, const T* y, int64_t sy, T* dx, int64_t sdx) {
  constexpr int L = lanes<T>;
  vec<T> sum{};
  for (int64_t k = 0; k < n; k += L)
    sum += term<is_log>(load_line<dense>(dy + k * sdy, sdy, n - k), load_line<dense>(y + k * sy, sy, n - k));
  const vec<T> total = broadcast(reduce_add(sum));
  for (int64_t k = 0; k < n; k += L) {
    const vec<T> g = load_line<dense>(dy + k * sdy, sdy, n - k), v = load_line<dense>(y + k * sy, sy, n - k);
    store_line<dense>(dx + k * sdx, sdx, gradient<is_log>(g, v, total), n - k);
  }
}

template <bool is_log, class T>
static void across_backward(int64_t left, int64_t n, const T* dy, int64_t sdy, const T* y, int64_t sy, T* dx,
                            int64_t sdx) {
  vec<T> sum{};
  for (int64_t k = 0; k < n; ++k)
    sum += term<is_log>(load_line<true>(dy + k * sdy, 1, left), load_line<true>(y + k * sy, 1, left));
  for (int64_t k = 0; k < n; ++k) {
    const vec<T> g = load_line<true>(dy + k * sdy, 1, left), v = load_line<true>(y + k * sy, 1, left);
    store_line<true>(dx + k * sdx, 1, gradient<is_log>(g, v, sum), left);
  }
}

template <bool is_log, class T>
static void backward(const SoftmaxLines<T>& l) {
  if (l.x.step != 1 && l.x.line == 1 && l.dy.line == 1 && l.out.line == 1) {
    for (int64_t i = 0; i < l.count; i += lanes<T>)
      across_backward<is_log>(l.count - i, l.n, l.dy.data + i, l.dy.step, l.x.data + i, l.x.step,
                              l.out.data + i, l.out.step);
    return;
  }
  const bool dense = l.x.step == 1 && l.dy.step == 1 && l.out.step == 1;
  const auto function = dense ? along_backward<is_log, true, T> : along_backward<is_log, false, T>;
  for (int64_t i = 0; i < l.count; ++i)
    function(l.n, l.dy.data + i * l.dy.line, l.dy.step, l.x.data + i * l.x.line, l.x.step,
             l.out.data + i * l.out.line, l.out.step);
}

template <class T>
static constexpr SoftmaxKernels<T> softmax_table = {{forward<false, T>, forward<true, T>},
                                                    {backward<false, T>, backward<true, T>}};

extern const SoftmaxKernels<float> softmax_kernels_float = softmax_table<float>;
extern const SoftmaxKernels<double> softmax_kernels_double = softmax_table<double>;

}  // namespace ranvier::RANVIER_ISA
