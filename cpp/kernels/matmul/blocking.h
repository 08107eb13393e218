// Tile and block sizes of matmul at each ISA level. Included by matmul.isa.cpp only.
#pragma once
#include <cstdint>

namespace ranvier::RANVIER_ISA {

// rows x vectors accumulators, plus a row of b and one broadcast, fill the register file: 28 + 2 + 1 of 32,
// 12 + 2 + 1 of 16. Without FMA a product needs a register more: 8 + 2 + 1 + 1 of 16.
constexpr bool kManyRegisters = RANVIER_VECTOR_REGISTERS >= 32;
constexpr int kTileVectors = 2;
constexpr int kAccumulators = kManyRegisters ? 28 : RANVIER_HAS_FMA ? 12 : 8;
constexpr int kTileRows = kAccumulators / kTileVectors;

// A tile has 1, 2, 4 or 8 vectors. Few rows leave registers for a wide one, which hides the FMA's latency and
// reads b in longer runs. In float64, which is rare, four vectors of four rows or more are not worth their
// size.
template <class T>
constexpr int tile_vectors(int rows) {
  const bool four = sizeof(T) == sizeof(float) || rows < 4;
  return rows * 8 <= kAccumulators ? 8 : rows * 4 <= kAccumulators && four ? 4 : 2;
}

// With few registers, tiles of float32 of three vectors besides: four rows of them load less for each FMA
// than six of two.
constexpr bool kOddTiles = RANVIER_HAS_FMA && !kManyRegisters;
constexpr int kRowsOfThree = 4;

// Masked loads and stores cost no more than whole ones.
constexpr bool kMasks = RANVIER_VECTOR_BYTES == 64;

// Where larger code is worth its size: not in float64, nor on machines without FMA, which are rare.
template <class T>
constexpr bool kFrequent = RANVIER_HAS_FMA && sizeof(T) == sizeof(float);

// Large products of float64 at AVX-512: the tile of kTileRows rows packs b, or fetches a packed a ahead,
// which takes a line and three quarters in each step. Other levels are not measured.
template <class T>
constexpr bool kFetchesPacked = kMasks && sizeof(T) == sizeof(double);

// Tiles of this many vectors and at least this many rows pack b as they go, if kPacks.
template <class T>
constexpr bool kPacks = kFrequent<T> || kFetchesPacked<T>;
template <class T>
constexpr int kPackingRows = !kFrequent<T>    ? kTileRows
                             : kManyRegisters ? 10
                             : kOddTiles      ? kRowsOfThree
                                              : 3;
constexpr int kPackingVectors = kOddTiles ? 3 : kTileVectors;

static_assert(kOddTiles || tile_vectors<float>(kPackingRows<float>) == kPackingVectors);

// kc: the most products in one chain of a sum. It decides the bits of every result: the same at all levels
// and on every machine. A panel of b, kc x 2 vectors, is then about as large as L1.
constexpr int64_t kSumBlock = 384;

// The same for products by AMX, in pairs: a panel of 32 rows of a stays in L1.
constexpr int64_t kAmxBlock = 256;

// See gemv.h: rows of b at once, for this many rows of a, whose elements are held in registers; and bytes of
// sums, which leave half of L1 to b.
template <int kRows>
constexpr int kGemvSteps = kManyRegisters || kRows <= 3 ? 4 : 2;
constexpr int kGemvBytes = 16 << 10;

}  // namespace ranvier::RANVIER_ISA
