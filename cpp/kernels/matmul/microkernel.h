// The micro-kernel: a tile of c held in registers while k runs. Included by matmul.isa.cpp only.
#pragma once
#include "base/unroll.h"
#include "kernels/matmul/blocking.h"
#include "kernels/matmul/epilogue.h"
#include "kernels/matmul/matmul.h"
#include "simd/vec.h"

namespace ranvier::RANVIER_ISA {

// Rows of b that are fetched ahead of their use: from L2 into L1, and from memory into L2, since rows a power
// of two apart share the few lines of a set of L1. After the last row come those of the strip to the right.
constexpr int kAhead = 16, kWideAhead = 4, kFarAhead = 24;
constexpr int kPackedAhead = 1024;  // bytes of a packed a

// The addresses at which a tile's operands are read next, b is copied to, and lines are prefetched.
template <class T>
struct Cursor {
  const T *a, *b;
  T* pack_to;
  const T* fetch[2];  // the next line, and the one after it
};

// The other work of a tile while k runs: none; it stores b's rows one after another, for the tiles that
// follow; or it fetches rows of another strip, two lines each, or rows of a: one line in each step of k; or a
// packed a.
enum class Meanwhile { nothing, pack, fetch, fetch_a, fetch_packed };

// The other cache line of the 128 bytes that p is in. A strip of one line takes both from beyond L2 at once:
// each row is on another page, and the next strip then finds its line.
template <class T>
RANVIER_INLINE const void* other_line_of_pair(const T* p) {
  return reinterpret_cast<const void*>(reinterpret_cast<uintptr_t>(p) ^ 64);
}

// The column of a tile's vector v, if its last one begins at `last`: where the columns are no whole vectors,
// the last ones overlap, and no lane is masked.
template <class T, int kVectors>
RANVIER_INLINE int64_t column_of(int v, int64_t last) {
  const int64_t column = v * lanes<T>;
  return 2 * v < kVectors || column < last ? column : last;
}

// acc[i][v] = sum over k products of a[i, p] * b[p, v], in one chain.
// Rows of a are found from few registers: a pointer for every fifth, and multiples of the stride.
// goes_on: more products follow.
template <class T, int kRows, int kVectors, Meanwhile kMeanwhile>
RANVIER_INLINE void multiply(const MatmulTile<T>& t, int64_t k, bool goes_on, int64_t last, Cursor<T>& at,
                             vec<T> (&acc)[kRows][kVectors]) {
  constexpr int L = lanes<T>, kGroup = 5, kGroups = (kRows + kGroup - 1) / kGroup;
  constexpr bool kPack = kMeanwhile == Meanwhile::pack, kFetch = kMeanwhile == Meanwhile::fetch;
  constexpr bool kFetchA = kMeanwhile == Meanwhile::fetch_a;
  const int64_t row_bytes = opaque(t.rs_a * static_cast<int64_t>(sizeof(T)));
  const int64_t step_a = opaque(t.cs_a * static_cast<int64_t>(sizeof(T)));
  const char* a[kGroups];
  RANVIER_UNROLL
  for (int g = 0; g < kGroups; ++g) a[g] = reinterpret_cast<const char*>(at.a) + g * kGroup * row_bytes;
  // The last element of a cache line's vectors: where b is not aligned, its line is the one that no strip
  // before has fetched.
  constexpr int kLine = 64 / int(sizeof(T));
  constexpr int kRowsAhead = kPack ? kFarAhead : kVectors > 2 ? kWideAhead : kAhead;
  const T *b = at.b, *next = at.b + kVectors * L + kLine - 1;
  const int64_t turn = goes_on || t.rs_b == kVectors * L ? 0 : kRowsAhead + 1;  // packed strips are in order
  const T* ahead = k < turn ? next : at.b + kRowsAhead * t.rs_b + kLine - 1;
  T* pack_to = at.pack_to;
  const T *fetch = kFetch || kFetchA ? at.fetch[0] : nullptr, *then = kFetch ? at.fetch[1] : nullptr;
  [[maybe_unused]] const int64_t rs_fetch = kFetch && t.fetch ? t.rs_fetch : 0;
  const int columns = t.columns;
  int64_t column[kVectors];
  RANVIER_UNROLL
  for (int v = 0; v < kVectors; ++v) column[v] = kPack ? v * L : column_of<T, kVectors>(v, last);
  RANVIER_UNROLL
  for (int i = 0; i < kRows; ++i) {
    RANVIER_UNROLL
    for (int v = 0; v < kVectors; ++v) acc[i][v] = vec<T>{};
  }
  const auto step = [&]() RANVIER_INLINED {
    if constexpr (kFetch) {
      __builtin_prefetch(fetch, 0, 2);
      const T* next_row = fetch + rs_fetch;
      fetch = then, then = next_row;
    }
    if constexpr (kFetchA) {
      __builtin_prefetch(fetch, 0, 2);
      fetch += t.fetch_a;
    }
    if constexpr (kMeanwhile == Meanwhile::fetch_packed) {
      RANVIER_UNROLL
      for (int i = 0; i < kRows; i += kLine) __builtin_prefetch(a[0] + kPackedAhead + i * sizeof(T));
    }
    vec<T> row[kVectors];
    RANVIER_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      row[v] = kMasks && kVectors == 1 ? load_n(b, columns) : load(b + column[v]);
      if (v * sizeof(vec<T>) % 64 != 0) continue;
      if (kPack) {
        __builtin_prefetch(ahead + v * L, 0, 2);
        if (kVectors * sizeof(vec<T>) <= 64) __builtin_prefetch(other_line_of_pair(ahead), 0, 2);
      } else if ((kManyRegisters && kVectors <= 2) || kVectors == 8)
        __builtin_prefetch(ahead + v * L);
    }
    if constexpr (kPack) {
      RANVIER_UNROLL
      for (int v = 0; v < kVectors; ++v) store(pack_to + v * L, row[v]);
      pack_to += kVectors * L;
    }
    RANVIER_UNROLL
    for (int i = 0; i < kRows; ++i) {
      T x;
      __builtin_memcpy(&x, a[i / kGroup] + (i % kGroup) * row_bytes, sizeof x);
      const vec<T> xs = factor<T>(x);
      RANVIER_UNROLL
      for (int v = 0; v < kVectors; ++v) acc[i][v] = fma(xs, row[v], acc[i][v]);
    }
    RANVIER_UNROLL
    for (int g = 0; g < kGroups; ++g) a[g] += step_a;
    b += t.rs_b;
    ahead = k == turn ? next : ahead + t.rs_b;
  };
  if constexpr (kFetchA) {  // in parts, see MatmulTile
    const int64_t row_steps = t.rs_fetch ? (t.k + t.fetch_a - 1) / t.fetch_a : k;
    while (k > 0) {
      for (const int64_t end = k > row_steps ? k - row_steps : 0; k > end; --k) step();
      fetch += t.rs_fetch;
    }
  } else {
    for (; k > 0; --k) step();
  }
  at = {reinterpret_cast<const T*>(a[0]), b, pack_to, {fetch, then}};
}

