// Packing: a strip of the operand copied to where the micro-kernel reads it in order. Included by
// matmul.isa.cpp only.
#pragma once
#include "simd/transpose.h"
#include "simd/vec.h"

namespace ranvier::RANVIER_ISA {

// Rows contiguous in memory (cs = 1): row p of the strip is a copy of row p.
template <class T>
static void pack_rows(int64_t k, int columns, int width, const T* src, int64_t rs, T* dst) {
  constexpr int L = lanes<T>;
  for (int64_t p = 0; p < k; ++p, src += rs, dst += width) {
    int j = 0;
    for (; j + L <= columns; j += L) store(dst + j, load(src + j));
    for (; j < columns; ++j) dst[j] = src[j];
    for (; j < width; ++j) dst[j] = T(0);
  }
}

// Columns contiguous in memory (rs = 1): squares of lanes x lanes are transposed in registers.
template <class T>
static void pack_columns(int64_t k, int columns, int width, const T* src, int64_t cs, T* dst) {
  constexpr int L = lanes<T>;
  for (int j0 = 0; j0 < width; j0 += L) {
    const int nj = columns - j0 < L ? columns - j0 : L;  // columns of this square, may be <= 0
    const int store_j = width - j0 < L ? width - j0 : L;
    for (int64_t p = 0; p < k; p += L) {
      const int np = static_cast<int>(k - p < L ? k - p : L);
      vec<T> square[L];
      for (int j = 0; j < L; ++j) {
        const T* from = src + (j0 + j) * cs + p;
        square[j] = j >= nj ? vec<T>{} : np == L ? load(from) : load_n(from, np);
      }
      transpose<T>(square);
      T* to = dst + p * width + j0;
      if (np == L && store_j == L) {
        RANVIER_UNROLL
        for (int i = 0; i < L; ++i) store(to + i * width, square[i]);
      } else {
        for (int i = 0; i < np; ++i) store_n(to + i * width, square[i], store_j);
      }
    }
  }
}

template <class T>
static void pack(int64_t k, int columns, int width, const T* src, int64_t rs, int64_t cs, T* dst) {
  if (cs == 1) return pack_rows<T>(k, columns, width, src, rs, dst);
  if (rs == 1) return pack_columns<T>(k, columns, width, src, cs, dst);
  for (int64_t p = 0; p < k; ++p)
    for (int j = 0; j < width; ++j) dst[p * width + j] = j < columns ? src[p * rs + j * cs] : T(0);
}

}  // namespace ranvier::RANVIER_ISA
