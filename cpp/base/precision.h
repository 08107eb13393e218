// The precision of products of float32 (rv.set_float32_matmul_precision()), and the instructions for bfloat16
// by which lower precisions are computed.
#pragma once
#include <cstdint>

namespace ranvier {

// "medium": factors are rounded to bfloat16, sums are float32. "high": each factor is the sum of two numbers
// of bfloat16; if the processor has no tiles (AMX), it is the same as "highest".
enum class Precision { highest, high, medium, count };
Precision precision();
void set_precision(Precision precision);  // for all threads
Precision current_precision();            // the precision that calls of this thread get when they are made
inline bool is_medium() { return current_precision() == Precision::medium; }
// Sets the precision of this thread for a block of code, instead of that of all threads: a Precision, or -1
// for none. Returns the one before.
int set_own_precision(int precision);
int own_precision();

// The instructions that multiply numbers of bfloat16 at the active level. They are used only if they take
// less time than float32: pairs (vdpbf16ps) if their measured rate is higher than that of FMA, tiles (AMX) if
// it is at least twice as high. `emulated` tiles are for tests, and not in wheels.
enum class Bfloat16 { none, pairs, tiles, emulated };
Bfloat16 bfloat16();
// "auto", "none", "pairs", "tiles" or "emulated", also from RANVIER_BFLOAT16; false if it is not available.
bool set_bfloat16(const char* name);
inline bool has_bfloat16() { return bfloat16() != Bfloat16::none; }  // false: "medium" has no effect
inline bool has_tiles() { return bfloat16() >= Bfloat16::tiles; }

// The products of unsigned by signed bytes at the level in use: by words of 16 bits; by AVX512_VNNI where
// that has the higher measured rate; by AMX for many rows, if it has twice the rate of VNNI, with the
// processor's tiles or emulated ones. RANVIER_BYTE_PRODUCTS chooses other ones.
enum class ByteProducts { words, vnni, tiles, emulated };
ByteProducts byte_products();
bool set_byte_products(const char* name);  // one of these or "auto"; false if it is not available

// What the instruction reads that configures the tiles: here all 8 of 16 rows of 64 bytes.
struct TileConfiguration {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
// The configuration of the tile registers of this thread (simd/amx.h); 0: none. Configuring them takes 120
// ns.
extern __thread int t_tiles;
constexpr int kRealTiles = 1 << 16;  // a bit of t_tiles: they are the processor's
void release_tiles();
// Exists while a thread computes with tiles. They are released at its end, so that the system need not save
// them, and that the configuration of another library is not taken for this one.
struct TileScope {
  TileScope() = default;
  TileScope(const TileScope&) = delete;
  ~TileScope() {
    if (t_tiles) release_tiles();
  }
};

}  // namespace ranvier
