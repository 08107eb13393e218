// The micro-kernel where groups have few channels: a vector holds the output channels of several groups, and
// each lane takes its group's input channels, one after another, out of one vector of input. Included by
// conv2d.isa.cpp only.
#pragma once
#include "kernels/conv2d/microkernel.h"
#include "simd/permute.h"

namespace ranvier::RANVIER_ISA {

// A row holds two registers, its input and its sums.
constexpr int kGroupedRows = RANVIER_VECTOR_REGISTERS >= 32 ? 12 : 6;

template <class T>
static void grouped_tile(ConvTile<T>& t) {
  constexpr int L = lanes<T>, kRows = kGroupedRows;
  alignas(64) T nowhere[L];
  for (int i = t.rows; i < kRows; ++i) t.a[i] = t.a[i - 1], t.c[i] = nowhere;
  vec<T> acc[kRows][1] = {};
  ivec<T> first;
  __builtin_memcpy(&first, t.pick, sizeof first);
  for (const ConvSegment* s = t.segments; s != t.segments + t.count; ++s) {
    const T* b = t.b + s->b;
    asm volatile(
        "" ::
            : "memory");  // the rows' pointers are read again: GCC would keep them in vector registers
    vec<T> x[kRows];
    RANVIER_UNROLL
    for (int i = 0; i < kRows; ++i) x[i] = load_n(t.a[i] + s->a, t.reach);
    ivec<T> pick = first;
    for (int64_t c = 0; c < s->n; ++c, b += L) {
      const vec<T> row = load(b);
      RANVIER_UNROLL
      for (int i = 0; i < kRows; ++i) acc[i][0] = fma(permute(x[i], pick), row, acc[i][0]);
      pick = pick + ibroadcast<T>(1);
    }
  }
  store_tile<T, kRows, 1>(t, acc);
}

template <class T>
static constexpr auto grouped_or_none() -> void (*)(ConvTile<T>&) {
  if constexpr (has_permute<T>)
    return grouped_tile<T>;
  else
    return nullptr;
}

}  // namespace ranvier::RANVIER_ISA
