// Products with few rows of a, and a b that is contiguous along k, as in a linear layer at batch 1. Lanes are
// columns of b: 16 bytes of each column are read at a time and transposed in registers. So each element of b
// is read once, nothing is packed, and an element of c has the same chains of FMAs, and bits, as in the tiles
// of microkernel.h. Included by matmul.isa.cpp only.
#pragma once
#include "base/unroll.h"
#include "kernels/matmul/blocking.h"
#include "kernels/matmul/dot.h"
#include "kernels/matmul/next_lines.h"
#include "kernels/matmul/packing.h"
#include "simd/vec.h"

namespace ranvier::RANVIER_ISA {

// A piece is 16 bytes of a column, and, as lanes, as many columns: a square of kPiece columns and kPiece
// elements of each is transposed.
template <class T>
constexpr int kPiece = 16 / int(sizeof(T));
template <class T>
constexpr int kPieces = RANVIER_VECTOR_BYTES / 16;  // pieces in a vector

// The vectors of columns that are computed at once for this many rows: several hide the latency of FMAs, as
// several rows do. More columns would share sets of L1, whose lines are read several times.
constexpr int few_vectors(int rows) { return kManyRegisters && rows > 3 ? 1 : 2; }
// The same where b is larger than L2. Many vectors would be too many streams from memory. At AVX2 one row
// needs two vectors to hide the latency of FMAs; more than kDotRows rows leave registers for one.
constexpr int far_vectors(int rows) {
  const bool one = RANVIER_VECTOR_BYTES == 64 || rows > kDotRows;
  return one ? 1 : 2;
}

// True if a line of each of kColumns columns of b do not stay in L1 together, since columns that are so far
// apart share sets of it: a set holds at least 8 lines, and lines a multiple of 4 KB apart are in the same
// one.
template <int kColumns>
bool share_sets(int64_t bytes_apart) {
  constexpr int64_t kBytes = 4096, kLines = 8;
  return kColumns > kLines && bytes_apart % (2 * kLines * kBytes / kColumns) == 0;
}

// One vector with the elements of a, then those of b.
template <class Piece, int... I>
RANVIER_INLINE auto join_pieces(const Piece& a, const Piece& b, std::integer_sequence<int, I...>) {
  return __builtin_shufflevector(a, b, I...);
}

// One vector with the 16 bytes at at[0] + offset, at[1] + offset, ..., kCount of them; offset in bytes.
template <class T, int kCount>
RANVIER_INLINE auto pieces_at(const char* const* at, int64_t offset) {
  if constexpr (kCount == 1) {
    typedef T Piece __attribute__((vector_size(16)));
    Piece piece;
    __builtin_memcpy(&piece, at[0] + offset, sizeof piece);
    return piece;
#ifdef __AVX__  // joined by the loads: joining registers would use the port that the transpositions need
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

// Transposes the square in each 16 bytes of the vectors: 4 x 4 elements of float, 2 x 2 of double.
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
// Eight elements of each of the 16 columns of a vector, transposed: lane j of column[i] is element i of
// column j. It loads 32 bytes of a column at a time, so that it needs as many loads as pieces_at() for four
// elements. rs_b: from one column of b to the next, in bytes.
RANVIER_INLINE void two_pieces_at(const char* const* at, int64_t rs_b, vec<float> (&column)[8]) {
  typedef std::make_integer_sequence<int, 16> Lanes;
  typedef vec<float>(&Four)[4];
  // A row is joined of 32 bytes of columns q and 4 + q of a group of eight, q = i % 4: i < 4 of the first
  // eight columns (pieces 0 and 1), i >= 4 of the others (pieces 2 and 3).
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
    const vec<float> first = column[i];
    const vec<float> second = column[i + 4];
    column[i] =
        __builtin_shufflevector(first, second, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27);
    column[i + 4] =
        __builtin_shufflevector(first, second, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
  }
}
#endif

// The first column of piece i; the last pieces begin earlier, so that they end with the columns.
template <class T>
RANVIER_INLINE int64_t piece_column(const MatmulRows<T>& t, int64_t i) {
  const int64_t column = i * kPiece<T>;
  const int64_t last = t.columns - kPiece<T>;
  return column < last ? column : last;
}

// Prefetches a b that is in L2 to L1, since each column is a stream that is too short for the processor's
// prefetching: while kChunk bytes of each column are read, 32 bytes in each round, those that follow.
template <int kColumns>
struct NextChunks {
  static constexpr int kChunk = 256, kRounds = kChunk / 32;  // bytes of a column
  const char* next = nullptr;                                // what is prefetched, or null
  const char* after = nullptr;                               // the columns after these
  const char* end = nullptr;                                 // the last chunk
  int turn = 0;

  [[gnu::always_inline]] void begin(const char* columns, int64_t step, int64_t bytes) {
    next = columns + kChunk;
    after = columns + kColumns * step;
    end = columns + bytes - kChunk;
  }
  [[gnu::always_inline]] void fetch(int64_t step) {
    if (!next) return;
    RANVIER_UNROLL
    for (int i = 0; i < kColumns / kRounds; ++i, next += step) {
      RANVIER_UNROLL
      for (int j = 0; j < kChunk; j += 64) __builtin_prefetch(next + j, 0, 3);
    }
    if (++turn < kRounds) return;
    turn = 0;
    next += kChunk - kColumns * step;
    if (next > end) next = after;
  }
};

// Where kVectors vectors of columns of b, from piece `first` on, are read next. Strides are in bytes. kFar: b
// is larger than L2.
template <class T, int kVectors, bool kFar>
struct ColumnsOfB {
  static constexpr int kColumns = kVectors * lanes<T>;
  static constexpr bool kTwoPieces = RANVIER_VECTOR_BYTES == 64 && sizeof(T) == sizeof(float) && !kFar;
  static constexpr bool kChunks = kTwoPieces && kVectors > 1;  // all others take as long without
  // Bytes that are read of each column before the next prefetches: a line, or two pieces.
  static constexpr int kRound = kTwoPieces ? 32 : 64;
  const char* at[kVectors * kPieces<T>];  // where the pieces are read next
  int64_t step;                           // from one column to the next
  std::conditional_t<kFar, NextLines<kColumns>, NextChunks<kColumns>> fetched;

  [[gnu::always_inline]] ColumnsOfB(const MatmulRows<T>& t, int64_t first)
      : step(opaque(t.cs_b * int64_t(sizeof(T)))) {
    RANVIER_UNROLL
    for (int i = 0; i < kVectors * kPieces<T>; ++i)
      at[i] = reinterpret_cast<const char*>(t.b + piece_column(t, first + i) * t.cs_b);
    const int64_t bytes = t.k * int64_t(sizeof(T));
    if constexpr (kFar) {
      const bool last = t.columns - first * kPiece<T> < 2 * kColumns;
      fetched.begin(at[0], step, bytes, last, t.fetch_order, /*stream=*/step == bytes);
    } else if (kChunks && t.beyond == 1) {
      fetched.begin(at[0], step, bytes);
    }
  }
  [[gnu::always_inline]] void move(int64_t bytes) {
    RANVIER_UNROLL
    for (int i = 0; i < kVectors * kPieces<T>; ++i) at[i] += bytes;
  }
  [[gnu::always_inline]] void fetch() {
    if constexpr (kFar) fetched.fetch();
    if constexpr (!kFar && kChunks) fetched.fetch(step);
  }
};

// acc[r][v] += a[r, p] column[p] for kCount products p, without the first `done`, which are already added.
template <int kCount, class T, int kRows, int kVectors>
RANVIER_INLINE void add_columns(const T* a, int64_t rs_a, const typename VecOf<T>::type* column, int64_t done,
                                int v, typename VecOf<T>::type (&acc)[kRows][kVectors]) {
  RANVIER_UNROLL
  for (int i = 0; i < kCount; ++i) {
    if (i < done) continue;
    RANVIER_UNROLL
    for (int r = 0; r < kRows; ++r)  // - vec<T>{}: a broadcast, as in vec.h
      acc[r][v] = fma(a[r * rs_a + i] - vec<T>{}, column[i], acc[r][v]);
  }
}

// The same for one piece (kPiece products) of vector v, which it reads from b, `offset` bytes ahead.
template <class T, int kRows, int kVectors, bool kFar>
RANVIER_INLINE void add_piece(const T* a, int64_t rs_a, const ColumnsOfB<T, kVectors, kFar>& b,
                              int64_t offset, int64_t done, int v,
                              typename VecOf<T>::type (&acc)[kRows][kVectors]) {
  constexpr int kE = kPiece<T>, kP = kPieces<T>;
  vec<T> column[kE];
  RANVIER_UNROLL
  for (int i = 0; i < kE; ++i) column[i] = pieces_at<T, kP>(b.at + v * kP, i * b.step + offset);
  transpose_pieces(column, std::make_integer_sequence<int, kE * kP>());
  add_columns<kE, T>(a, rs_a, column, done, v, acc);
}

// The same for the products of a round, ColumnsOfB::kRound bytes of all vectors.
template <class T, int kRows, int kVectors, bool kFar>
RANVIER_INLINE void add_round(const T* a, int64_t rs_a, ColumnsOfB<T, kVectors, kFar>& b,
                              typename VecOf<T>::type (&acc)[kRows][kVectors]) {
  typedef ColumnsOfB<T, kVectors, kFar> Columns;
  constexpr int kE = kPiece<T>;
#if RANVIER_VECTOR_BYTES == 64
  if constexpr (Columns::kTwoPieces) {
    RANVIER_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      vec<T> column[2 * kE];
      two_pieces_at(b.at + v * kPieces<T>, b.step, column);
      add_columns<2 * kE, T>(a, rs_a, column, 0, v, acc);
    }
    return b.move(Columns::kRound);
  }
#endif
  // Unrolled where it is faster: by a tenth for one row, by a quarter where b is larger than L2.
  constexpr int kAtOnce = (kFar || kRows == 1) && kFrequent<T> ? Columns::kRound / 16 : 1;
  RANVIER_NO_UNROLL
  for (int p = 0; p < Columns::kRound / 16; p += kAtOnce) {
    RANVIER_UNROLL
    for (int i = 0; i < kAtOnce; ++i) {
      RANVIER_UNROLL
      for (int v = 0; v < kVectors; ++v) add_piece<T>(a + (p + i) * kE, rs_a, b, i * 16, 0, v, acc);
    }
    b.move(kAtOnce * 16);
  }
}

// Adds k products to acc, one chain for each element. Returns the place in a after them.
template <class T, int kRows, int kVectors, bool kFar>
RANVIER_INLINE const T* add_chain(const T* a, int64_t rs_a, int64_t k, ColumnsOfB<T, kVectors, kFar>& b,
                                  typename VecOf<T>::type (&acc)[kRows][kVectors]) {
  constexpr int kE = kPiece<T>, kRound = b.kRound / int(sizeof(T));
  for (; k >= kRound; k -= kRound, a += kRound) {
    b.fetch();
    add_round<T>(a, rs_a, b, acc);
  }
  for (; k > 0; k -= kE, a += kE) {
    const int64_t done = k < kE ? kE - k : 0;  // how many of the last kE products are already added
    a -= done;
    b.move(-done * int64_t(sizeof(T)));
    RANVIER_UNROLL
    for (int v = 0; v < kVectors; ++v) add_piece<T>(a, rs_a, b, 0, done, v, acc);
    b.move(16);
  }
  return a;
}

// sums = the products of kRows rows and kVectors vectors of columns, from piece `first` on, over all of k.
template <bool kFar, class T, int kRows, int kVectors>
RANVIER_INLINE void few_sums(const MatmulRows<T>& t, int64_t first, vec<T> (&sums)[kRows][kVectors]) {
  ColumnsOfB<T, kVectors, kFar> b(t, first);
  const T* a = t.a;
  const int64_t rs_a = t.rs_a;
  for (int64_t left = t.k;; left -= t.chain_length) {
    vec<T> acc[kRows][kVectors] = {};
    const int64_t k = left < t.chain_length ? left : t.chain_length;
    a = add_chain<T>(a, rs_a, k, b, acc);
    RANVIER_UNROLL
    for (int r = 0; r < kRows; ++r) {
      RANVIER_UNROLL
      for (int v = 0; v < kVectors; ++v) sums[r][v] = left == t.k ? acc[r][v] : sums[r][v] + acc[r][v];
    }
    if (left <= t.chain_length) return;
  }
}

// Computes kRows rows and kVectors vectors of columns of c, from piece `first` on, adds the bias, and stores
// piece by piece.
template <class T, int kRows, int kVectors, bool kFar = false>
static __attribute__((noinline)) void few_columns(const MatmulRows<T>& t, int64_t first) {
  typedef T Piece __attribute__((vector_size(16)));
  vec<T> sums[kRows][kVectors] = {};
  few_sums<kFar, T, kRows, kVectors>(t, first, sums);
  alignas(64) Piece pieces[kRows][kVectors * kPieces<T>];
  __builtin_memcpy(pieces, sums, sizeof pieces);
  for (int i = 0; i < kVectors * kPieces<T>; ++i) {
    const int64_t column = piece_column(t, first + i);
    Piece bias{};
    if (t.after.bias_row) __builtin_memcpy(&bias, t.after.bias_row + column, sizeof bias);
    RANVIER_UNROLL
    for (int r = 0; r < kRows; ++r) {
      const Piece y = t.after.bias_row ? pieces[r][i] + bias : pieces[r][i];
      T* c = t.c + r * t.rs_c + column * t.cs_c;
      if (t.cs_c == 1) {
        __builtin_memcpy(c, &y, sizeof y);
      } else {
        for (int j = 0; j < kPiece<T>; ++j) c[j * t.cs_c] = y[j];
      }
    }
  }
}

// Computes all columns for kRows rows, few_vectors() vectors at a time, or one. b is at most as
// large as L2.
template <class T, int kRows>
static void few_of_near(const MatmulRows<T>& t) {
  constexpr int kMost = few_vectors(kRows), kP = kPieces<T>;
  const int64_t pieces = (t.columns + kPiece<T> - 1) / kPiece<T>;
  const bool one = kMost > 1 && share_sets<kMost * lanes<T>>(t.cs_b * int64_t(sizeof(T)));
  int64_t i = 0;
  if (!one)
    for (; pieces - i > kMost / 2 * kP; i += kMost * kP) few_columns<T, kRows, kMost>(t, i);
  for (; pieces > i; i += kP) few_columns<T, kRows, 1>(t, i);
}

// The same for any b, which is larger than L2 where there are more than kDotRows rows.
template <class T, int kRows>
static void few(const MatmulRows<T>& t) {
  if constexpr (kRows <= kDotRows)
    if (t.beyond < 2) return few_of_near<T, kRows>(t);
  constexpr int kMost = far_vectors(kRows), kP = kPieces<T>;
  const int64_t pieces = (t.columns + kPiece<T> - 1) / kPiece<T>;
  const bool one = kMost > 1 && share_sets<kMost * lanes<T>>(t.cs_b * int64_t(sizeof(T)));
  int64_t i = 0;
  if (!one)
    for (; i < pieces; i += kMost * kP) few_columns<T, kRows, kMost, true>(t, i);
  for (; i < pieces; i += kP) few_columns<T, kRows, 1, true>(t, i);
}

// The most rows beside a b that is larger than L2. More take less time in tiles, which pack b.
template <class T>
constexpr int kFarRows = kFrequent<T> ? 8 : kDotRows;

template <class T, int... R>
static void few(const MatmulRows<T>& t, std::integer_sequence<int, R...>) {
  static constexpr void (*of_rows[])(const MatmulRows<T>&) = {few<T, R + 1>...};
  of_rows[t.rows - 1](t);
}

// MatmulKernels::few_rows: all of c. a[i, p] is at a[i * rs_a + p], b[p, j] at b[j * cs_b + p]; k and the
// number of columns are at least kPiece.
template <class T>
static void run_few_rows(const MatmulRows<T>& t) {
  few<T>(t, std::make_integer_sequence<int, kFarRows<T>>());
  finish_in_place(t);
}

}  // namespace ranvier::RANVIER_ISA
