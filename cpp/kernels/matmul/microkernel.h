// The micro-kernel: computes a tile of c (MatmulTile), whose sums stay in registers during the loop over k.
// In each step of k it reads a row of b as vectors, broadcasts each element of a column of a, and does one
// FMA for each row and vector. Included by matmul.isa.cpp only.
#pragma once
#include <utility>

#include "base/unroll.h"
#include "kernels/matmul/blocking.h"
#include "kernels/matmul/epilogue.h"
#include "kernels/matmul/tile.h"
#include "simd/vec.h"

namespace ranvier::RANVIER_ISA {

// How many rows ahead of their use rows of b are prefetched: from L2 into L1 (kAhead; kWideAhead for more
// than two vectors), and by tiles that pack from memory into L2 (kFarAhead). Those are not fetched into L1,
// since rows a power of two apart would share the few lines of a set. After the last row of a panel of b come
// the rows of the panel to the right.
constexpr int kAhead = 16, kWideAhead = 4, kFarAhead = 24;
constexpr int kPackedAhead = 1024;  // bytes; how far ahead a packed a is prefetched

// The addresses at which a tile reads a and b next, packs b to, and prefetches.
template <class T>
struct Cursor {
  const T *a, *b;
  T* pack_to;
  const T* fetch[2];  // the next line, and the one after it
};

// What a tile does besides its sums.
enum class Meanwhile {
  nothing,
  pack,         // it packs b for the tiles that follow
  fetch,        // it prefetches rows of another panel of b, two cache lines each
  fetch_run,    // it prefetches rows of a, or a packed b, one line in each step of k
  fetch_packed  // it prefetches a packed a
};

// Reads the elements of one column of a for kRows rows. To need few registers, it keeps a pointer for every
// fifth row and adds 0 to 4 times the stride: addresses that the processor computes in a load.
template <class T, int kRows>
struct ColumnOfA {
  static constexpr int kGroup = 5, kGroups = (kRows + kGroup - 1) / kGroup;
  int64_t row_bytes, step;
  const char* at[kGroups];

  [[gnu::always_inline]] ColumnOfA(const MatmulTile<T>& t, const T* a)
      : row_bytes(opaque(t.rs_a * static_cast<int64_t>(sizeof(T)))),
        step(opaque(t.cs_a * static_cast<int64_t>(sizeof(T)))) {
    RANVIER_UNROLL
    for (int g = 0; g < kGroups; ++g) at[g] = reinterpret_cast<const char*>(a) + g * kGroup * row_bytes;
  }
  [[gnu::always_inline]] T row(int i) const {
    T x;
    __builtin_memcpy(&x, at[i / kGroup] + (i % kGroup) * row_bytes, sizeof x);
    return x;
  }
  [[gnu::always_inline]] void next() {
    RANVIER_UNROLL
    for (int g = 0; g < kGroups; ++g) at[g] += step;
  }
};

// Where the vectors of a row of a tile begin. Where the columns are not whole vectors, the last vectors
// overlap those before, so that no lane needs a mask. The exception is a tile of one vector at a level where
// masks cost nothing. kWhole: the columns are whole vectors.
template <class T, int kVectors, bool kWhole>
struct Vectors {
  static constexpr bool kMasked = kMasks && kVectors == 1;
  int columns;
  int64_t first[kVectors];  // the first column of each vector

  // last: the first column of the last vector.
  [[gnu::always_inline]] Vectors(int columns, int64_t last) : columns(columns) {
    RANVIER_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      const int64_t column = v * lanes<T>;
      first[v] = kWhole || 2 * v < kVectors || column < last ? column : last;
    }
  }
  [[gnu::always_inline]] vec<T> read(const T* row, int v) const {
    return kMasked ? load_n(row, columns) : load(row + first[v]);
  }
  [[gnu::always_inline]] void write(T* row, int v, vec<T> x) const {
    if (kMasked) {
      store_n(row, x, columns);
    } else {
      store(row + first[v], x);
    }
  }
};

template <class T>
constexpr int kElementsOfLine = 64 / int(sizeof(T));

// How many rows ahead a row of b is prefetched.
template <int kVectors, bool kPack>
constexpr int rows_ahead() {
  if (kPack) return kFarAhead;
  return kVectors > 2 ? kWideAhead : kAhead;
}

