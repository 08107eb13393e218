// cross_entropy's lines, compiled once for each ISA level.
#include "kernels/loss/cross_entropy.h"

#include "simd/math.h"
#include "simd/strided.h"

namespace ranvier::RANVIER_ISA {

template <class T>
struct LogSumExp {  // log_sum_exp = top + log_sum
  T top, log_sum;
};

template <bool dense, class T>
RANVIER_INLINE LogSumExp<T> log_sum_exp(int64_t n, const T* x, int64_t sx) {
  constexpr T lowest = -Limits<T>::infinity;
  vec<T> top = broadcast(lowest), sum{};
  for (int64_t k = 0; k < n; k += lanes<T>)
    top = maximum(top, load_line<dense>(x + k * sx, sx, n - k, lowest));
  const T m = reduce_max(top);
  for (int64_t k = 0; k < n; k += lanes<T>) sum += exp(load_line<dense>(x + k * sx, sx, n - k, lowest) - m);
  return {m, log(broadcast(reduce_add(sum)))[0]};
}

// sum_k p[k] (log_sum_exp - x[k])
template <bool dense, class T>
RANVIER_INLINE T expected_loss(int64_t n, const T* x, int64_t sx, const T* p, int64_t sp, LogSumExp<T> lse) {
  vec<T> sum{};
  for (int64_t k = 0; k < n; k += lanes<T>) {
    const vec<T> rest = (lse.top - load_line<dense>(x + k * sx, sx, n - k)) + lse.log_sum;
    sum += load_line<dense>(p + k * sp, sp, n - k) * rest;  // 0 beyond the line, where p is 0
  }
  return reduce_add(sum);
}

template <bool dense, class T>
static void forward_of(const CrossEntropyLines<T>& l) {
  for (int64_t i = 0; i < l.count; ++i) {
    const T* x = l.x.data + i * l.x.line;
    const LogSumExp<T> lse = log_sum_exp<dense>(l.n, x, l.x.step);
    l.log_sum_exp.data[i * l.log_sum_exp.line] = lse.top + lse.log_sum;
    T loss;
    if (l.index.data) {
      loss = (lse.top - x[l.index.data[i * l.index.line] * l.x.step]) + lse.log_sum;
    } else {
      const T* p = l.probabilities.data + i * l.probabilities.line;
      loss = expected_loss<dense>(l.n, x, l.x.step, p, l.probabilities.step, lse);
    }
    l.loss.data[i * l.loss.line] = loss;
  }
}

template <class T>
static bool is_dense(const CrossEntropyLines<T>& l) {
  return l.x.step == 1 && (!l.probabilities.data || l.probabilities.step == 1) &&
         (!l.dx.data || l.dx.step == 1);
}

template <class T>
static void forward(const CrossEntropyLines<T>& l) {
  is_dense(l) ? forward_of<true>(l) : forward_of<false>(l);
}

template <bool dense, class T>
RANVIER_INLINE T total(int64_t n, const T* p, int64_t sp) {
  vec<T> sum{};
  for (int64_t k = 0; k < n; k += lanes<T>) sum += load_line<dense>(p + k * sp, sp, n - k);
  return reduce_add(sum);
}

template <bool dense, class T>
static void backward_of(const CrossEntropyLines<T>& l) {
  for (int64_t i = 0; i < l.count; ++i) {
    const T* x = l.x.data + i * l.x.line;
    const T* p = l.index.data ? nullptr : l.probabilities.data + i * l.probabilities.line;
    const int64_t sx = l.x.step, sp = l.probabilities.step, sdx = l.dx.step;
    const T lse = l.saved.data[i * l.saved.line], dy = l.dy.data[i * l.dy.line] * l.scale;
    const T weight = p ? total<dense>(l.n, p, sp) * dy : dy;
    T* dx = l.dx.data + i * l.dx.line;
    for (int64_t k = 0; k < l.n; k += lanes<T>) {
      vec<T> g = exp(load_line<dense>(x + k * sx, sx, l.n - k) - lse) * weight;
      if (p) g -= load_line<dense>(p + k * sp, sp, l.n - k) * dy;
      store_line<dense>(dx + k * sdx, sdx, g, l.n - k);
    }
    if (!p) dx[l.index.data[i * l.index.line] * sdx] -= dy;
  }
}

template <class T>
static void backward(const CrossEntropyLines<T>& l) {
  is_dense(l) ? backward_of<true>(l) : backward_of<false>(l);
}

template <class T>
static void target_backward(const CrossEntropyLines<T>& l) {
  for (int64_t i = 0; i < l.count; ++i) {
    const T lse = l.saved.data[i * l.saved.line], dy = l.dy.data[i * l.dy.line] * l.scale;
    const T* x = l.x.data + i * l.x.line;
    T* dp = l.dx.data + i * l.dx.line;
    for (int64_t k = 0; k < l.n; k += lanes<T>)
      store_line<false>(dp + k * l.dx.step, l.dx.step,
                        (lse - load_line<false>(x + k * l.x.step, l.x.step, l.n - k)) * dy, l.n - k);
  }
}

template <class T>
static constexpr CrossEntropyKernels<T> cross_entropy_table = {forward<T>, backward<T>, target_backward<T>};

extern const CrossEntropyKernels<float> cross_entropy_kernels_float = cross_entropy_table<float>;
extern const CrossEntropyKernels<double> cross_entropy_kernels_double = cross_entropy_table<double>;

}  // namespace ranvier::RANVIER_ISA
