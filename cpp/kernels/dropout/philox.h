// Philox4x32-10 on the lanes of vectors, for one ISA level.
#pragma once
#include "kernels/dropout/dropout.h"
#include "simd/vec.h"
#include "simd/wide_multiply.h"

namespace ranvier::RANVIER_ISA {

typedef uvec<float> words;  // 32 bits a lane

RANVIER_INLINE words all_words(uint32_t x) { return x - words{}; }

// Ten rounds on `lanes<float>` counters (low, high, call): the four words of each.
RANVIER_INLINE void philox(RandomKey key, words low, uint32_t high, words (&out)[4]) {
  words c0 = low, c1 = all_words(high);
  words c2 = all_words(static_cast<uint32_t>(key.call)),
        c3 = all_words(static_cast<uint32_t>(key.call >> 32));
  uint32_t k0 = static_cast<uint32_t>(key.key), k1 = static_cast<uint32_t>(key.key >> 32);
#pragma GCC unroll 10
  for (int round = 0; round < 10; ++round, k0 += 0x9E3779B9u, k1 += 0xBB67AE85u) {
    words high0, low0, high1, low1;
    multiply_wide(c0, 0xD2511F53u, high0, low0);
    multiply_wide(c2, 0xCD9E8D57u, high1, low1);
    c0 = high1 ^ c1 ^ k0;
    c1 = low1;
    c2 = high0 ^ c3 ^ k1;
    c3 = low0;
  }
  out[0] = c0, out[1] = c1, out[2] = c2, out[3] = c3;
}

// The words of one group in the order of its elements.
RANVIER_INLINE void random_group(RandomKey key, int64_t group, uint32_t* out) {
  const uint64_t counter = static_cast<uint64_t>(group) * 16;
  for (int i = 0; i < 16; i += lanes<float>) {
    words low = all_words(static_cast<uint32_t>(counter) + i);
    for (int lane = 0; lane < lanes<float>; ++lane) low[lane] += lane;
    words four[4];
    philox(key, low, static_cast<uint32_t>(counter >> 32), four);
    for (int word = 0; word < 4; ++word)
      __builtin_memcpy(out + 16 * word + i, &four[word], sizeof four[word]);
  }
}

}  // namespace ranvier::RANVIER_ISA
