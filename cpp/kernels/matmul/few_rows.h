// Products with few rows of a, and a b that is contiguous along k, as in a linear layer at batch 1. Lanes are
// columns of b: 16 bytes of each are read at a time and transposed in registers, so that each element of b is
// read once, nothing is packed, and an element of c is the chain of FMAs that the tiles of many rows make.
// Included by matmul.isa.cpp only.
#pragma once
#include "base/unroll.h"
#include "kernels/matmul/blocking.h"
#include "kernels/matmul/dot.h"
#include "kernels/matmul/packing.h"
#include "simd/vec.h"

namespace ranvier::RANVIER_ISA {

// Squares of this many columns of b, and elements of each, are transposed.
template <class T>
constexpr int kPiece = 16 / int(sizeof(T));
template <class T>
constexpr int kPieces = RANVIER_VECTOR_BYTES / 16;  // pieces of a vector

constexpr int64_t kSameSets = 2048;    // bytes: columns a multiple of them apart share few sets of L1
constexpr int kChunk = 256;            // bytes of a column that are fetched at once
constexpr int64_t kLongColumn = 8192;  // bytes: chunks of longer ones are too far apart
constexpr int64_t kBeyondL1 = int64_t{64} << 10;  // bytes: a larger b is fetched in chunks

// Vectors of columns at once, which hide the FMA's latency, as rows do. Of 64 bytes no more than two: more
// columns share the sets of L1, whose lines are read more than once.
template <class T>
constexpr int few_vectors(int rows) {
  if (kManyRegisters) return rows > 3 ? 1 : 2;
  return !kFrequent<T> || rows > 2 ? 2 : 4;
}

// The elements of a, then those of b, as one vector.
template <class Piece, int... I>
RANVIER_INLINE auto join_pieces(const Piece& a, const Piece& b, std::integer_sequence<int, I...>) {
  return __builtin_shufflevector(a, b, I...);
}

// The elements at at[0], at[1] ... as one vector; strides in bytes, which are parts of an address.
template <class T, int kCount>
RANVIER_INLINE auto pieces_at(const char* const* at, int64_t offset) {
  if constexpr (kCount == 1) {
    typedef T Piece __attribute__((vector_size(16)));
    Piece piece;
    __builtin_memcpy(&piece, at[0] + offset, sizeof piece);
    return piece;
#ifdef __AVX__  // as they are loaded: joined in registers, they wait for the port of the transpositions
#if RANVIER_VECTOR_BYTES == 64
  } else if constexpr (kCount == 4 && sizeof(T) == sizeof(float)) {
    const auto piece = [=](int i) RANVIER_INLINED {
      return _mm_loadu_ps(reinterpret_cast<const float*>(at[i] + offset));
    };
    __m512 x = _mm512_castps128_ps512(piece(0));
    x = _mm512_mask_broadcast_f32x4(x, 0x00f0, piece(1));
    x = _mm512_mask_broadcast_f32x4(x, 0x0f00, piece(2));
    return vec<T>(_mm512_mask_broadcast_f32x4(x, 0xf000, piece(3)));
#endif
  } else if constexpr (kCount == 2 && sizeof(T) == sizeof(float)) {
    const auto piece = [=](int i) RANVIER_INLINED {
      return _mm_loadu_ps(reinterpret_cast<const float*>(at[i] + offset));
    };
    return vec<T>(_mm256_insertf128_ps(_mm256_castps128_ps256(piece(0)), piece(1), 1));
#endif
  } else {
    return join_pieces(pieces_at<T, kCount / 2>(at, offset),
                       pieces_at<T, kCount / 2>(at + kCount / 2, offset),
                       std::make_integer_sequence<int, kCount * kPiece<T>>());
  }
}

// Transposes the squares of rows: 4 x 4 elements of float, 2 x 2 of double, in each 16 bytes of a vector.
template <class V, class Lanes>
RANVIER_INLINE void transpose_pieces(V (&rows)[4], Lanes lanes) {
  transpose_fours(rows, lanes);
}
template <class V, class Lanes>
RANVIER_INLINE void transpose_pieces(V (&rows)[2], Lanes lanes) {
  const V even = interleave<1, false>(rows[0], rows[1], lanes);
  rows[1] = interleave<1, true>(rows[0], rows[1], lanes);
  rows[0] = even;
}

#if RANVIER_VECTOR_BYTES == 64
// The pieces of a vector, eight elements of each column, transposed: halves of a vector are loaded, so that
// there are as many loads as for four.
RANVIER_INLINE void two_pieces_at(const char* const* at, int64_t rs_b, vec<float> (&column)[8]) {
  typedef std::make_integer_sequence<int, 16> Lanes;
  typedef vec<float>(&Four)[4];
  RANVIER_UNROLL
  for (int i = 0; i < 8; ++i) {
    const char* const* from = at + i / 4 * 2;
    const auto half = [=](int side) RANVIER_INLINED {
      return _mm256_loadu_pd(reinterpret_cast<const double*>(from[side] + i % 4 * rs_b));
    };
    const __m512d low = _mm512_castpd256_pd512(half(0));
    column[i] = vec<float>(_mm512_castpd_ps(_mm512_mask_broadcast_f64x4(low, 0xf0, half(1))));
  }
  transpose_fours(reinterpret_cast<Four>(column[0]), Lanes());
  transpose_fours(reinterpret_cast<Four>(column[4]), Lanes());
  RANVIER_UNROLL
  for (int i = 0; i < 4; ++i) {
    const vec<float> first = column[i], second = column[i + 4];
    column[i] =
        __builtin_shufflevector(first, second, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27);
    column[i + 4] =
        __builtin_shufflevector(first, second, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
  }
}
#endif

// The first column of piece i: the last ones overlap those before.
template <class T>
RANVIER_INLINE int64_t piece_column(const MatmulTile<T>& t, int64_t i) {
  const int64_t column = i * kPiece<T>, last = t.columns - kPiece<T>;
  return column < last ? column : last;
}

// sums[i][lane] of kVectors vectors of columns, which begin with piece `first`.
template <class T, int kRows, int kVectors>
RANVIER_INLINE void few_sums(const MatmulTile<T>& t, int64_t first, vec<T> (&sums)[kRows][kVectors]) {
  typedef vec<T> V;
  constexpr int kE = kPiece<T>, kP = kPieces<T>, kLine = 64 / int(sizeof(T));
  // A line in one round is a tenth faster with one row; with more rows it is only more code.
  constexpr int kSteps = kRows == 1 && kVectors > 2 && kFrequent<T> ? kLine / kE : 1;
  const T* a = t.a;
  const char* at[kVectors * kP];
  const int64_t rs_a = t.rs_a, rs_b = opaque(t.rs_b * int64_t(sizeof(T)));
  RANVIER_UNROLL
  for (int i = 0; i < kVectors * kP; ++i)
    at[i] = reinterpret_cast<const char*>(t.b + piece_column(t, first + i) * t.rs_b);
  // Columns are streams that end before the processor fetches ahead. Of many at once the next chunk of each
  // is fetched, so that it comes from L1; else the next columns, line by line.
  constexpr int kColumns = kVectors * kP * kE, kTurns = kChunk / 32, kAtOnce = kColumns / kTurns;
  constexpr bool kChunks = RANVIER_VECTOR_BYTES == 64 && sizeof(T) == sizeof(float) && kVectors > 1;
  const char *here = at[0], *after = here + kColumns * rs_b;
  const char* next = kChunks && (t.fetch || t.columns * rs_b > kBeyondL1) ? here + kChunk
                     : !kChunks && t.fetch                                ? after
                                                                          : nullptr;
  [[maybe_unused]] int turn = 0;
  const auto fetch = [&](int lines) RANVIER_INLINED {
    if (!next) return;
    RANVIER_UNROLL
    for (int i = 0; i < lines; ++i) __builtin_prefetch(next + 64 * i, 0, 3);
    next += 64 * lines;
  };
  [[maybe_unused]] const auto fetch_chunks = [&]() RANVIER_INLINED {
    if (!next) return;
    RANVIER_UNROLL
    for (int i = 0; i < kAtOnce; ++i, next += rs_b) {
      RANVIER_UNROLL
      for (int j = 0; j < kChunk; j += 64) __builtin_prefetch(next + j, 0, 3);
    }
    if (++turn < kTurns) return;
    turn = 0, next += kChunk - kColumns * rs_b;
    if (next + kChunk > here + t.k * int64_t(sizeof(T))) next = after;
  };
  for (int64_t left = t.k;; left -= t.k_block) {
    V acc[kRows][kVectors] = {};
    // kE products of vector v, of which the first `done` are left out; moves its places.
    const auto step = [&](int v, const T* x, int64_t done) RANVIER_INLINED {
      V column[kE];
      RANVIER_UNROLL
      for (int i = 0; i < kE; ++i) column[i] = pieces_at<T, kP>(at + v * kP, i * rs_b);
      RANVIER_UNROLL
      for (int i = 0; i < kP; ++i) at[v * kP + i] += 16;
      transpose_pieces(column, std::make_integer_sequence<int, kE * kP>());
      RANVIER_UNROLL
      for (int i = 0; i < kE; ++i) {
        if (i < done) continue;
        RANVIER_UNROLL
        for (int r = 0; r < kRows; ++r) acc[r][v] = fma(x[r * rs_a + i] - V{}, column[i], acc[r][v]);
      }
    };
    int64_t k = left < t.k_block ? left : t.k_block;
#if RANVIER_VECTOR_BYTES == 64
    if constexpr (sizeof(T) == sizeof(float)) {
      for (; k >= 2 * kE; k -= 2 * kE, a += 2 * kE) {
        if constexpr (kChunks) fetch_chunks();
        RANVIER_UNROLL
        for (int v = 0; v < kVectors; ++v) {
          V column[2 * kE];
          if constexpr (!kChunks) fetch(kE * kP / 2);
          two_pieces_at(at + v * kP, rs_b, column);
          RANVIER_UNROLL
          for (int i = 0; i < kP; ++i) at[v * kP + i] += 32;
          RANVIER_UNROLL
          for (int i = 0; i < 2 * kE; ++i) {
            RANVIER_UNROLL
            for (int r = 0; r < kRows; ++r) acc[r][v] = fma(a[r * rs_a + i] - V{}, column[i], acc[r][v]);
          }
        }
      }
    } else
#endif
      for (; k >= kLine; k -= kLine, a += kLine) {  // a line of each column, since many may share a set of L1
        RANVIER_UNROLL
        for (int v = 0; v < kVectors; ++v) {
          fetch(kE * kP);
          RANVIER_NO_UNROLL
          for (int p = 0; p < kLine; p += kE * kSteps) {
            RANVIER_UNROLL
            for (int i = 0; i < kSteps; ++i) step(v, a + p + i * kE, 0);
          }
        }
      }
    for (; k > 0; k -= kE, a += kE) {
      const int64_t done = k < kE ? kE - k : 0;  // how many of the last kE products are done already
      if (done > 0) {
        a -= done;
        RANVIER_UNROLL
        for (int i = 0; i < kVectors * kP; ++i) at[i] -= done * int64_t(sizeof(T));
      }
      RANVIER_UNROLL
      for (int v = 0; v < kVectors; ++v) step(v, a, done);
    }
    RANVIER_UNROLL
    for (int r = 0; r < kRows; ++r) {
      RANVIER_UNROLL
      for (int v = 0; v < kVectors; ++v) sums[r][v] = left == t.k ? acc[r][v] : sums[r][v] + acc[r][v];
    }
    if (left <= t.k_block) return;
  }
}

// The sums of kRows rows and kVectors vectors of columns from `first` on, with the bias, stored piece by
// piece.
template <class T, int kRows, int kVectors>
static __attribute__((noinline)) void few_columns(const MatmulTile<T>& t, int64_t first) {
  typedef T Piece __attribute__((vector_size(16)));
  vec<T> sums[kRows][kVectors] = {};
  few_sums<T, kRows, kVectors>(t, first, sums);
  alignas(64) Piece pieces[kRows][kVectors * kPieces<T>];
  __builtin_memcpy(pieces, sums, sizeof pieces);
  for (int i = 0; i < kVectors * kPieces<T>; ++i) {
    const int64_t column = piece_column(t, first + i);
    Piece bias{};
    if (t.bias_row) __builtin_memcpy(&bias, t.bias_row + column, sizeof bias);
    RANVIER_UNROLL
    for (int r = 0; r < kRows; ++r) {
      const Piece y = t.bias_row ? pieces[r][i] + bias : pieces[r][i];
      T* c = t.c + r * t.rs_c + column * t.cs_c;
      if (t.cs_c == 1)
        __builtin_memcpy(c, &y, sizeof y);
      else
        for (int j = 0; j < kPiece<T>; ++j) c[j * t.cs_c] = y[j];
    }
  }
}

// All columns for kRows rows: as many vectors at a time as few_vectors() says, or half of them.
template <class T, int kRows>
static void few(const MatmulTile<T>& t) {
  constexpr int kMost = few_vectors<T>(kRows), kP = kPieces<T>;
  const int64_t pieces = (t.columns + kPiece<T> - 1) / kPiece<T>;
  // Columns so far apart share two sets of L1, which hold half of 32 lines: half as many at once.
  const int64_t column = t.rs_b * int64_t(sizeof(T));
  const bool halved = kMost * lanes<T> > 16 &&
                      (column % kSameSets == 0 || (kManyRegisters && t.fetch && column > kLongColumn));
  int64_t i = 0;
  if (!halved)
    for (; pieces - i > kMost / 2 * kP; i += kMost * kP) few_columns<T, kRows, kMost>(t, i);
  if constexpr (kMost > 2)
    for (; pieces - i > kP; i += 2 * kP) few_columns<T, kRows, 2>(t, i);
  for (; pieces > i; i += kP) few_columns<T, kRows, 1>(t, i);
}

// All of c: a[i, p] is at a[i * rs_a + p], b[p, j] at b[j * rs_b + p]; a piece of k and of columns at least.
template <class T>
static void run_few(const MatmulTile<T>& t) {
  static constexpr void (*of_rows[kDotRows])(const MatmulTile<T>&) = {few<T, 1>, few<T, 2>, few<T, 3>,
                                                                      few<T, 4>};
  of_rows[t.rows - 1](t);
  if (t.norm_row || t.norm_column) normalize_rows(t);
  if (t.activation.kind != Activation::none) activate_rows(t);
}

}  // namespace ranvier::RANVIER_ISA
