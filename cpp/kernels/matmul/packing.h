// Packing: copies a panel of an operand to memory in the order in which the micro-kernel reads it.
//
//   src [k, columns], element (p, j) at src[p * rs + j * cs]
//   dst [k, width], without gaps:  row p of the panel is dst[p * width ...], columns from `columns` on are 0
//
//   dst   | b[0,0] b[0,1] ... b[0,columns-1] 0 0 | b[1,0] ... 0 0 | ... | b[k-1,0] ... 0 0 |
//
// `width` is the number of columns in whole vectors of an nr-wide tile (for b; width = columns where lanes
// are no vectors, as for the mr rows of a). MatmulKernels::pack (tile.h) is pack() below; matmul.cpp,
// pack.cpp and conv2d call it. Which way is taken depends on the strides alone: contiguous rows are copied by
// vectors, contiguous columns are transposed in registers in squares of L x L (L = lanes), all else goes one
// by one. Included by files that are compiled for each ISA level.
#pragma once
#include <type_traits>

#include "simd/transpose.h"
#include "simd/vec.h"

namespace ranvier::RANVIER_ISA {

// Returns n, but the compiler cannot know its value. It keeps GCC from making a second version of each loop
// for a stride of 1, and from computing all addresses before it uses the first.
template <class N>
RANVIER_INLINE N opaque(N n) {
  __asm__("" : "+r"(n));
  return n;
}

// Transposes each group of four lanes: lane j of rows[i] becomes lane i of rows[j].
template <class V, class Lanes>
RANVIER_INLINE void transpose_fours(V (&rows)[4], Lanes lanes) {
  const V low01 = unpack<false>(rows[0], rows[1], lanes);
  const V low23 = unpack<false>(rows[2], rows[3], lanes);
  const V high01 = unpack<true>(rows[0], rows[1], lanes);
  const V high23 = unpack<true>(rows[2], rows[3], lanes);
  rows[0] = interleave<2, false>(low01, low23, lanes);
  rows[1] = interleave<2, true>(low01, low23, lanes);
  rows[2] = interleave<2, false>(high01, high23, lanes);
  rows[3] = interleave<2, true>(high01, high23, lanes);
}

// Copies n elements, 0 < n <= lanes, by two moves of the largest power of two that fits, which may overlap.
template <class T>
RANVIER_INLINE void copy_first(T* to, const T* from, int n) {
  constexpr int L = lanes<T>;
  // Copies the first `size` elements and the last `size`; n is at most 2 size.
  const auto ends = [&](auto size) RANVIER_INLINED {
    constexpr int kPart = decltype(size)::value;
    constexpr int kBytes = kPart * int(sizeof(T));
    __builtin_memcpy(to, from, kBytes);
    if (kPart > 1) __builtin_memcpy(to + n - kPart, from + n - kPart, kBytes);
  };
  if (L > 8 && n >= 8)
    ends(std::integral_constant<int, 8>());
  else if (L > 4 && n >= 4)
    ends(std::integral_constant<int, 4>());
  else if (n >= 2)
    ends(std::integral_constant<int, 2>());
  else
    ends(std::integral_constant<int, 1>());
}

// Packs a panel whose rows are contiguous in memory (cs = 1).
template <class T>
static void pack_rows(int64_t k, int columns, int width, const T* src, int64_t rs, T* dst) {
  constexpr int L = lanes<T>;
  constexpr int kAheadRows = 16;  // a row is often on a separate page, before which no hardware prefetches
  if (RANVIER_VECTOR_BYTES < 64 && columns < L && columns == width) {
    for (; k > 0; --k, src += rs, dst += width) {
      __builtin_prefetch(src + kAheadRows * rs, 0, 2);
      copy_first<T>(dst, src, columns);
    }
    return;
  }
  const int whole = columns / L * L;  // the columns in whole vectors
  const int rest = columns - whole;   // 0 <= rest < L
  for (int64_t p = 0; p < k; ++p, src += rs, dst += width) {
    for (int j = 0; j < whole; j += L) {
      __builtin_prefetch(src + kAheadRows * rs + j, 0, 2);
      store(dst + j, load(src + j));
    }
    int j = whole;
    if (rest && whole + L <= width) {
      store(dst + j, load_n(src + j, rest));
      j += L;  // zeros after
    } else if (rest) {
      store_n(dst + j, load_n(src + j, rest), rest);
      j += rest;
    }
    for (; j < width; ++j) dst[j] = T(0);
  }
}

// Packs a square of at most L x L elements of src, whose columns are contiguous: np elements of each of nj
// columns, cs apart. Transposed, they are np rows of dst, of which store_j elements are stored: nj numbers,
// then zeros. It is inlined with constants for np, nj and store_j where the square is whole.
template <class T>
RANVIER_INLINE void pack_square(int np, int nj, const T* src, int64_t cs, T* dst, int64_t width,
                                int store_j) {
  constexpr int L = lanes<T>;
  vec<T> square[L];
  RANVIER_UNROLL
  for (int j = 0; j < L; ++j) {
    square[j] = vec<T>{};
    if (j < nj) square[j] = np == L ? load(src) : load_n(src, np);
    if (j + 1 < nj) src = opaque(src + cs);
  }
  transpose(square);
  RANVIER_UNROLL
  for (int i = 0; i < L; ++i) {
    if (i < np) {
      if (store_j == L) {
        store(dst, square[i]);
      } else {
        store_n(dst, square[i], store_j);
      }
    }
    dst = opaque(dst + width);
  }
}

// Packs a panel whose columns are contiguous in memory (rs = 1): squares of lanes x lanes are transposed in
// registers. It takes some cache lines of each column at a time (64 KB of the panel), so that this part of
// the panel stays in L2 until all columns have written to its lines.
template <class T>
static void pack_columns(int64_t k, int columns, int width, const T* src, int64_t cs, T* dst) {
  constexpr int L = lanes<T>;
  constexpr int kLine = 64 / int(sizeof(T));          // elements of a cache line
  constexpr int kPart = (64 << 10) / int(sizeof(T));  // elements of a part of the panel that stays in L2
  if (width == 0) return;
  const int64_t one_line = width * kLine;  // elements of the panel that a line of each column becomes
  const int64_t part_rows = one_line < kPart ? kPart / one_line * kLine : kLine;
  for (int64_t begin = 0; begin < k; begin += part_rows) {
    const int64_t end = begin + part_rows < k ? begin + part_rows : k;
    for (int j0 = 0; j0 < width; j0 += L) {
      const int nj = columns - j0 < L ? columns - j0 : L;  // columns of this square; <= 0: padding alone
      const int store_j = width - j0 < L ? width - j0 : L;
      for (int64_t p = begin; p < end; p += L) {
        const T* from = src + j0 * cs + p;
        T* to = dst + p * width + j0;
        const int np = lanes_used<T>(k - p);
        if (np == L && nj == L && store_j == L)
          pack_square<T>(L, L, from, cs, to, width, L);
        else
          pack_square<T>(np, nj, from, cs, to, width, store_j);
      }
    }
  }
}

// MatmulKernels::pack: any strides. The last argument counts the factors that the last elements of columns
// lack; an element is one factor here, so it is 0.
template <class T>
static void pack(int64_t k, int columns, int width, const T* src, int64_t rs, int64_t cs, T* dst,
                 int /*missing*/ = 0) {
  constexpr int kSquare = 4;  // shorter columns are copied element by element, which takes less time
  if (cs == 1) return pack_rows<T>(k, columns, width, src, rs, dst);
  if (rs == 1 && k >= kSquare) return pack_columns<T>(k, columns, width, src, cs, dst);
  for (int64_t p = 0; p < k; ++p)
    for (int j = 0; j < width; ++j) {
      const bool exists = j < columns;
      dst[p * width + j] = exists ? src[p * rs + j * cs] : T(0);
    }
}

}  // namespace ranvier::RANVIER_ISA
