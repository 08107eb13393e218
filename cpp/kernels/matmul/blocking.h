// The sizes of matmul's tiles (mr x nr sums in registers), as constants of each ISA level. A tile of mr =
// kTileRows rows has nr = kTileVectors vectors of columns; tiles of fewer rows may be wider. mc, kc and nc,
// which depend on the caches and the shapes, are chosen in plan.cpp. Included by files that are compiled for
// each level (*.isa.cpp). RANVIER_VECTOR_REGISTERS is the number of vector registers of the level.
#pragma once
#include <cstdint>

namespace ranvier::RANVIER_ISA {

// The accumulators (rows x vectors sums), a row of b (two vectors) and one broadcast element of a fill the
// registers: 28 + 2 + 1 of 32, 12 + 2 + 1 of 16. Without FMA a product needs one more register: 8 + 2 + 1 + 1
// of 16.
constexpr bool kManyRegisters = RANVIER_VECTOR_REGISTERS >= 32;
constexpr int kTileVectors = 2;
constexpr int kFewAccumulators = RANVIER_HAS_FMA ? 12 : 8;
constexpr int kAccumulators = kManyRegisters ? 28 : kFewAccumulators;
constexpr int kTileRows = kAccumulators / kTileVectors;

// The most vectors of columns of a tile with this many rows: 2, 4 or 8. A tile of few rows can be wide, which
// hides the latency of FMAs and reads b in longer runs. In float64, which is rare, tiles of four vectors and
// four or more rows are not worth the size of their code.
template <class T>
constexpr int tile_vectors(int rows) {
  const bool may_be_four = sizeof(T) == sizeof(float) || rows < 4;
  if (rows * 8 <= kAccumulators) return 8;
  return may_be_four && rows * 4 <= kAccumulators ? 4 : 2;
}

// With few registers there are also tiles of three vectors, in float32: four rows of three vectors load less
// for each FMA than six rows of two.
constexpr bool kOddTiles = RANVIER_HAS_FMA && !kManyRegisters;
constexpr int kRowsOfThree = 4;

// True at AVX-512, where masked loads and stores cost no more than whole ones.
constexpr bool kMasks = RANVIER_VECTOR_BYTES == 64;

// True where additional code for special sizes is worth its bytes: not in float64, nor without FMA, as both
// are rare.
template <class T>
constexpr bool kFrequent = RANVIER_HAS_FMA && sizeof(T) == sizeof(float);

// True for float64 at AVX-512, where the tile of kTileRows rows can pack b, or prefetch a packed a: 14
// numbers, a line and three quarters, in each step of k. At other levels this has not been measured.
template <class T>
constexpr bool kFetchesPacked = kMasks && sizeof(T) == sizeof(double);

// If kPacks, tiles of kPackingVectors vectors and at least kPackingRows rows can pack b while they read it.
template <class T>
constexpr bool kPacks = kFrequent<T> || kFetchesPacked<T>;
constexpr int packing_rows_of_floats() {
  if (kManyRegisters) return 10;
  return kOddTiles ? kRowsOfThree : 3;
}
template <class T>
constexpr int kPackingRows = kFrequent<T> ? packing_rows_of_floats() : kTileRows;
constexpr int kPackingVectors = kOddTiles ? 3 : kTileVectors;

static_assert(kOddTiles || tile_vectors<float>(kPackingRows<float>) == kPackingVectors);

// The most products in one chain of a sum. It decides the bits of every result, so it is the same at all
// levels and on every machine. A panel of b of so many rows and two vectors is then about as large as L1.
constexpr int64_t kMaxChain = 384;

// The same for products by AMX, in elements (pairs of bfloat16): a panel of 32 rows of a stays in L1.
constexpr int64_t kAmxMaxChain = 256;

// For gemv.h. kGemvSteps: the rows of b that are added at once, where a has kRows rows, whose elements are
// held in registers. With eight rows of b at AVX2, one row of a takes .75 to .95 times as long as with four
// where b comes from memory (Zen 3, 2026-12-01). kGemvBytes: the bytes of the sums, which leave half of L1 to
// b.
template <int kRows>
constexpr int gemv_steps() {
  if (kRows == 1 && RANVIER_VECTOR_BYTES == 32) return 8;
  return kManyRegisters || kRows <= 3 ? 4 : 2;
}
template <int kRows>
constexpr int kGemvSteps = gemv_steps<kRows>();
// With more rows of a than this, gemv.h prefetches the rows of b that come next. At AVX-512 one or two rows
// take 1.1 times as long with it, all others up to 2.5 times as long without. At AVX2 one row takes 1.3 to 2
// times as long with it (Zen 3, 2026-12-01).
constexpr int gemv_rows_without_fetch() {
  if (RANVIER_VECTOR_BYTES == 64) return 2;
  return RANVIER_VECTOR_BYTES == 32 ? 1 : 0;
}
constexpr int kGemvRowsWithoutFetch = gemv_rows_without_fetch();
constexpr int kGemvBytes = 16 << 10;

}  // namespace ranvier::RANVIER_ISA
