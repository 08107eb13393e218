// Products whose operands stay in L1 together: no plan, nothing packed but a b that is contiguous along k.
// Bias, ReLU or its derivative are applied to the sums in registers. Included by matmul.isa.cpp only.
#pragma once
#include "base/unroll.h"
#include "kernels/activation/functions.h"
#include "kernels/matmul/blocking.h"
#include "kernels/matmul/matmul.h"
#include "kernels/matmul/packing.h"
#include "simd/vec.h"

namespace ranvier::RANVIER_ISA {

// Rows of a tile of two vectors: sums, two vectors of b and a broadcast fill the registers, or half of them.
constexpr int kSmallRows = kManyRegisters ? 8 : 6;

// kRows x kVectors elements of c; n of the last vector's columns are there.
template <class T, int kRows, int kVectors>
static void small_tile(const MatmulTile<T>& t, const T* a, const T* b, int64_t column, int64_t row, int n) {
  constexpr int L = lanes<T>, kLast = (kVectors - 1) * L;
  vec<T> acc[kRows][kVectors];
  RANVIER_UNROLL
  for (int i = 0; i < kRows; ++i) {
    RANVIER_UNROLL
    for (int v = 0; v < kVectors; ++v) acc[i][v] = vec<T>{};
  }
  const int64_t rs_a = opaque(t.rs_a), cs_a = t.cs_a, rs_b = t.rs_b;
  for (int64_t p = t.k; p > 0; --p, a += cs_a, b += rs_b) {
    vec<T> line[kVectors];
    if constexpr (kVectors > 1) line[0] = load(b);
    line[kVectors - 1] = load_n(b + kLast, n);
    const T* x = a;
    RANVIER_UNROLL
    for (int i = 0; i < kRows; ++i, x += rs_a) {
      const vec<T> xs = broadcast<T>(*x);
      RANVIER_UNROLL
      for (int v = 0; v < kVectors; ++v) acc[i][v] = fma(xs, line[v], acc[i][v]);
    }
  }
  const bool relu = t.activation.kind == Activation::relu;
  vec<T> bias[kVectors] = {};
  if (t.bias_row) {
    if constexpr (kVectors > 1) bias[0] = load(t.bias_row + column);
    bias[kVectors - 1] = load_n(t.bias_row + column + kLast, n);
  }
  T* c = t.c + row * t.rs_c + column;
  const T* saved = relu && t.saved ? t.saved + row * t.rs_s + column : nullptr;
  RANVIER_UNROLL
  for (int i = 0; i < kRows; ++i) {
    RANVIER_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      const int here = v + 1 < kVectors ? L : n;
      vec<T> y = acc[i][v];
      if (t.bias_row) y = y + bias[v];
      if (saved)
        y = Relu::backward(y, load_n(saved + v * L, here), ActivationAttributes<T>{});
      else if (relu)
        y = Relu::forward(y, ActivationAttributes<T>{});
      v + 1 < kVectors ? store(c + v * L, y) : store_first<T>(c + v * L, y, here);
    }
    c += t.rs_c;
    if (saved) saved += t.rs_s;
  }
}

template <class T, int kVectors>
static void small_columns(const MatmulTile<T>& t, const T* b, int64_t column, int n) {
  const T* a = t.a;
  int64_t row = 0;
  const auto rows = [&](auto count) RANVIER_INLINED {
    constexpr int kRows = decltype(count)::value;
    small_tile<T, kRows, kVectors>(t, a + row * t.rs_a, b, column, row, n);
    row += kRows;
  };
  while (t.rows - row >= kSmallRows && (kManyRegisters || t.rows - row != 8))
    rows(std::integral_constant<int, kSmallRows>());
  while (t.rows - row >= 4) rows(std::integral_constant<int, 4>());
  if (t.rows - row >= 2) rows(std::integral_constant<int, 2>());
  if (t.rows > row) rows(std::integral_constant<int, 1>());
}

// c (t.rows, t.columns), rows contiguous; b as it is, or if cs_b is not 1 first copied to `scratch`.
template <class T>
static void run_small(const MatmulTile<T>& tile, int64_t cs_b, T* scratch) {
  constexpr int L = lanes<T>;
  MatmulTile<T> t = tile;
  if (cs_b != 1) {
    const int width = (t.columns + L - 1) / L * L;
    pack<T>(t.k, t.columns, width, t.b, t.rs_b, cs_b, scratch);
    t.b = scratch, t.rs_b = width;
  }
  int64_t column = 0;
  for (; t.columns - column > 2 * L; column += 2 * L) small_columns<T, 2>(t, t.b + column, column, L);
  const int left = static_cast<int>(t.columns - column);
  left > L ? small_columns<T, 2>(t, t.b + column, column, left - L)
           : small_columns<T, 1>(t, t.b + column, column, left);
}

}  // namespace ranvier::RANVIER_ISA