// Prefetches the cache line of vector v of a later row of b.
template <class T, int kVectors, bool kPack>
RANVIER_INLINE void fetch_vector(const T* row, int v) {
  if (v * sizeof(vec<T>) % 64 != 0) return;
  if (kPack) {
    __builtin_prefetch(row + v * lanes<T>, 0, 2);
    // Where a row of the panel of b is one line, the other line of the same 128 bytes is fetched, too: each
    // row is on another page, and the next panel of b needs that line.
    if (kVectors * sizeof(vec<T>) <= 64)
      __builtin_prefetch(reinterpret_cast<const void*>(reinterpret_cast<uintptr_t>(row) ^ 64), 0, 2);
  } else if ((kManyRegisters && kVectors <= 2) || kVectors == 8) {
    __builtin_prefetch(row + v * lanes<T>);
  }
}

// One chain: acc[i][v] = the sum of k products of a[i, p] and vector v of row p of b, from `at` on, which it
// moves behind them. goes_on: true if another chain of the tile follows.
template <class T, int kRows, int kVectors, Meanwhile kMeanwhile, class V>
RANVIER_INLINE void multiply(const MatmulTile<T>& t, int64_t k, bool goes_on, const V& vectors, Cursor<T>& at,
                             vec<T> (&acc)[kRows][kVectors]) {
  constexpr bool kPack = kMeanwhile == Meanwhile::pack;
  constexpr bool kFetch = kMeanwhile == Meanwhile::fetch;
  constexpr bool kFetchRun = kMeanwhile == Meanwhile::fetch_run;
  ColumnOfA<T, kRows> a(t, at.a);
  // `ahead` points to the end of 64 bytes: where b is not aligned, the panel to the left has fetched their
  // first line. kLater rows before its end it goes on to the panel to the right (which follows a packed one).
  constexpr int kLater = rows_ahead<kVectors, kPack>();
  constexpr int kWidth = kVectors * lanes<T>;  // nr
  const T* b = at.b;
  const T* right = b + kWidth + kElementsOfLine<T> - 1;
  const int64_t turn = goes_on || t.rs_b == kWidth ? 0 : kLater + 1;
  const T* ahead = k < turn ? right : b + kLater * t.rs_b + kElementsOfLine<T> - 1;
  T* pack_to = at.pack_to;
  const T* fetch = kFetch || kFetchRun ? at.fetch[0] : nullptr;
  const T* then = kFetch ? at.fetch[1] : nullptr;
  [[maybe_unused]] const int64_t rs_fetch = kFetch && t.fetch.b ? t.fetch.rs_b : 0;
  RANVIER_UNROLL
  for (int i = 0; i < kRows; ++i) {
    RANVIER_UNROLL
    for (int v = 0; v < kVectors; ++v) acc[i][v] = vec<T>{};
  }
  const auto step = [&]() RANVIER_INLINED {
    if constexpr (kFetch || kFetchRun) __builtin_prefetch(fetch, 0, 2);
    if constexpr (kFetch) {  // the two lines of a row in turn
      const T* line_of_next_row = fetch + rs_fetch;
      fetch = then;
      then = line_of_next_row;
    }
    if constexpr (kFetchRun) fetch += t.fetch.a;
    if constexpr (kMeanwhile == Meanwhile::fetch_packed) {
      RANVIER_UNROLL
      for (int i = 0; i < kRows; i += kElementsOfLine<T>)
        __builtin_prefetch(a.at[0] + kPackedAhead + i * sizeof(T));
    }
    vec<T> row[kVectors];
    RANVIER_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      row[v] = vectors.read(b, v);
      fetch_vector<T, kVectors, kPack>(ahead, v);
    }
    if constexpr (kPack) {
      RANVIER_UNROLL
      for (int v = 0; v < kVectors; ++v) store(pack_to + v * lanes<T>, row[v]);
      pack_to += kWidth;
    }
    RANVIER_UNROLL
    for (int i = 0; i < kRows; ++i) {
      const vec<T> x = factor<T>(a.row(i));
      RANVIER_UNROLL
      for (int v = 0; v < kVectors; ++v) acc[i][v] = fma(x, row[v], acc[i][v]);
    }
    a.next();
    b += t.rs_b;
    ahead = k == turn ? right : ahead + t.rs_b;
  };
  if constexpr (kFetchRun) {  // one row of a after another, with the gap after each: see MatmulFetch
    const int64_t row_steps = t.fetch.gap_a ? (t.k + t.fetch.a - 1) / t.fetch.a : k;
    while (k > 0) {
      const int64_t end = k > row_steps ? k - row_steps : 0;
      for (; k > end; --k) step();
      fetch += t.fetch.gap_a;
    }
  } else {
    for (; k > 0; --k) step();
  }
  at = {reinterpret_cast<const T*>(a.at[0]), b, pack_to, {fetch, then}};
}

