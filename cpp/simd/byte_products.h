// Products of unsigned codes by signed integers of 8 bits, added to sums of 32 bits without overflow: the
// arithmetic of quantized matrix products. kernels/quantized/tile.h, which includes this file alone, calls
// it.
//
// A line is 64 codes of 8 bits: 4 neighbours along k (a quad) for each of 16 columns:
//
//   byte    0    1    2    3  |   4    5    6    7  | ... |  60 ... 63
//   code  k,0  k+1,0 k+2,0 k+3,0 | k,1 ... k+3,1    | ... | k,15 ... k+3,15      (k, column)
//
// A struct below is one way to multiply: BytesByVnni (AVX512_VNNI), WordsByPairs (any 8 bits), NibblesByPairs
// (codes below 16) and WordsOneByOne (plain C++). Each divides a line into kParts parts of kPartBytes bytes;
// a part is one vector of codes and has a vector of sums. All give the same sums, which are exact. Each has
//
//   Integer         the type that an integer of x has in memory
//   factors(x)      4 neighbours of x, once for each column
//   codes<half>(p)  a part: all 8 bits of each byte, its low 4 (half = 0) or its high 4 (half = 1)
//   start(c)        the first sums: c for each column, or 0
//   add(s, c, x)    s plus the products of a part
//   finish(s, c, y) the sums of the 16 columns, in order; c is added here where start() did not
#pragma once
#include <stdint.h>

#include "simd/vec.h"

