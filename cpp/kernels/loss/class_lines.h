// The losses of one line of class scores, and its gradient. C: whether the classes lie side by side.
#pragma once
#include "kernels/loss/class_loss.h"
#include "simd/math.h"
#include "simd/strided.h"

namespace ranvier::RANVIER_ISA {

template <class T>
struct LogSumExp {  // of a line: top + log_sum
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

// Line i of the lines: its class or probabilities.
template <class T>
struct Target {
  const T *p, *weight;  // null: a class; null: weights 1
  int64_t step, t;
  bool ignored;
  T w;             // weight of the class
  T keep, spread;  // of q[c] = w[c] (keep p[c] + spread)

  // The coefficients q from class k on; 0 beyond the line.
  template <bool dense>
  RANVIER_INLINE vec<T> coefficients(const Target& o, int64_t k, int64_t left) {
    vec<T> q = broadcast(o.spread);
    if (o.p) q += load_line<dense>(o.p + k * o.step, o.step, left) * o.keep;
    if (o.weight) return q * load_line<true>(o.weight + k, 1, left);
    return left >= lanes<T> ? q : select(iota<T>() < T(left), q, vec<T>{});
  }
};

template <class T>
RANVIER_INLINE Target<T> target_of(const ClassLines<T>& l, int64_t i) {
  Target<T> o{};
  o.weight = l.weight;
  o.keep = T(1) - T(l.settings.smoothing);
  o.spread = l.settings.smoothing > 0 ? T(l.settings.smoothing / double(l.n)) : T(0);
  o.w = T(1);
  if (l.index.data) {
    o.t = l.index.data[i * l.index.line];
    o.ignored = o.t == l.settings.ignore_index;
    if (l.weight) o.w = o.ignored ? T(0) : l.weight[o.t];
  } else {
    o.p = l.probabilities.data + i * l.probabilities.line;
    o.step = l.probabilities.step;
  }
  return o;
}

template <bool dense, class T>
RANVIER_INLINE void fill_zeros(int64_t n, T* dx, int64_t sdx) {
  for (int64_t k = 0; k < n; k += lanes<T>) store_line<dense>(dx + k * sdx, sdx, vec<T>{}, n - k);
}

// dx = softmax(x) * total
template <bool dense, class T>
RANVIER_INLINE void scaled_softmax(int64_t n, const T* x, int64_t sx, T lse, T total, T* dx, int64_t sdx) {
  for (int64_t k = 0; k < n; k += lanes<T>)
    store_line<dense>(dx + k * sdx, sdx, exp(load_line<dense>(x + k * sx, sx, n - k) - lse) * total, n - k);
}

struct CrossEntropy {
  template <bool dense, class T>
  RANVIER_INLINE T forward(const ClassLines<T>& l, int64_t i, const Target<T>& o, const T* x) {
    const int64_t n = l.n, sx = l.x.step;
    const LogSumExp<T> lse = log_sum_exp<dense>(n, x, sx);
    l.log_sum_exp.data[i * l.log_sum_exp.line] = lse.top + lse.log_sum;
    if (o.ignored) return T(0);
    const T of_class = o.p ? T(0) : o.w * ((lse.top - x[o.t * sx]) + lse.log_sum);
    if (!o.p && o.spread == T(0)) return of_class;
    vec<T> sum{};
    for (int64_t k = 0; k < n; k += lanes<T>) {
      const vec<T> rest = (lse.top - load_line<dense>(x + k * sx, sx, n - k)) + lse.log_sum;
      sum += Target<T>::template coefficients<dense>(o, k, n - k) * rest;
    }
    return o.keep * of_class + reduce_add(sum);
  }

