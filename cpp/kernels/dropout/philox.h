// Philox4x32-10 on the lanes of vectors, for one ISA level.
#pragma once
#include "kernels/dropout/dropout.h"
#include "simd/vec.h"
#include "simd/wide_multiply.h"

namespace ranvier::RANVIER_ISA {

// Each 64-bit lane holds one counter's words in its low 32 bits: that is what the instruction multiplies;
// the high bits are ignored.
typedef uvec<double> wide;

RANVIER_INLINE wide all_lanes(uint32_t x) { return uint64_t{x} - wide{}; }

// Ten rounds on the counters (low, high, call): the four words of each.
RANVIER_INLINE void philox(RandomKey key, wide low, uint32_t high, wide (&out)[4]) {
  wide c0 = low, c1 = all_lanes(high);
  wide c2 = all_lanes(static_cast<uint32_t>(key.call)), c3 = all_lanes(static_cast<uint32_t>(key.call >> 32));
  uint32_t k0 = static_cast<uint32_t>(key.key), k1 = static_cast<uint32_t>(key.key >> 32);
#pragma GCC unroll 10
  for (int round = 0; round < 10; ++round, k0 += 0x9E3779B9u, k1 += 0xBB67AE85u) {
    const wide p0 = multiply_low(c0, 0xD2511F53u), p1 = multiply_low(c2, 0xCD9E8D57u);
    c0 = (p1 >> 32) ^ c1 ^ k0;
    c1 = p1;
    c2 = (p0 >> 32) ^ c3 ^ k1;
    c3 = p0;
  }
  out[0] = c0, out[1] = c1, out[2] = c2, out[3] = c3;
}

// The words of one group in the order of its elements: `lanes<float>` counters at a time, the even ones and
// the odd.
RANVIER_INLINE void random_group(RandomKey key, int64_t group, uint32_t* out) {
  const uint64_t counter = static_cast<uint64_t>(group) * 16;
  for (int i = 0; i < 16; i += lanes<float>) {
    wide even_counters = all_lanes(static_cast<uint32_t>(counter) + i), even[4], odd[4];
    for (int lane = 0; lane < lanes<double>; ++lane) even_counters[lane] += 2 * lane;
    philox(key, even_counters, static_cast<uint32_t>(counter >> 32), even);
    philox(key, even_counters + 1, static_cast<uint32_t>(counter >> 32), odd);
    for (int word = 0; word < 4; ++word) {
      const wide both = (even[word] & 0xffffffffull) | (odd[word] << 32);
      __builtin_memcpy(out + 16 * word + i, &both, sizeof both);
    }
  }
}

}  // namespace ranvier::RANVIER_ISA
