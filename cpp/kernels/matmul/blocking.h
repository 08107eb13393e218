// Tile and block sizes of matmul at each ISA level. Included by matmul.isa.cpp only.
#pragma once
#include <cstdint>

namespace ranvier::RANVIER_ISA {

// rows x vectors accumulators, plus a row of b and one broadcast, fill the register file: 28 + 2 + 1 of 32,
// 12 + 2 + 1 of 16. Without FMA a product needs a register more: 8 + 2 + 1 + 1 of 16.
constexpr int kTileVectors = 2;
constexpr int kAccumulators = RANVIER_VECTOR_REGISTERS >= 32 ? 28 : RANVIER_HAS_FMA ? 12 : 8;
constexpr int kTileRows = RANVIER_VECTOR_REGISTERS >= 32 ? 14 : RANVIER_HAS_FMA ? 6 : 4;

// Few rows leave registers for a wider tile, which hides the FMA's latency and reads b in longer runs.
constexpr int kWideRows = 4;
constexpr int tile_vectors(int rows) {
  if (rows > kWideRows) return kTileVectors;
  return kAccumulators / rows < 8 ? kAccumulators / rows : 8;
}

// A strip of b, kc x nr, stays in L1 beside what passes of a (32 KB on the smallest cores we serve); a block
// of a, mc x kc, stays in half of a small L2; a panel of b, kc x nc, in the shared L3.
template <class T>
struct Blocking {
  static constexpr int64_t kc = 256;  // also fixes the order of the sums: the same for every problem
  static constexpr int64_t mc = kTileRows * (RANVIER_VECTOR_REGISTERS >= 32 ? 24 : 40) * 4 / sizeof(T);
  static constexpr int64_t nc = 4096 * 4 / sizeof(T);
};

}  // namespace ranvier::RANVIER_ISA