constexpr int kLevels = 6;  // of the binary tree of Matmul::parts
static_assert(kMostParts == 1 << kLevels);

// Prefetches the lines of a tile of c.
template <class T, int kRows, int kWidth>
RANVIER_INLINE void fetch_result(const T* c, int64_t rs_c) {
  const auto fetch_row = [&](int i) RANVIER_INLINED {
    RANVIER_UNROLL
    for (int j = 0; j < kWidth; j += kElementsOfLine<T>) __builtin_prefetch(c + i * rs_c + j, 0, 3);
    __builtin_prefetch(c + i * rs_c + kWidth - 1, 0, 3);
  };
  if constexpr (kFrequent<T>) {
    RANVIER_UNROLL
    for (int i = 0; i < kRows; ++i) fetch_row(i);
  } else {
#pragma GCC unroll 1
    for (int i = 0; i < kRows; ++i) fetch_row(i);
  }
}

// acc = the sums in `rows` + acc, where rows are `step` elements apart. Returns the end of the rows.
template <class T, int kRows, int kVectors, class V>
RANVIER_INLINE const T* add_sums(const T* rows, int64_t step, const V& vectors,
                                 vec<T> (&acc)[kRows][kVectors]) {
  RANVIER_UNROLL
  for (int i = 0; i < kRows; ++i, rows = opaque(rows + step)) {
    RANVIER_UNROLL
    for (int v = 0; v < kVectors; ++v) acc[i][v] = vectors.read(rows, v) + acc[i][v];
  }
  return rows;
}

template <class T, int kRows, int kVectors, class V>
RANVIER_INLINE void store_sums(T* rows, int64_t step, const V& vectors, vec<T> (&acc)[kRows][kVectors]) {
  RANVIER_UNROLL
  for (int i = 0; i < kRows; ++i, rows = opaque(rows + step)) {
    RANVIER_UNROLL
    for (int v = 0; v < kVectors; ++v) vectors.write(rows, v, acc[i][v]);
  }
}

// Computes a tile, and the tiles after it (t.more). Where k has several chains, their sums are added in
// `spilled`, in order or in a binary tree (t.tree); finished sums are stored to c. Sums that an epilogue
// follows, or that are not stored as contiguous rows, go through `spilled` to store_general().
template <class T, int kRows, int kVectors, Meanwhile kMeanwhile = Meanwhile::nothing>
static void tile(const MatmulTile<T>& t) {
  constexpr int L = lanes<T>, kWidth = kVectors * L;
  typedef Vectors<T, kVectors, kMeanwhile == Meanwhile::pack> V;
  // False: fewer columns than a vector, without masks. Then b is packed (set_last_panel_b() in plan.cpp), and
  // whole vectors of it are read.
  const bool is_vector = V::kMasked || t.columns >= L;
  const bool finishes = !t.after.is_empty();
  const bool whole = t.cs_c == 1 && is_vector;
  const bool plain = whole && !finishes;
  const int64_t last_vector = is_vector ? t.columns - L : kWidth - L;
  const V vectors(t.columns, last_vector);
  vec<T> acc[kRows][kVectors];
  alignas(64) T spilled[kLevels * kRows * kWidth];  // for a tree: the sums of 1, 2, 4 ... chains
  const T* a = t.a;
  const T* b = t.b;
  T* c = t.c;
  Cursor<T> at{a, b, t.pack_to, {}};
  if (kMeanwhile == Meanwhile::fetch) {
    const T* first = t.fetch.b ? t.fetch.b : b;
    at.fetch[0] = first + kElementsOfLine<T> - 1;
    at.fetch[1] = first + kWidth - 1;
  }
  for (int more = t.more;; --more, a += t.step_a, b += t.step_b, c += t.step_c) {
    if (whole && (t.accumulate || t.fetch.c)) fetch_result<T, kRows, kWidth>(c, t.rs_c);
    at.a = a;
    at.b = b;
    if (kMeanwhile == Meanwhile::fetch_run)
      at.fetch[0] = t.fetch.b ? t.fetch.b : a + t.fetch.panels * t.rows * t.rs_a;
    const T* sums = c;  // so far
    int64_t sums_step = t.rs_c;
    bool has_sums = t.accumulate && whole;
    int adds = has_sums;  // how many earlier sums are added to the next chain
    int chains = 0;
    for (int64_t left = t.k;;) {
      const bool goes_on = left > t.chain_length;
      const int64_t k = goes_on ? t.chain_length : left;
      multiply<T, kRows, kVectors, kMeanwhile>(t, k, goes_on, vectors, at, acc);
      left -= t.chain_length;
      ++chains;
      const bool done = left <= 0 && plain;
      // In a tree, sums of 2^level chains are added as soon as there are two of them: chain number `chains`
      // completes as many levels as the number has zeros at its end.
      const int level = t.tree && left > 0 ? __builtin_ctz(chains) : 0;
      // All sums are added before any is stored, since vectors overlap.
      for (; adds > 0; --adds) sums = add_sums(sums, sums_step, vectors, acc);
      T* to = done ? c : spilled + level * (kRows * kWidth);
      const int64_t to_step = done ? t.rs_c : kWidth;
      store_sums(to, to_step, vectors, acc);
      if (t.accumulate && !has_sums) add_rows<T>(t, spilled, kWidth);
      if (left <= 0) break;
      has_sums = true;
      adds = t.tree ? __builtin_ctz(chains + 1) : 1;
      sums = spilled;
      sums_step = kWidth;
    }
    if (!plain && t.cs_c == 1 && !finishes) copy_rows<T>(kRows, t.columns, spilled, kWidth, c, t.rs_c);
    if (more <= 0) break;
  }
  if (finishes || t.cs_c != 1) store_general<T>(t, spilled, kWidth);
}

