// Panels of matrices: lane i of vector r * columns + c is element (r, c) of matrix i. Copies them from and to
// memory (small_matrices.h).
#pragma once
#include "kernels/small_matrices/small_matrices.h"
#include "simd/tile.h"

namespace ranvier::RANVIER_ISA {

// to[k * step] = element k of each line: line i is the n elements from first[i] + offset on.
template <class T>
RANVIER_INLINE void load_line(const T* const* first, int64_t offset, int64_t n, vec<T>* to, int64_t step) {
  constexpr int L = lanes<T>;
  for (int64_t k = 0; k < n; k += L) {
    const int left = lanes_used<T>(n - k);
    vec<T> square[L];
    RANVIER_UNROLL
    for (int i = 0; i < L; ++i) square[i] = load_part(first[i] + offset + k, left);
    transpose(square);
    for (int i = 0; i < left; ++i) to[(k + i) * step] = square[i];
  }
}

template <class T>
__attribute__((noinline)) static void load_panel(const PanelSource<T>& s, vec<T>* to) {
  const int64_t size = s.rows * s.columns;
  const bool rows_are_dense = s.column_step == 1 || s.columns == 1;
  const bool columns_are_dense = s.row_step == 1 || s.rows == 1;
  if (rows_are_dense && (s.row_step == s.columns || s.rows == 1)) {
    load_line(s.first, 0, size, to, 1);
    return;
  }
  if (rows_are_dense && s.columns > 1) {
    for (int64_t r = 0; r < s.rows; ++r) load_line(s.first, r * s.row_step, s.columns, to + r * s.columns, 1);
    return;
  }
  if (columns_are_dense) {
    for (int64_t c = 0; c < s.columns; ++c) load_line(s.first, c * s.column_step, s.rows, to + c, s.columns);
    return;
  }
  for (int64_t r = 0; r < s.rows; ++r)
    for (int64_t c = 0; c < s.columns; ++c) {
      const int64_t offset = r * s.row_step + c * s.column_step;
      alignas(64) T elements[lanes<T>];
      for (int i = 0; i < lanes<T>; ++i) elements[i] = s.first[i][offset];
      to[r * s.columns + c] = load(elements);
    }
}

// Stores matrices of `size` elements, one after another.
template <class T>
__attribute__((noinline)) static void store_panel(const vec<T>* from, T* to, int64_t size, int count) {
  constexpr int L = lanes<T>;
  for (int64_t k = 0; k < size; k += L) {
    vec<T> square[L];
    RANVIER_UNROLL
    for (int i = 0; i < L; ++i) square[i] = from[k + i];
    transpose(square);
    const int left = lanes_used<T>(size - k);
    for (int i = 0; i < count; ++i) {
      if (left == L) {
        store(to + i * size + k, square[i]);
      } else {
        store_n(to + i * size + k, square[i], left);
      }
    }
  }
}

// One whole number for each matrix, every `step` elements.
template <class T>
RANVIER_INLINE void store_whole(ivec<T> numbers, int64_t* to, int64_t step, int count) {
  int_of<T> each[lanes<T>];
  __builtin_memcpy(each, &numbers, sizeof numbers);
  for (int i = 0; i < count; ++i) to[i * step] = each[i];
}

// The vectors of a panel that follow `used` vectors from `memory` on, behind the space that transposes read.
template <class T>
RANVIER_INLINE vec<T>* behind(vec<T>* memory, int64_t used) {
  return memory + used + lanes<T>;
}

template <class T>
RANVIER_INLINE vec<T>* memory_of(const MatrixPanel<T>& p) {
  return reinterpret_cast<vec<T>*>(p.memory);
}

// A power of 2 that brings |most| to [1, 2), or near it for numbers at the ends of the range of T. Its
// inverse is a number of T, too.
template <class T>
RANVIER_INLINE vec<T> scale_to_1(typename VecOf<T>::type most) {
  constexpr int kShift = sizeof(T) == 4 ? 23 : 52;
  constexpr int_of<T> kBias = sizeof(T) == 4 ? 127 : 1023;
  const ivec<T> exponent = bits(abs(most)) >> kShift;
  const ivec<T> least = ibroadcast<T>(1);
  const ivec<T> greatest = ibroadcast<T>(int_of<T>(2 * kBias - 1));
  ivec<T> within = select(exponent < least, least, exponent);
  within = select(within > greatest, greatest, within);
  return from_bits((int_of<T>(2 * kBias) - within) << kShift);
}

}  // namespace ranvier::RANVIER_ISA
