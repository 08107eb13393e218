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
// reads b in longer runs.
constexpr int tile_vectors(int rows) {
  return rows * 8 <= kAccumulators ? 8 : rows * 4 <= kAccumulators ? 4 : 2;
}

// Tiles of two vectors and at least so many rows pack b as they go.
constexpr int kPackingRows = kManyRegisters ? 8 : RANVIER_HAS_FMA ? 4 : 3;

static_assert(tile_vectors(kPackingRows) == kTileVectors);

// With 32 registers a strip of b, kc x 2 vectors, is as large as a small L1: there a panel of a, rows x kc,
// stays in L1 while the strips of a group pass, which stays in half of a small L2. Else a strip is a group of
// its own and stays in L1, and a's block, mc x kc, in L2. A panel of b, kc x nc, stays in the shared L3.
template <class T>
struct Blocking {
  static constexpr int64_t kc = 384;  // also fixes the order of the sums: the same for every problem
  static constexpr int64_t mc = kTileRows * (kManyRegisters ? 24 : 40) * 4 / sizeof(T);
  static constexpr int64_t nc = 4096 * 4 / sizeof(T);
  static constexpr int strips = kManyRegisters ? 12 : 1;  // of a group
};

// A block of b of so many bytes is read where it lies: from L2 where strips pass, else from L1.
constexpr int64_t kNearB = kManyRegisters ? 200 << 10 : 16 << 10;

// Bytes of a strip of b, or a panel of a, that tiles go through from the first product to the last: both pass
// from L2 as quickly as from L1, or stay in L1.
constexpr int64_t kNearStrip = kManyRegisters ? 256 << 10 : 48 << 10;

// See stream.h: rows of b at once, for so many rows of a, whose elements are held in registers; and bytes of
// sums, which leave half of L1 to b.
template <int kRows>
constexpr int kStreamSteps = kManyRegisters || kRows <= 3 ? 4 : 2;
constexpr int kStreamBytes = 16 << 10;

}  // namespace ranvier::RANVIER_ISA
