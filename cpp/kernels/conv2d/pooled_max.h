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
RANVIER_INLINE void meet(WindowMax& max, vec<float> v, int at) {
  const ivec<float> better = (v > max.best) | (v != v);
  max.best = select(better, v, max.best);
  max.offset = select(better, ibroadcast<float>(at), max.offset);
}

// n lanes of it, 0 < n <= lanes; where: or null.
RANVIER_INLINE void store_max(const WindowMax& m, vec<float> floor, int n, float* y, uint8_t* where) {
  const vec<float> best = max(m.best, floor);
  n == lanes<float> ? store(y, best) : store_n(y, best, n);
  if (!where) return;
  const auto bytes = narrow_to_bytes(m.offset);
  if (n == lanes<float>)
    __builtin_memcpy(where, &bytes, sizeof bytes);
  else
    for (int i = 0; i < n; ++i) where[i] = bytes[i];
}

}  // namespace ranvier::RANVIER_ISA
