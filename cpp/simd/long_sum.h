// LongSum: a sum of any number of vectors, lane by lane, whose error does not grow with their number. The
// vectors are added up in blocks by the caller; the totals of blocks are added with what each addition has
// lost. Source: Knuth, The Art of Computer Programming, volume 2, 4.2.2 (TwoSum).
#pragma once
#include "simd/vec.h"

namespace ranvier::RANVIER_ISA {

constexpr int64_t kSumBlock = 64;  // vectors that are added up before their total goes to a LongSum

template <class T>
struct LongSum {
  vec<T> total{}, lost{};

  RANVIER_INLINED void add(vec<T> block) {
    const vec<T> sum = total + block;
    const vec<T> added = sum - total;
    lost += (total - (sum - added)) + (block - added);
    total = sum;
  }
  // What was lost is NaN after an infinite total.
  RANVIER_INLINED vec<T> value() const { return total + select(lost == lost, lost, vec<T>{}); }
};

template <class T>
__attribute__((noinline)) static void add_blocks(LongSum<T>* sums, const vec<T>* blocks, int count) {
  for (int i = 0; i < count; ++i) sums[i].add(blocks[i]);
}

// Adds the totals of `count` blocks to as many sums, and clears them. The call reads a copy, so that the
// totals can stay in registers in the loop over a block.
template <int count, class T>
RANVIER_INLINE void end_blocks(LongSum<T>* sums, vec<T>* blocks) {
  vec<T> ended[count];
  for (int i = 0; i < count; ++i) {
    ended[i] = blocks[i];
    blocks[i] = vec<T>{};
  }
  add_blocks(sums, ended, count);
}

}  // namespace ranvier::RANVIER_ISA
