// Statistics and gradients of runs that are longer than a chunk (kNormChunk in norm.h), and the rare cases in
// which T is too small and double is needed. For batch_norm.cpp, group_norm.cpp and layer_norm.cpp. Chunks
// are added in order, so that results do not depend on the team.
#pragma once
#include <algorithm>
#include <cmath>
#include <limits>

#include "base/long_total.h"
#include "kernels/norm/norm.h"

namespace ranvier {

constexpr double kNsPerNormByte = 0.03;  // the time of a byte in one pass over memory, on one core, roughly

// Calls f(begin, count) for each chunk of a line of n elements.
template <class F>
void for_each_chunk(int64_t n, const F& f) {
  for (int64_t i = 0; i < n; i += kNormChunk) f(i, std::min(kNormChunk, n - i));
}

// kernels.moments of at most kNormChunk elements; computed again in double if the squares overflow in T.
template <class T>
Moments chunk_moments(const NormKernels<T>& kernels, const T* x, int64_t n) {
  Moments all = kernels.moments(x, n);
  if (all.m2 < double(std::numeric_limits<T>::max())) return all;
  all = {0, 0};
  for (int64_t i = 0; i < n; ++i) all.mean += double(x[i]) / double(n);
  for (int64_t i = 0; i < n; ++i) all.m2 += (double(x[i]) - all.mean) * (double(x[i]) - all.mean);
  return all;
}

// The moments of several runs of elements together.
class RunningMoments {
 public:
  void join(Moments m, int64_t count) {
    const double n = double(count);
    const double all = count_ + n;
    // Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm" (1979).
    const double delta = (m.mean - mean_.total) - mean_.lost;
    mean_.add(delta * (n / all));
    m2_.add(m.m2 + delta * delta * (count_ * n / all));
    count_ = all;
  }
  template <class T>
  void add_line(const NormKernels<T>& kernels, const T* x, int64_t n) {
    for_each_chunk(n, [&](int64_t i, int64_t count) { join(chunk_moments(kernels, x + i, count), count); });
  }
  Moments moments() const { return {mean_.value(), m2_.value()}; }

 private:
  LongTotal mean_, m2_;
  double count_ = 0;
};

// kernels.sums over a line of any length. weight: of each element, or null.
template <class T>
GradientSums line_sums(const NormKernels<T>& kernels, const T* dy, const T* x, int64_t n, T m,
                       const T* weight) {
  LongTotal all_dy;
  LongTotal all_dot;
  for_each_chunk(n, [&](int64_t i, int64_t count) {
    const T* const weights = weight ? weight + i : nullptr;
    const GradientSums found = kernels.sums(dy + i, x + i, count, m, weights);
    all_dy.add(found.dy);
    all_dot.add(found.dot);
  });
  return {all_dy.value(), all_dot.value()};
}

// True if the coefficient b of a gradient is too small for T: b is about 1 / deviation^2, so it is small if x
// is large.
template <class T>
bool is_below(double b) {
  return b != 0 && std::fabs(b) < double(std::numeric_limits<T>::min() / std::numeric_limits<T>::epsilon());
}
// dx = dy weight a + (x - m) b + k in double, for n elements that are sdy, sx and sdx apart. weight: null
// where the norm has none; f.b is not read.
template <class T>
void wide_gradient(const T* dy, int64_t sdy, const T* x, int64_t sx, int64_t n, NormGradient<T> f, double b,
                   const T* weight, T* dx, int64_t sdx) {
  for (int64_t i = 0; i < n; ++i) {
    const double scale = weight ? double(weight[i]) : 1;
    const double g = double(dy[i * sdy]) * scale;
    dx[i * sdx] = T(g * double(f.a) + (double(x[i * sx]) - double(f.m)) * b + double(f.k));
  }
}

// kernels.gradient, or wide_gradient() if b is too small for T.
template <class T>
void line_gradient(const NormKernels<T>& kernels, const T* dy, const T* x, int64_t n, NormGradient<T> f,
                   double b, const T* weight, T* dx) {
  if (is_below<T>(b)) return wide_gradient(dy, 1, x, 1, n, f, b, weight, dx, 1);
  kernels.gradient(dy, x, n, f, weight, dx);
}

// Called after kernels.gradient_rows: computes dx again for the columns whose b is too small for T. dy, x and
// dx are matrices of `rows` rows and `width` contiguous columns, with rows sdy, sx and sdx elements apart; m,
// a, b and k have a number for each column.
template <class T>
void mend_columns(const T* dy, int64_t sdy, const T* x, int64_t sx, int64_t rows, int64_t width, const T* m,
                  const T* a, const double* b, const T* k, T* dx, int64_t sdx) {
  for (int64_t j = 0; j < width; ++j) {
    if (!is_below<T>(b[j])) continue;
    const NormGradient<T> function = {m[j], a[j], 0, k[j]};
    wide_gradient<T>(dy + j, sdy, x + j, sx, rows, function, b[j], /*weight=*/nullptr, dx + j, sdx);
  }
}

// to[j] = the sum of column j of `sums`, which has `rows` rows of n numbers, in order. Nothing is done if
// `to` has no data.
template <class T>
void add_rows(const double* sums, int64_t rows, int64_t n, int64_t j, const TensorView<T>& to) {
  if (!to.data) return;
  double sum = 0;
  for (int64_t i = 0; i < rows; ++i) sum += sums[i * n + j];
  to.data[j] = T(sum);
}

}  // namespace ranvier
