// Finds out which instructions for bfloat16 the processor has, and keeps each thread's precision: see
// precision.h.
#include "base/precision.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <initializer_list>

#include "base/isa.h"
#include "base/system.h"
#if RANVIER_HAS_v4
#include <cpuid.h>
#include <x86intrin.h>
#endif

namespace ranvier {
namespace {

std::atomic<Precision> g_precision{Precision::highest};
thread_local int t_precision = -1;
std::atomic<int> g_bfloat16{-1};       // a Bfloat16, or -1: not yet chosen
std::atomic<int> g_byte_products{-1};  // a ByteProducts, or -1

#if RANVIER_HAS_v4
bool is_at_v4() { return active_isa() == Isa::v4; }

// Bits of CPUID.
constexpr unsigned kAmxBfloat16 = 1u << 22;
constexpr unsigned kAmxInt8 = 1u << 25;

// True if the processor has AMX for this type, and the system saves the tiles (XCR0) and permits the process
// to use them.
bool has_amx(unsigned type) {
  unsigned a, b, c, d, low, high;
  const unsigned tiles = 1u << 24 | type;  // AMX-TILE
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & tiles) != tiles) return false;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE)) return false;
  asm("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  constexpr unsigned kSaved = 3u << 17;  // configuration and data
  return (low & kSaved) == kSaved && may_use_tiles();
}

bool has(Bfloat16 kind) {
  if (kind == Bfloat16::none) return true;
  if (!isa_supported(Isa::v4) || !__builtin_cpu_supports("avx512bf16")) return false;
  if (kind == Bfloat16::pairs) return true;
#if !RANVIER_EMULATED_TILES
  if (kind == Bfloat16::emulated) return false;
#endif
  static const bool amx = has_amx(kAmxBfloat16);
  return kind == Bfloat16::emulated || amx;
}

// The cycles of 64 times 12 of these instructions, which do not depend on each other: the least of 64 runs,
// of which some are not interrupted.
#define RANVIER_CYCLES(instruction)                                                                    \
  [] {                                                                                                 \
    uint64_t least = UINT64_MAX;                                                                       \
    for (int run = 0; run < 64; ++run) {                                                               \
      int64_t left = 64;                                                                               \
      const uint64_t begin = __rdtsc();                                                                \
      asm volatile("vzeroall\nlfence\n1:\n.irp sum, 0,1,2,3,4,5,6,7,8,9,10,11\n" instruction           \
                   " %%zmm14, %%zmm15, %%zmm\\sum\n.endr\ndec %0\njnz 1b\nlfence\nvzeroupper"          \
                   : "+r"(left)::"cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", \
                     "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");            \
      least = std::min<uint64_t>(least, __rdtsc() - begin);                                            \
    }                                                                                                  \
    return least;                                                                                      \
  }()

// The cycles of 64 times 4 products of whole tiles, measured in the same way; opcode: 0x5c is tdpbf16ps, 0x5e
// tdpbsud. The instructions are bytes, since an assembler refuses their names outside of files of level v4.
template <int opcode>
uint64_t tile_cycles() {
  const TileConfiguration config;
  release_tiles();
  uint64_t least = UINT64_MAX;
  for (int run = 0; run < 64; ++run) {
    int64_t left = 64;
    const uint64_t begin = __rdtsc();
    asm volatile(
        ".byte 0xc4, 0xe2, 0x78, 0x49, 0x00\nlfence\n1:\n"  // ldtilecfg (%rax)
        ".irp sum, 0xc4, 0xcc, 0xd4, 0xdc\n.byte 0xc4, 0xe2, 0x4a, %c2, \\sum\n.endr\n"
        "dec %0\njnz 1b\nlfence\n.byte 0xc4, 0xe2, 0x78, 0x49, 0xc0"  // tilerelease
        : "+r"(left)
        : "a"(&config), "i"(opcode), "m"(config)
        : "cc");
    least = std::min<uint64_t>(least, __rdtsc() - begin);
  }
  return least;
}

// True if tiles have at least twice the rate of FMA, so that of pairs; a tile has 512 times as many products
// as a vector. Where they are fast, they have 16 times that rate.
bool tiles_pay() {
  static const bool pay = 3 * tile_cycles<0x5c>() < 256 * RANVIER_CYCLES("vfmadd231ps");
  return pay;
}

// The same for bytes, beside VNNI: a tile has 256 times as many products as a vector.
bool byte_tiles_pay() {
  static const bool pay = 3 * tile_cycles<0x5e>() < 128 * RANVIER_CYCLES("vpdpbusd");
  return pay;
}

// True if pairs have so much more products in a cycle than FMA that packing pairs pays. Processors have
// either twice the rate of FMA or a third of it, so that each measurement gives the same answer.
bool pairs_pay() {
  static const bool pay = 2 * RANVIER_CYCLES("vdpbf16ps") < 3 * RANVIER_CYCLES("vfmadd231ps");
  return pay;
}