constexpr int kLevels = 6;
static_assert(kMostParts == 1 << kLevels);

// The chains of one tile, added up in `spilled` from the second on, then stored.
template <class T, int kRows, int kVectors, Meanwhile kMeanwhile = Meanwhile::nothing>
static void tile(const MatmulTile<T>& t) {
  constexpr int L = lanes<T>, kWidth = kVectors * L;
  const bool finishes = is_finished(t);
  constexpr bool kMasked = kMasks && kVectors == 1;
  const int columns = t.columns;
  const bool vectors = kMasked || t.columns >= L;  // no less than one, which is then masked
  const bool whole = t.cs_c == 1 && vectors, plain = whole && !finishes;
  const int64_t last = vectors ? t.columns - L : kWidth - L;
  const auto read = [&](const T* p, int64_t column)
                        RANVIER_INLINED { return kMasked ? load_n(p, columns) : load(p + column); };
  const auto write = [&](T* p, int64_t column, vec<T> x)
                         RANVIER_INLINED { kMasked ? store_n(p, x, columns) : store(p + column, x); };
  vec<T> acc[kRows][kVectors];
  alignas(64) T spilled[kLevels * kRows * kWidth];  // for a tree: the sums of 1, 2, 4 ... chains
  const T *a = t.a, *b = t.b;
  T* c = t.c;
  Cursor<T> at{a, b, t.pack_to, {}};
  if (kMeanwhile == Meanwhile::fetch) {
    const T* first = t.fetch ? t.fetch : b;
    at.fetch[0] = first + 64 / sizeof(T) - 1, at.fetch[1] = first + kWidth - 1;
  }
  for (int64_t more = t.more;; --more, a += t.step_a, b += t.step_b, c += t.step_c) {
    if (whole && (t.accumulate || t.fetch_c)) {  // c is fetched while k runs
      const auto fetch_row = [&](int i) RANVIER_INLINED {
        RANVIER_UNROLL
        for (int j = 0; j < kWidth; j += 64 / int(sizeof(T))) __builtin_prefetch(c + i * t.rs_c + j, 0, 3);
        __builtin_prefetch(c + i * t.rs_c + kWidth - 1, 0, 3);
      };
      if constexpr (kFrequent<T>) {
        RANVIER_UNROLL
        for (int i = 0; i < kRows; ++i) fetch_row(i);
      } else {
#pragma GCC unroll 1
        for (int i = 0; i < kRows; ++i) fetch_row(i);
      }
    }
    at.a = a, at.b = b;
    if (kMeanwhile == Meanwhile::fetch_a) at.fetch[0] = a + t.ahead * t.rows * t.rs_a;
    const T* sums = c;  // so far
    int64_t sums_step = t.rs_c;
    bool has_sums = t.accumulate && whole;
    int adds = has_sums, chains = 0;
    for (int64_t left = t.k;;) {
      const bool goes_on = left > t.k_block;
      multiply<T, kRows, kVectors, kMeanwhile>(t, goes_on ? t.k_block : left, goes_on, last, at, acc);
      left -= t.k_block, ++chains;
      const bool done = left <= 0 && plain;
      const int level = t.tree && left > 0 ? __builtin_ctz(chains) : 0;
      T* to = done ? c : spilled + level * (kRows * kWidth);
      const int64_t step = done ? t.rs_c : kWidth;
      for (; adds > 0; --adds) {  // before anything is stored, since vectors overlap
        RANVIER_UNROLL
        for (int i = 0; i < kRows; ++i, sums = opaque(sums + sums_step)) {
          RANVIER_UNROLL
          for (int v = 0; v < kVectors; ++v)
            acc[i][v] = read(sums, column_of<T, kVectors>(v, last)) + acc[i][v];
        }
      }
      RANVIER_UNROLL
      for (int i = 0; i < kRows; ++i, to = opaque(to + step)) {
        RANVIER_UNROLL
        for (int v = 0; v < kVectors; ++v) write(to, column_of<T, kVectors>(v, last), acc[i][v]);
      }
      if (t.accumulate && !has_sums) add_rows<T>(t, spilled, kWidth);
      if (left <= 0) break;
      has_sums = true, adds = t.tree ? __builtin_ctz(chains + 1) : 1;
      sums = spilled, sums_step = kWidth;
    }
    if (!plain && t.cs_c == 1 && !finishes) copy_rows<T>(kRows, t.columns, spilled, kWidth, c, t.rs_c);
    if (more <= 0) break;
  }
  if (finishes || t.cs_c != 1) store_general<T>(t, spilled, kWidth);
}

