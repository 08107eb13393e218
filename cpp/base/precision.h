// The precision of products of float32: rv.set_float32_matmul_precision().
#pragma once

namespace ranvier {

// "medium": the factors rounded to bfloat16, the sums in float32. "high": each factor is the sum of two such
// numbers; where the processor has no tiles, it is "highest".
enum class Precision { highest, high, medium, count };
Precision precision();
void set_precision(Precision precision);  // for all threads
Precision current_precision();            // the precision of this thread's calls, which keep it
inline bool is_medium() { return current_precision() == Precision::medium; }
// The precision of a block on this thread, which replaces that of all threads: a Precision, or -1 outside of
// blocks. Returns the one before.
int set_own_precision(int precision);
int own_precision();

// The instructions that multiply numbers of bfloat16 at the level in use. Each is chosen only where it takes
// less time than float32: pairs (vdpbf16ps) where their measured rate is higher than that of FMA; tiles (AMX)
// wherever they are, as they have fifteen times that rate. `emulated` tiles are for tests, and not in wheels.
enum class Bfloat16 { none, pairs, tiles, emulated };
Bfloat16 bfloat16();
// "auto", "none", "pairs", "tiles" or "emulated", also from RANVIER_BFLOAT16; false if it is not available.
bool set_bfloat16(const char* name);
inline bool has_bfloat16() { return bfloat16() != Bfloat16::none; }  // else medium has no effect
inline bool has_tiles() { return bfloat16() >= Bfloat16::tiles; }

// The products of unsigned by signed bytes at the level in use: by words of 16 bits; by AVX512_VNNI where
// that has the higher measured rate; by AMX for many rows, with the processor's tiles or emulated ones.
enum class ByteProducts { words, vnni, tiles, emulated };
ByteProducts byte_products();
bool set_byte_products(const char* name);  // one of these or "auto"; false if it is not available

// The configuration of this thread's tiles (simd/amx.h); 0: none. To configure them takes 120 ns.
extern __thread int t_tiles;
constexpr int kRealTiles = 1 << 16;  // a bit of t_tiles: they are the processor's
void release_tiles();
// Around what computes with tiles on a thread: they are released at its end, so that the system has nothing
// to save, and no other library's are taken for ours.
struct TileScope {
  TileScope() = default;
  TileScope(const TileScope&) = delete;
  ~TileScope() {
    if (t_tiles) release_tiles();
  }
};

}  // namespace ranvier
