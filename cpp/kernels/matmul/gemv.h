// GEMV: products of few rows of a by a large b whose rows are contiguous, as in a layer at batch 1. Reading b
// takes most of the time, so b is read once, in whole rows: some rows of b at a time are multiplied by the
// elements of a and added to the sums of all columns, which stay in L1. Included by matmul.isa.cpp only.
#pragma once
#include "base/integers.h"
#include "base/unroll.h"
#include "kernels/matmul/epilogue.h"
#include "kernels/matmul/tile.h"
#include "simd/vec.h"

namespace ranvier::RANVIER_ISA {

// Adds a[i, p] b[p, j] to sums[i * width + j] for kRows rows i and kSteps values of p, one after another. a
// and b point to the first p; with `first` the sums begin with 0.
template <class T, int kRows, int kSteps>
static void gemv_rows(const MatmulRows<T>& t, const T* a, const T* b, bool first, T* sums, int64_t width) {
  constexpr int L = lanes<T>;
  const int64_t columns = t.columns;
  const int64_t rs_b = t.rs_b;  // copies: for the compiler, stores may change t
  constexpr bool kAhead = kRows > kGemvRowsWithoutFetch;
  vec<T> x[kRows][kSteps];
  RANVIER_UNROLL
  for (int i = 0; i < kRows; ++i) {
    RANVIER_UNROLL
    for (int s = 0; s < kSteps; ++s) x[i][s] = broadcast<T>(a[i * t.rs_a + s * t.cs_a]);
  }
  const auto vector = [&](int64_t j, const auto& read) RANVIER_INLINED {
    vec<T> sum[kRows];
    RANVIER_UNROLL
    for (int i = 0; i < kRows; ++i) sum[i] = first ? vec<T>{} : load(sums + i * width + j);
    RANVIER_UNROLL
    for (int s = 0; s < kSteps; ++s) {
      const vec<T> row = read(b + s * rs_b + j);
      RANVIER_UNROLL
      for (int i = 0; i < kRows; ++i) sum[i] = fma(x[i][s], row, sum[i]);
    }
    RANVIER_UNROLL
    for (int i = 0; i < kRows; ++i) store(sums + i * width + j, sum[i]);
  };
  int64_t j = 0;
  for (; j + L <= columns; j += L) {
    if constexpr (kAhead) {
      RANVIER_UNROLL
      for (int s = 0; s < kSteps; ++s) __builtin_prefetch(b + (s + kSteps) * rs_b + j, 0, 3);
    }
    vector(j, [](const T* p) RANVIER_INLINED { return load(p); });
  }
  const int rest = static_cast<int>(columns - j);
  if (rest > 0) vector(j, [=](const T* p) RANVIER_INLINED { return load_n(p, rest); });
}

// The same for `steps` values of p from p on, kGemvSteps at a time: registers hold the elements of a for
// these.
template <class T, int kRows, int kMost = kGemvSteps<kRows>>
static void gemv_products(const MatmulRows<T>& t, const T* a, int64_t p, int64_t steps, T* sums,
                          int64_t width) {
  const T* b = t.b + p * t.rs_b;
  a += p * t.cs_a;
  for (; steps >= kMost; steps -= kMost, p += kMost, a += kMost * t.cs_a, b += kMost * t.rs_b)
    gemv_rows<T, kRows, kMost>(t, a, b, p == 0, sums, width);
  for (; steps > 0; --steps, ++p, a += t.cs_a, b += t.rs_b)
    gemv_rows<T, kRows, 1>(t, a, b, p == 0, sums, width);
}

// MatmulKernels::gemv_columns: the most columns of a call, so that the sums of all rows fit into kGemvBytes.
template <class T>
static int gemv_columns(int rows) {
  return kGemvBytes / static_cast<int>(sizeof(T)) / rows / lanes<T> * lanes<T>;
}

// MatmulKernels::gemv: up to kGemvRows rows and gemv_columns() columns. k is at most one chain, and at least
// 1 (is_gemv() in choice.cpp), since the step with p = 0 initializes the sums. Up to four rows of a are
// computed at once. With more rows, a few rows of b are multiplied by all rows of a before the next ones, so
// that they are still in L1 for the second four.
template <class T>
static void run_gemv(const MatmulRows<T>& t) {
  alignas(64) T sums[kGemvBytes / sizeof(T)];
  const int64_t width = round_up(t.columns, lanes<T>);
  // How many rows of b are read before the next rows of a.
  constexpr int kRowsOfB = 4;
  const int64_t together = t.rows <= 4 ? t.k : kRowsOfB;
  int64_t p = 0;
  do {
    const int64_t steps = t.k - p < together ? t.k - p : together;
    for (int i = 0; i < t.rows; i += 4) {
      const T* a = t.a + i * t.rs_a;
      T* to = sums + i * width;
      switch (t.rows - i) {
        case 1:
          if (t.rows == 1) {
            gemv_products<T, 1>(t, a, p, steps, to, width);
          } else {
            gemv_products<T, 1, kRowsOfB>(t, a, p, steps, to, width);
          }
          break;
        case 2:
          gemv_products<T, 2>(t, a, p, steps, to, width);
          break;
        case 3:
          gemv_products<T, 3>(t, a, p, steps, to, width);
          break;
        default:
          gemv_products<T, 4>(t, a, p, steps, to, width);
      }
    }
    p += together;
  } while (p < t.k);
  if (t.accumulate) add_rows<T>(t, sums, static_cast<int>(width));
  store_rows<T>(t, sums, static_cast<int>(width));
}

}  // namespace ranvier::RANVIER_ISA
