// Stacks: a batch of small products (MatmulStack), each with one or two vectors of columns and few rows, or
// of a column and a row, computed one after another in one loop. In the general loops, calling and preparing
// each product would take most of the time. Included by matmul.isa.cpp only.
#pragma once
#include "base/unroll.h"
#include "kernels/matmul/packing.h"
#include "kernels/matmul/tile.h"
#include "simd/stream.h"
#include "simd/vec.h"

namespace ranvier::RANVIER_ISA {

// Computes kRows rows of one product. n: the columns in the last vector.
template <class T, int kRows, int kVectors>
static void stack_rows(const MatmulStack<T>& s, const T* a, const T* b, T* c, int n) {
  constexpr int L = lanes<T>, kWhole = (kVectors - 1) * L;
  vec<T> acc[kRows][kVectors] = {};
  for (int64_t p = s.k; p > 0; --p, b += s.rs_b, a += s.cs_a) {
    vec<T> row[kVectors];
    if constexpr (kVectors > 1) row[0] = load(b);
    row[kVectors - 1] = load_n(b + kWhole, n);
    RANVIER_UNROLL
    for (int i = 0; i < kRows; ++i) {
      const vec<T> x = factor<T>(a[i * s.rs_a]);
      RANVIER_UNROLL
      for (int v = 0; v < kVectors; ++v) acc[i][v] = fma(x, row[v], acc[i][v]);
    }
  }
  T last[kRows * L];
  RANVIER_UNROLL
  for (int i = 0; i < kRows; ++i) {
    if constexpr (kVectors > 1) store(c + i * s.rs_c, acc[i][0]);
    store(last + i * L, acc[i][kVectors - 1]);
  }
  for (int i = 0; i < kRows; ++i) store_n(c + i * s.rs_c + kWhole, load(last + i * L), n);
}

template <class T, int kVectors>
static void stack(const MatmulStack<T>& stack) {
  constexpr int kMost = kVectors == 1 || kManyRegisters ? 8 : kTileRows;
  const MatmulStack<T> s = stack;  // a copy, since the compiler assumes that a store to c may change `stack`
  const int n = static_cast<int>(s.n - (kVectors - 1) * lanes<T>);
  const T* a = s.a;
  const T* b = s.b;
  T* c = s.c;
  for (int64_t left = s.count; left > 0; --left, a += s.step_a, b += s.step_b, c += s.step_c) {
    int64_t i = 0;
    for (; i + kMost <= s.m; i += kMost)
      stack_rows<T, kMost, kVectors>(s, a + i * s.rs_a, b, c + i * s.rs_c, n);
    if constexpr (kManyRegisters)
      for (; i + 3 <= s.m; i += 3) stack_rows<T, 3, kVectors>(s, a + i * s.rs_a, b, c + i * s.rs_c, n);
    for (; i < s.m; ++i) stack_rows<T, 1, kVectors>(s, a + i * s.rs_a, b, c + i * s.rs_c, n);
  }
}

// Products of a column and a row, such as the gradients of a linear layer's weight by single samples.
template <bool kStreams, class T>
static void outer_products(const MatmulStack<T>& stack) {
  constexpr int L = lanes<T>;
  const MatmulStack<T> s = stack;
  const T* a = s.a;
  const T* b = s.b;
  T* c = s.c;
  for (int64_t left = s.count; left > 0; --left, a += s.step_a, b += s.step_b, c += s.step_c)
    for (int64_t i = 0; i < s.m; ++i) {
      const vec<T> x = factor<T>(a[i * s.rs_a]);
      T* const row = c + i * s.rs_c;
      int64_t j = 0;
      for (; j + L <= s.n; j += L) {
        const vec<T> y = fma(x, load(b + j), vec<T>{});
        if constexpr (kStreams)
          stream(row + j, y);
        else
          store(row + j, y);
      }
      if (j < s.n) {
        const int rest = static_cast<int>(s.n - j);
        store_n(row + j, fma(x, load_n(b + j, rest), vec<T>{}), rest);
      }
    }
  if constexpr (kStreams) stream_end();
}

template <class T>
static void run_stack(const MatmulStack<T>& s) {
  if (s.k == 1 && s.n > lanes<T>)
    s.streams ? outer_products<true>(s) : outer_products<false>(s);
  else if (s.n <= lanes<T>)
    stack<T, 1>(s);
  else
    stack<T, 2>(s);
}

}  // namespace ranvier::RANVIER_ISA
