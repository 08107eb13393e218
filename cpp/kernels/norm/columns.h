// The loops over rows whose columns are handled side by side, for one ISA level.
#pragma once
#include "kernels/norm/lines.h"

namespace ranvier::RANVIER_ISA {

// f(group, j, n) for groups of columns of [0, width): as many whole vectors as group says, or a part of one.
template <int kVectors>
struct ColumnGroup {
  static constexpr int vectors = kVectors;
};

template <class T, class F>
RANVIER_INLINE void for_each_group(int64_t width, const F& f) {
  constexpr int L = lanes<T>;
  int64_t j = 0;
  for (; j + kNormVectors * L <= width; j += kNormVectors * L) f(ColumnGroup<kNormVectors>{}, j, L);
  for (; j + L <= width; j += L) f(ColumnGroup<1>{}, j, L);
  if (j < width) f(ColumnGroup<1>{}, j, static_cast<int>(width - j));
}

template <class T>
static void column_moments(const T* x, int64_t stride, int64_t rows, int64_t width, int64_t seen,
                           double* mean, double* m2) {
  constexpr int L = lanes<T>;
  const double inverse = 1.0 / double(rows), all = double(seen + rows);
  const double share = double(rows) / all, both = double(seen) * share;
  for_each_group<T>(width, [&](auto group, int64_t j, int l) {
    constexpr int kVectors = decltype(group)::vectors;
    vec<T> first[kVectors], sum[kVectors]{}, squares[kVectors]{};
    for (int v = 0; v < kVectors; ++v) first[v] = load_lanes(x + j + v * L, l);
    for (int64_t r = 1; r < rows; ++r)
      for (int v = 0; v < kVectors; ++v) {
        const vec<T> d = load_lanes(x + r * stride + j + v * L, l) - first[v];
        sum[v] += d, squares[v] = fma(d, d, squares[v]);
      }
    T f[kVectors * L], s[kVectors * L], q[kVectors * L];
    for (int v = 0; v < kVectors; ++v)
      store(f + v * L, first[v]), store(s + v * L, sum[v]), store(q + v * L, squares[v]);
    const int64_t count = l == L ? kVectors * L : l;
    for (int64_t i = 0; i < count; ++i) {
      const double step = double(s[i]) * inverse, found = double(q[i]) - double(s[i]) * step;
      const double delta = double(f[i]) + step - mean[j + i];
      mean[j + i] += delta * share;
      m2[j + i] += (found < 0 ? 0 : found) + delta * delta * both;
    }
  });
}

template <class T>
static void normalize_rows(const T* x, int64_t stride_x, int64_t rows, int64_t width, const T* m, const T* a,
                           const T* b, T* y, int64_t stride_y) {
  constexpr int L = lanes<T>;
  for (int64_t r = 0; r < rows; ++r, x += stride_x, y += stride_y)
    for_each_group<T>(width, [&](auto group, int64_t j, int l) {
      for (int v = 0; v < decltype(group)::vectors; ++v, j += L)
        store_lanes(
            y + j,
            fma(load_lanes(x + j, l) - load_lanes(m + j, l), load_lanes(a + j, l), load_lanes(b + j, l)), l);
    });
}

// Adds the lanes of sums in T to sums in double.
template <class T>
RANVIER_INLINE void add_lanes(double* to, typename VecOf<T>::type v, int n) {
  T lane[lanes<T>];
  store(lane, v);
  if (n == lanes<T>)
    for (int i = 0; i < lanes<T>; ++i) to[i] += double(lane[i]);
  else
    for (int i = 0; i < n; ++i) to[i] += double(lane[i]);
}

template <class T>
static void column_sums(const T* dy, int64_t stride_dy, const T* x, int64_t stride_x, int64_t rows,
                        int64_t width, const T* m, double* dy_sums, double* dots) {
  constexpr int L = lanes<T>;
  for_each_group<T>(width, [&](auto group, int64_t j, int l) {
    constexpr int kVectors = decltype(group)::vectors;
    vec<T> mean[kVectors], sum[kVectors]{}, dot[kVectors]{};
    for (int v = 0; v < kVectors; ++v) mean[v] = load_lanes(m + j + v * L, l);
    for (int64_t r = 0; r < rows; ++r)
      for (int v = 0; v < kVectors; ++v) {
        const vec<T> g = load_lanes(dy + r * stride_dy + j + v * L, l);
        sum[v] += g;
        dot[v] = fma(g, load_lanes(x + r * stride_x + j + v * L, l) - mean[v], dot[v]);
      }
    for (int v = 0; v < kVectors; ++v)
      add_lanes<T>(dy_sums + j + v * L, sum[v], l), add_lanes<T>(dots + j + v * L, dot[v], l);
  });
}

template <class T>
static void gradient_rows(const T* dy, int64_t stride_dy, const T* x, int64_t stride_x, int64_t rows,
                          int64_t width, const T* m, const T* a, const T* b, const T* k, T* dx,
                          int64_t stride_dx) {
  constexpr int L = lanes<T>;
  for (int64_t r = 0; r < rows; ++r, dy += stride_dy, x += stride_x, dx += stride_dx)
    for_each_group<T>(width, [&](auto group, int64_t j, int l) {
      for (int v = 0; v < decltype(group)::vectors; ++v, j += L) {
        const vec<T> of_x =
            fma(load_lanes(x + j, l) - load_lanes(m + j, l), load_lanes(b + j, l), load_lanes(k + j, l));
        store_lanes(dx + j, fma(load_lanes(dy + j, l), load_lanes(a + j, l), of_x), l);
      }
    });
}

template <class T>
static void parameter_sums(const T* dy, int64_t stride_dy, const T* x, int64_t stride_x, int64_t rows,
                           int64_t width, const Normalize<T>* f, double* dweight, double* dbias) {
  constexpr int L = lanes<T>;
  for_each_group<T>(width, [&](auto group, int64_t j, int l) {
    constexpr int kVectors = decltype(group)::vectors;
    vec<T> sum[kVectors]{}, dot[kVectors]{};
    for (int64_t r = 0; r < rows; ++r) {
      const vec<T> a = broadcast(f[r].a), b = broadcast(f[r].b);
      for (int v = 0; v < kVectors; ++v) {
        const vec<T> g = load_lanes(dy + r * stride_dy + j + v * L, l);
        sum[v] += g;
        dot[v] = fma(g, fma(load_lanes(x + r * stride_x + j + v * L, l) - f[r].m, a, b), dot[v]);
      }
    }
    for (int v = 0; v < kVectors; ++v)
      add_lanes<T>(dbias + j + v * L, sum[v], l), add_lanes<T>(dweight + j + v * L, dot[v], l);
  });
}

}  // namespace ranvier::RANVIER_ISA