  template <bool dense, class T>
  RANVIER_INLINE void backward(const ClassLines<T>& l, int64_t i, const Target<T>& o, const T* x, T dy,
                               T* dx) {
    const int64_t n = l.n, sx = l.x.step, sdx = l.dx.step;
    const T lse = l.saved.data[i * l.saved.line];
    if (o.ignored) return fill_zeros<dense>(n, dx, sdx);
    if (o.p || o.spread > T(0)) {
      T total = o.spread * l.weights + o.keep * o.w;
      if (o.p) {
        vec<T> sum{};
        for (int64_t k = 0; k < n; k += lanes<T>) sum += Target<T>::template coefficients<dense>(o, k, n - k);
        total = reduce_add(sum);
      }
      for (int64_t k = 0; k < n; k += lanes<T>) {
        const vec<T> softmax = exp(load_line<dense>(x + k * sx, sx, n - k) - lse);
        const vec<T> q = Target<T>::template coefficients<dense>(o, k, n - k);
        store_line<dense>(dx + k * sdx, sdx, (softmax * total - q) * dy, n - k);
      }
    } else {
      scaled_softmax<dense>(n, x, sx, lse, o.w * dy, dx, sdx);
    }
    if (!o.p) dx[o.t * sdx] -= o.keep * o.w * dy;
  }
};

struct Nll {
  template <bool dense, class T>
  RANVIER_INLINE T forward(const ClassLines<T>& l, int64_t, const Target<T>& o, const T* x) {
    return o.ignored ? T(0) : -o.w * x[o.t * l.x.step];
  }
  template <bool dense, class T>
  RANVIER_INLINE void backward(const ClassLines<T>& l, int64_t, const Target<T>& o, const T*, T dy, T* dx) {
    fill_zeros<dense>(l.n, dx, l.dx.step);
    if (!o.ignored) dx[o.t * l.dx.step] = -o.w * dy;
  }
};

struct Focal {
  template <class T>
  struct Parts {
    T miss, power;  // 1 - p and its gamma-th power, of the cost -log p
  };
  template <class T>
  RANVIER_INLINE Parts<T> parts(T cost, T gamma) {
    const vec<T> miss = -expm1(broadcast(-cost));
    return {miss[0], pow(miss, broadcast(gamma))[0]};
  }
  template <bool dense, class T>
  RANVIER_INLINE T forward(const ClassLines<T>& l, int64_t i, const Target<T>& o, const T* x) {
    const LogSumExp<T> lse = log_sum_exp<dense>(l.n, x, l.x.step);
    l.log_sum_exp.data[i * l.log_sum_exp.line] = lse.top + lse.log_sum;
    if (o.ignored) return T(0);
    const T cost = (lse.top - x[o.t * l.x.step]) + lse.log_sum;
    return o.w * parts(cost, T(l.settings.exponent)).power * cost;
  }
  // The slope by x[c] is that of cross_entropy times a factor of the line.
  template <bool dense, class T>
  RANVIER_INLINE void backward(const ClassLines<T>& l, int64_t i, const Target<T>& o, const T* x, T dy,
                               T* dx) {
    const int64_t n = l.n, sx = l.x.step, sdx = l.dx.step;
    if (o.ignored) return fill_zeros<dense>(n, dx, sdx);
    const T lse = l.saved.data[i * l.saved.line], gamma = T(l.settings.exponent);
    const T difference = lse - x[o.t * sx], cost = difference < T(0) ? T(0) : difference;  // rounding of lse
    const Parts<T> f = parts(cost, gamma);
    const T slope = f.miss > T(0) ? gamma * f.power / f.miss : T(0);
    const T factor = o.w * dy * (f.power + slope * (T(1) - f.miss) * cost);
    scaled_softmax<dense>(n, x, sx, lse, factor, dx, sdx);
    dx[o.t * sdx] -= factor;
  }
};

struct MultiMargin {
  // max(0, margin - x[t] + x[c]) from class k on; 0 at t and beyond the line.
  template <bool dense, class T>
  RANVIER_INLINE vec<T> violation(const ClassLines<T>& l, const Target<T>& o, const T* x, int64_t k) {
    const vec<T> z =
        load_line<dense>(x + k * l.x.step, l.x.step, l.n - k) + (T(l.settings.margin) - x[o.t * l.x.step]);
    return select((iota<T>() == T(o.t - k)) | (iota<T>() >= T(l.n - k)), vec<T>{}, at_least(z, T(0)));
  }
  template <bool dense, class T>
  RANVIER_INLINE T forward(const ClassLines<T>& l, int64_t, const Target<T>& o, const T* x) {
    if (o.ignored) return T(0);
    vec<T> sum{};
    for (int64_t k = 0; k < l.n; k += lanes<T>) {
      const vec<T> z = violation<dense>(l, o, x, k);
      sum += l.settings.exponent == 1 ? z : z * z;
    }
    return o.w * reduce_add(sum) / T(l.n);
  }
  template <bool dense, class T>
  RANVIER_INLINE void backward(const ClassLines<T>& l, int64_t, const Target<T>& o, const T* x, T dy, T* dx) {
    const T factor = o.ignored ? T(0) : o.w * dy / T(l.n);
    vec<T> sum{};
    if (o.ignored) return fill_zeros<dense>(l.n, dx, l.dx.step);
    for (int64_t k = 0; k < l.n; k += lanes<T>) {
      const vec<T> z = violation<dense>(l, o, x, k);
      vec<T> g = l.settings.exponent == 1 ? select(z > T(0), vec<T>{} + T(1), z) : z + z;
      sum += g;
      store_line<dense>(dx + k * l.dx.step, l.dx.step, g * factor, l.n - k);
    }
    dx[o.t * l.dx.step] = -reduce_add(sum) * factor;
  }
};

}  // namespace ranvier::RANVIER_ISA