bool has(ByteProducts kind) {
  if (kind == ByteProducts::words) return true;
  if (!isa_supported(Isa::v4) || !__builtin_cpu_supports("avx512vnni")) return false;
  if (kind == ByteProducts::vnni) return true;
#if !RANVIER_EMULATED_TILES
  if (kind == ByteProducts::emulated) return false;
#endif
  static const bool amx = has_amx(kAmxInt8);
  return kind == ByteProducts::emulated || amx;
}

// Words take two instructions, and one to widen the codes, for half as many products.
ByteProducts fastest_of_bytes() {
  if (has(ByteProducts::tiles) && byte_tiles_pay()) return ByteProducts::tiles;
  static const bool pays =
      has(ByteProducts::vnni) &&
      RANVIER_CYCLES("vpdpbusd") < 2 * RANVIER_CYCLES("vpmaddwd") + RANVIER_CYCLES("vpaddd");
  return pays ? ByteProducts::vnni : ByteProducts::words;
}

Bfloat16 fastest() {
  if (has(Bfloat16::tiles) && tiles_pay()) return Bfloat16::tiles;
  if (has(Bfloat16::pairs) && pairs_pay()) return Bfloat16::pairs;
  return Bfloat16::none;
}
#else
bool is_at_v4() { return false; }
bool has(Bfloat16 kind) { return kind == Bfloat16::none; }
Bfloat16 fastest() { return Bfloat16::none; }
bool has(ByteProducts kind) { return kind == ByteProducts::words; }
ByteProducts fastest_of_bytes() { return ByteProducts::words; }
#endif

// Chooses a kind of instructions by its name, or the fastest for "auto". All but the first, which every
// processor has, need level v4. Returns false, and changes nothing, for a kind that is not available.
template <class Kind>
bool choose(const char* name, std::initializer_list<const char*> names, Kind (*fastest)(),
            std::atomic<int>& chosen) {
  if (!std::strcmp(name, "auto")) {
    chosen.store(static_cast<int>(fastest()));
    return true;
  }
  int kind = 0;
  for (const char* one : names) {
    if (!std::strcmp(name, one)) {
      if (!has(static_cast<Kind>(kind)) || (kind > 0 && !is_at_v4())) return false;
      chosen.store(kind);
      return true;
    }
    ++kind;
  }
  return false;
}

}  // namespace

__thread int t_tiles = 0;

void release_tiles() {
#if RANVIER_HAS_v4
  if (t_tiles & kRealTiles) asm volatile(".byte 0xc4, 0xe2, 0x78, 0x49, 0xc0");  // tilerelease
#endif
  t_tiles = 0;
}

Precision precision() { return g_precision.load(std::memory_order_relaxed); }

void set_precision(Precision precision) { g_precision.store(precision); }

Precision current_precision() { return t_precision < 0 ? precision() : static_cast<Precision>(t_precision); }

int own_precision() { return t_precision; }

int set_own_precision(int precision) {
  const int before = t_precision;
  t_precision = precision;
  return before;
}

bool set_bfloat16(const char* name) {
  return choose(name, {"none", "pairs", "tiles", "emulated"}, fastest, g_bfloat16);
}

// The instructions for bfloat16 in use: the fastest that the processor has, or those that the environment
// variable RANVIER_BFLOAT16 names. They are chosen at the first call.
Bfloat16 bfloat16() {
  if (!is_at_v4()) return Bfloat16::none;
  int kind = g_bfloat16.load(std::memory_order_relaxed);
  if (kind < 0) {
    const char* wanted = std::getenv("RANVIER_BFLOAT16");
    if (!wanted || !*wanted || !set_bfloat16(wanted)) set_bfloat16("auto");
    kind = g_bfloat16.load();
  }
  return static_cast<Bfloat16>(kind);
}

bool set_byte_products(const char* name) {
  return choose(name, {"words", "vnni", "tiles", "emulated"}, fastest_of_bytes, g_byte_products);
}

// The instructions for bytes in use: the fastest that the processor has, or those that the environment
// variable RANVIER_BYTE_PRODUCTS names. They are chosen at the first call.
ByteProducts byte_products() {
  if (!is_at_v4()) return ByteProducts::words;
  int kind = g_byte_products.load(std::memory_order_relaxed);
  if (kind < 0) {
    const char* wanted = std::getenv("RANVIER_BYTE_PRODUCTS");
    if (!wanted || !*wanted || !set_byte_products(wanted)) set_byte_products("auto");
    kind = g_byte_products.load();
  }
  return static_cast<ByteProducts>(kind);
}

}  // namespace ranvier
