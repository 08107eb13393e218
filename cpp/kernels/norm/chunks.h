// Runs longer than a chunk, and moments of several runs.
#pragma once
#include <algorithm>

#include "kernels/norm/norm.h"

namespace ranvier {

// f(begin, n) over [0, n) in chunks of a line.
template <class F>
void for_each_chunk(int64_t n, const F& f) {
  for (int64_t i = 0; i < n; i += kNormChunk) f(i, std::min(kNormChunk, n - i));
}

// Moments of the runs taken in so far.
class RunningMoments {
 public:
  void join(Moments m, int64_t count) {
    const double n = double(count), all = count_ + n, delta = m.mean - all_.mean;
    all_.mean += delta * (n / all);
    all_.m2 += m.m2 + delta * delta * (count_ * n / all);
    count_ = all;
  }
  template <class T>
  void add_line(const NormKernels<T>& kernels, const T* x, int64_t n) {
    for_each_chunk(n, [&](int64_t i, int64_t count) { join(kernels.moments(x + i, count), count); });
  }
  Moments moments() const { return all_; }

 private:
  Moments all_{0, 0};
  double count_ = 0;
};

template <class T>
GradientSums line_sums(const NormKernels<T>& kernels, const T* dy, const T* x, int64_t n, T m,
                       const T* weight) {
  GradientSums all{0, 0};
  for_each_chunk(n, [&](int64_t i, int64_t count) {
    const GradientSums found = kernels.sums(dy + i, x + i, count, m, weight ? weight + i : nullptr);
    all.dy += found.dy, all.dot += found.dot;
  });
  return all;
}

}  // namespace ranvier
