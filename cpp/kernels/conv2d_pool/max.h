// The maximum of a window and its offset, in the lanes of a vector. Included by ISA files only.
#pragma once
#include "simd/bytes.h"
#include "simd/vec.h"

namespace ranvier::RANVIER_ISA {

struct WindowMax {
  vec<float> best;
  ivec<float> offset;
};

// The window's taps in order: of equal ones the first stays, a NaN beats all before it.
RANVIER_INLINE void meet(WindowMax& m, vec<float> v, int at) {
  const ivec<float> better = (v > m.best) | (v != v);
  m.best = select(better, v, m.best);
  m.offset = select(better, ibroadcast<float>(at), m.offset);
}

// What a maximum is at least: 0 with ReLU.
RANVIER_INLINE vec<float> floor_of(bool relu) {
  return relu ? vec<float>{} : vec<float>{} - __builtin_inff();
}

// n lanes, 0 < n <= lanes; where: or null. Masked stores cost as much as others at some levels, and much more
// at the rest.
RANVIER_INLINE void store_max(vec<float> best, ByteLanes<float>::type offset, int n, float* y,
                              uint8_t* where) {
  RANVIER_VECTOR_BYTES < 64 && n == lanes<float> ? store(y, best) : store_n(y, best, n);
  if (where) store_bytes(where, offset, n);
}

// The maximum of four values none of which is a NaN. `maximum` gives its second argument of equal ones.
RANVIER_INLINE void store_max_of_numbers(const vec<float> (&v)[4], const SmallInts (&offset)[4],
                                         vec<float> floor, int n, float* y, uint8_t* where) {
  const vec<float> upper = maximum(v[1], v[0]), lower = maximum(v[3], v[2]);
  const SmallInts in_upper = if_greater(v[1], v[0], offset[1], offset[0]);
  const SmallInts in_lower = if_greater(v[3], v[2], offset[3], offset[2]);
  store_max(maximum(maximum(lower, upper), floor), to_bytes(if_greater(lower, upper, in_lower, in_upper)), n,
            y, where);
}

}  // namespace ranvier::RANVIER_ISA