namespace ranvier::RANVIER_ISA {

constexpr int kWhole = 2;                          // for `half`: all bits of a byte
constexpr int kColumnVectors = 16 / lanes<float>;  // the vectors of float32 that 16 columns fill

// The codes of bytes: all bits, or of two codes in a byte the low (half = 0) or the high one (half = 1).
template <int half, class Bytes>
RANVIER_INLINE Bytes bits_of(Bytes v) {
  if constexpr (half == 0) return v & 15;
  if constexpr (half == 1) return v >> 4;
  return v;
}

#if __AVX512VNNI__

// VPDPBUSD: four products of bytes added to each sum.
struct BytesByVnni {
  using Integer = int8_t;
  using Codes = __m512i;
  using Factors = __m512i;
  using Sums = __m512i;
  static constexpr int kParts = 1, kPartBytes = 64;
  static RANVIER_INLINED Codes factors(const int8_t* x) {
    int32_t four;
    __builtin_memcpy(&four, x, sizeof four);
    return _mm512_set1_epi32(four);
  }
  template <int half>
  static RANVIER_INLINED Codes codes(const uint8_t* p) {
    typedef uint8_t Bytes __attribute__((vector_size(64)));
    return (Codes)bits_of<half>((Bytes)_mm512_loadu_si512(p));
  }
  static RANVIER_INLINED Sums start(int32_t c) { return _mm512_set1_epi32(c); }
  // In assembler: GCC 12 would copy s before each of its own.
  static RANVIER_INLINED Sums add(Sums s, Codes c, Codes x) {
    asm("vpdpbusd %2, %1, %0" : "+v"(s) : "v"(c), "v"(x));
    return s;
  }
  static RANVIER_INLINED void finish(const Sums* s, int32_t, ivec<float>* y) { y[0] = (ivec<float>)s[0]; }
};

#elif defined(__SSE4_1__)

// PMADDWD: codes as words of 16 bits. A sum has two lanes, of the first two neighbours and of the others.
struct WordsByPairs {
  using Integer = int16_t;
  static constexpr int kParts = 128 / RANVIER_VECTOR_BYTES, kPartBytes = RANVIER_VECTOR_BYTES / 2;
  typedef int64_t Quads __attribute__((vector_size(RANVIER_VECTOR_BYTES)));
#if RANVIER_VECTOR_BYTES == 64
  using Codes = __m512i;
  using Bytes = __m256i;
  static RANVIER_INLINED Codes words(Bytes b) { return _mm512_maskz_cvtepu8_epi16(~__mmask32(0), b); }
  static RANVIER_INLINED Codes add(Codes s, Codes c, Codes x) {
    return _mm512_add_epi32(s, _mm512_madd_epi16(c, x));
  }
  // The two lanes of each column added: every second lane of both vectors.
  static RANVIER_INLINED void finish(const Codes* s, int32_t, ivec<float>* y) {
    const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    const auto joined = [](Codes v) { return (Codes)((Quads)v + ((Quads)v >> 32)); };
    y[0] = (ivec<float>)_mm512_permutex2var_epi32(joined(s[0]), even, joined(s[1]));
  }
#elif RANVIER_VECTOR_BYTES == 32
  using Codes = __m256i;
  using Bytes = __m128i;
  static RANVIER_INLINED Codes words(Bytes b) { return _mm256_cvtepu8_epi16(b); }
  static RANVIER_INLINED Codes add(Codes s, Codes c, Codes x) {
    return _mm256_add_epi32(s, _mm256_madd_epi16(c, x));
  }
  static RANVIER_INLINED void finish(const Codes* s, int32_t, ivec<float>* y) {
    for (int v = 0; v < 2; ++v)
      y[v] = (ivec<float>)_mm256_permute4x64_epi64(_mm256_hadd_epi32(s[2 * v], s[2 * v + 1]), 0xd8);
  }
#else
  using Codes = __m128i;
  using Bytes = int64_t;
  static RANVIER_INLINED Codes words(Bytes b) { return _mm_cvtepu8_epi16(_mm_cvtsi64_si128(b)); }
  static RANVIER_INLINED Codes add(Codes s, Codes c, Codes x) {
    return _mm_add_epi32(s, _mm_madd_epi16(c, x));
  }
  static RANVIER_INLINED void finish(const Codes* s, int32_t, ivec<float>* y) {
    for (int v = 0; v < 4; ++v) y[v] = (ivec<float>)_mm_hadd_epi32(s[2 * v], s[2 * v + 1]);
  }
#endif
  using Sums = Codes;
  using Factors = Codes;
  static RANVIER_INLINED Codes factors(const int16_t* x) {
    int64_t four;
    __builtin_memcpy(&four, x, sizeof four);
    return (Codes)(four - Quads{});
  }
  template <int half>
  static RANVIER_INLINED Codes codes(const uint8_t* p) {
    typedef uint8_t Lanes __attribute__((vector_size(sizeof(Bytes))));
    Lanes b;
    __builtin_memcpy(&b, p, sizeof b);
    b = bits_of<half>(b);
    Bytes bytes;
    __builtin_memcpy(&bytes, &b, sizeof b);
    return words(bytes);
  }
  static RANVIER_INLINED Sums start(int32_t c) { return (Sums)(int64_t(uint32_t(c)) - Quads{}); }
};

// PMADDUBSW, of codes below 16 alone: in the 8 quads of a group the two products of a lane, of at most 15 *
// 127 each, add up to less than 2^15. Sums have 16 bits until the group ends.
struct NibblesByPairs {
  using Integer = int8_t;
  static constexpr int kParts = 64 / RANVIER_VECTOR_BYTES, kPartBytes = RANVIER_VECTOR_BYTES;
  using Codes = WordsByPairs::Codes;
  using Factors = Codes;
  using Sums = Codes;
  typedef uint8_t Bytes __attribute__((vector_size(RANVIER_VECTOR_BYTES)));
  typedef int16_t Words __attribute__((vector_size(RANVIER_VECTOR_BYTES)));
  static RANVIER_INLINED Codes factors(const int8_t* x) {
    int32_t four;
    __builtin_memcpy(&four, x, sizeof four);
    return (Codes)ibroadcast<float>(four);
  }
  template <int half>
  static RANVIER_INLINED Codes codes(const uint8_t* p) {
    Bytes b;
    __builtin_memcpy(&b, p, sizeof b);
    return (Codes)bits_of<half>(b);
  }
  static RANVIER_INLINED Sums start(int32_t) { return Sums{}; }
#if RANVIER_VECTOR_BYTES == 64
  static RANVIER_INLINED Codes pairs(Codes c, Codes x) { return _mm512_maddubs_epi16(c, x); }
  static RANVIER_INLINED Codes widened(Codes s) { return _mm512_madd_epi16(s, _mm512_set1_epi16(1)); }
#elif RANVIER_VECTOR_BYTES == 32
  static RANVIER_INLINED Codes pairs(Codes c, Codes x) { return _mm256_maddubs_epi16(c, x); }
  static RANVIER_INLINED Codes widened(Codes s) { return _mm256_madd_epi16(s, _mm256_set1_epi16(1)); }
#else
  static RANVIER_INLINED Codes pairs(Codes c, Codes x) { return _mm_maddubs_epi16(c, x); }
  static RANVIER_INLINED Codes widened(Codes s) { return _mm_madd_epi16(s, _mm_set1_epi16(1)); }
#endif
  static RANVIER_INLINED Sums add(Sums s, Codes c, Codes x) { return (Sums)((Words)s + (Words)pairs(c, x)); }
  static RANVIER_INLINED void finish(const Sums* s, int32_t c, ivec<float>* y) {
    for (int v = 0; v < kParts; ++v) y[v] = (ivec<float>)widened(s[v]) + c;
  }
};

using ByteProducts = WordsByPairs;
using NibbleProducts = NibblesByPairs;

#else

// In plain C++.
struct WordsOneByOne {
  using Integer = int16_t;
  static constexpr int kParts = 1, kPartBytes = 64;
  struct Codes {
    uint8_t of[64];
  };
  struct Factors {
    int16_t of[4];
  };
  struct Sums {
    int32_t of[16];
  };
  static RANVIER_INLINED Factors factors(const int16_t* x) {
    Factors four;
    __builtin_memcpy(&four, x, sizeof four);
    return four;
  }
  template <int half>
  static RANVIER_INLINED Codes codes(const uint8_t* p) {
    Codes c;
    for (int i = 0; i < 64; ++i) c.of[i] = static_cast<uint8_t>(bits_of<half>(p[i]));
    return c;
  }
  static RANVIER_INLINED Sums start(int32_t c) {
    Sums s;
    for (int j = 0; j < 16; ++j) s.of[j] = c;
    return s;
  }
  static RANVIER_INLINED Sums add(Sums s, const Codes& c, const Factors& x) {
    for (int j = 0; j < 16; ++j)
      for (int i = 0; i < 4; ++i) s.of[j] += int32_t(c.of[4 * j + i]) * x.of[i];
    return s;
  }
  static RANVIER_INLINED void finish(const Sums* s, int32_t, ivec<float>* y) {
    __builtin_memcpy(y, s, sizeof *s);
  }
};

using ByteProducts = WordsOneByOne;
using NibbleProducts = WordsOneByOne;

#endif

}  // namespace ranvier::RANVIER_ISA