#if RANVIER_VECTOR_BYTES == 64
// At most half a vector of columns, after a whole one if kWide, of dense rows with nothing after the sums. On
// cores that do two FMAs of 32 bytes, or one of 64, half a vector takes half the time. Fewer than kHalfRows
// chains wait for the FMAs' latency all the same.
constexpr int kHalfRows = kTileRows / 2;

template <int kRows, bool kWide>
static void half_tile(const MatmulTile<float>& t) {
  constexpr int kGroup = 5, kGroups = (kRows + kGroup - 1) / kGroup, kFirst = kWide ? 16 : 0;
  const __mmask8 mask = static_cast<__mmask8>((1u << (t.columns - kFirst)) - 1u);
  const int64_t rs_a = opaque(t.rs_a), cs_a = t.cs_a, rs_b = t.rs_b, fetch_a = t.rs_fetch ? 0 : t.fetch_a;
  const float* first = t.a;
  float* c = t.c;
  for (int64_t more = t.more; more >= 0; --more, first += t.step_a, c += t.step_c) {
    const float *a[kGroups], *b = t.b;
    RANVIER_UNROLL
    for (int g = 0; g < kGroups; ++g) a[g] = first + g * kGroup * rs_a;
    bool add = t.accumulate;
    const float* fetch = first + t.ahead * kRows * rs_a;
    for (int64_t left = t.k;; left -= t.k_block, add = true) {
      __m256 acc[kRows] = {};
      __m512 wide[kRows] = {};
      for (int64_t k = left < t.k_block ? left : t.k_block; k > 0; --k, b += rs_b) {
        const __m256 row = _mm256_maskz_loadu_ps(mask, b + kFirst);
        const __m512 wide_row = kWide ? __m512(load(b)) : __m512{};
        if (kRows == kTileRows) {  // as panels of many rows have
          __builtin_prefetch(fetch, 0, 2);
          fetch += fetch_a;
        }
        RANVIER_UNROLL
        for (int i = 0; i < kRows; ++i) {
          const float x = a[i / kGroup][(i % kGroup) * rs_a];
          if (kWide) {
            const __m512 xs = broadcast<float>(x);
            wide[i] = _mm512_fmadd_ps(xs, wide_row, wide[i]);
            const __m256 half =
                __builtin_shufflevector(xs, xs, 0, 1, 2, 3, 4, 5, 6, 7);  // GCC 12 warns of the cast
            acc[i] = _mm256_fmadd_ps(half, row, acc[i]);
          } else {
            acc[i] = _mm256_fmadd_ps(_mm256_set1_ps(x), row, acc[i]);
          }
        }
        RANVIER_UNROLL
        for (int g = 0; g < kGroups; ++g) a[g] += cs_a;
      }
      float* to = c;
      RANVIER_UNROLL
      for (int i = 0; i < kRows; ++i, to = opaque(to + t.rs_c)) {
        if (add) acc[i] = _mm256_add_ps(_mm256_maskz_loadu_ps(mask, to + kFirst), acc[i]);
        _mm256_mask_storeu_ps(to + kFirst, mask, acc[i]);
        if (kWide) store(to, add ? load(to) + vec<float>(wide[i]) : vec<float>(wide[i]));
      }
      if (left <= t.k_block) break;
    }
  }
}
#endif

}  // namespace ranvier::RANVIER_ISA