#if RANVIER_VECTOR_BYTES == 64
// A tile whose columns are at most half a vector, or with kWide a whole vector and at most half a vector,
// with contiguous rows of c and no epilogue. On cores that do two FMAs of 32 bytes or one of 64 bytes in a
// cycle, a half vector takes half the time. Tiles of fewer than kHalfRows rows wait for the latency of FMAs
// anyway.
constexpr int kHalfRows = kTileRows / 2;

template <int kRows, bool kWide>
static void half_tile(const MatmulTile<float>& t) {
  constexpr int kFirst = kWide ? 16 : 0;
  const __mmask8 mask = static_cast<__mmask8>((1u << (t.columns - kFirst)) - 1u);
  const int64_t rs_b = t.rs_b;
  const int64_t fetch_a = t.fetch.gap_a ? 0 : t.fetch.a;
  const float* first = t.a;
  float* c = t.c;
  for (int more = t.more; more >= 0; --more, first += t.step_a, c += t.step_c) {
    ColumnOfA<float, kRows> a(t, first);
    const float* b = t.b;
    bool add = t.accumulate;
    const float* fetch = first + t.fetch.panels * kRows * t.rs_a;
    for (int64_t left = t.k;; left -= t.chain_length, add = true) {
      __m256 acc[kRows] = {};
      __m512 wide[kRows] = {};
      const int64_t chain = left < t.chain_length ? left : t.chain_length;
      for (int64_t k = chain; k > 0; --k, b += rs_b, a.next()) {
        const __m256 row = _mm256_maskz_loadu_ps(mask, b + kFirst);
        const __m512 wide_row = kWide ? __m512(load(b)) : __m512{};
        if (kRows == kTileRows) {  // only full panels of a prefetch the next rows of a
          __builtin_prefetch(fetch, 0, 2);
          fetch += fetch_a;
        }
        RANVIER_UNROLL
        for (int i = 0; i < kRows; ++i) {
          const float x = a.row(i);
          if (kWide) {
            const __m512 xs = broadcast<float>(x);
            wide[i] = _mm512_fmadd_ps(xs, wide_row, wide[i]);
            // The lower half; GCC 12 warns of a cast.
            const __m256 half = __builtin_shufflevector(xs, xs, 0, 1, 2, 3, 4, 5, 6, 7);
            acc[i] = _mm256_fmadd_ps(half, row, acc[i]);
          } else {
            acc[i] = _mm256_fmadd_ps(_mm256_set1_ps(x), row, acc[i]);
          }
        }
      }
      float* to = c;
      RANVIER_UNROLL
      for (int i = 0; i < kRows; ++i, to = opaque(to + t.rs_c)) {
        if (add) acc[i] = _mm256_add_ps(_mm256_maskz_loadu_ps(mask, to + kFirst), acc[i]);
        _mm256_mask_storeu_ps(to + kFirst, mask, acc[i]);
        if (kWide) {
          vec<float> sum(wide[i]);
          if (add) sum = load(to) + sum;
          store(to, sum);
        }
      }
      if (left <= t.chain_length) break;
    }
  }
}
#endif

}  // namespace ranvier::RANVIER_ISA
