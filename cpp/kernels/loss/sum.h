// The sum of n contiguous losses, for the kernels of both loss.h and class_loss.h. The order depends on n
// alone.
#pragma once
#include "base/unroll.h"
#include "simd/strided.h"

namespace ranvier::RANVIER_ISA {

template <class T>
static double sum(int64_t n, const T* x) {
  // Independent totals, so that no addition waits for the one before it.
  constexpr int L = lanes<T>, kTotals = 4;
  vec<T> total[kTotals] = {};
  int64_t i = 0;
  for (; i + kTotals * L <= n; i += kTotals * L) {
    RANVIER_UNROLL
    for (int v = 0; v < kTotals; ++v) total[v] += load(x + i + v * L);
  }
  for (; i < n; i += L) total[0] += load_line<true>(x + i, 1, n - i);
  return double(reduce_add((total[0] + total[1]) + (total[2] + total[3])));
}

}  // namespace ranvier::RANVIER_ISA
