// The instructions of AMX, the matrix registers of some x86-64 processors. There are eight registers, called
// tiles, of up to 16 rows of 64 bytes. A row has 16 floats, or 16 pairs of bfloat16. As used here, tiles 0 to
// 3 are sums; 4 and 5 are left factors, 4 for the sums 0 and 1, 5 for 2 and 3; 6 and 7 are right factors of
// 16 rows. For files of level v4 whose functions are called only where has_tiles() holds, and within a
// TileScope (base/precision.h).
#pragma once
#include <stdint.h>

#include "base/precision.h"
#include "simd/vec.h"

namespace ranvier::RANVIER_ISA {

struct AmxTiles {
  // Sets the rows of the tiles 0, 1 and 4 (top), and of 2, 3 and 5 (bottom; 0: not used). The contents of all
  // tiles are lost if this changes the configuration.
  static void configure(int top, int bottom) {
    if (!changes(top, bottom)) return;
    TileConfiguration config;
    const auto first = static_cast<uint8_t>(top);
    const int second_rows = bottom ? bottom : 16;
    const auto second = static_cast<uint8_t>(second_rows);
    const uint8_t rows[] = {first, first, second, second, first, second, 16, 16};
    __builtin_memcpy(config.rows, rows, sizeof rows);
    asm volatile("ldtilecfg %0" : : "m"(config));
    t_tiles |= kRealTiles;
  }
  // Notes the configuration in t_tiles, and returns true if it was another one. That removes kRealTiles,
  // which configure() sets again; emulated tiles (amx_emulated.h), which call this, too, leave it unset.
  static bool changes(int top, int bottom) {
    const int before = t_tiles & ~kRealTiles;
    const int now = top | bottom << 8;
    if (now != before) t_tiles = now;
    return now != before;
  }
  template <int kTile>
  static inline __attribute__((always_inline)) void zero() {
    asm volatile("tilezero %%tmm%c0" : : "i"(kTile));
  }
  // bytes: from one row in memory to the next.
  template <int kTile>
  static inline __attribute__((always_inline)) void load(const float* p, int64_t bytes) {
    asm volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(p), "r"(bytes), "i"(kTile) : "memory");
  }
  template <int kTile>
  static inline __attribute__((always_inline)) void store(float* p, int64_t bytes) {
    asm volatile("tilestored %%tmm%c2, (%0,%1,1)" : : "r"(p), "r"(bytes), "i"(kTile) : "memory");
  }
  // c += a b, where a has rows of pairs along k and b has pairs of two rows in each column.
  template <int kC, int kA, int kB>
  static inline __attribute__((always_inline)) void multiply() {
    asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(kC), "i"(kA), "i"(kB));
  }
  // The same of bytes, four neighbours at a time, to sums of int32: a with signs, b without.
  template <int kC, int kA, int kB>
  static inline __attribute__((always_inline)) void multiply_bytes() {
    asm volatile("tdpbsud %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(kC), "i"(kA), "i"(kB));
  }
};

}  // namespace ranvier::RANVIER_ISA
