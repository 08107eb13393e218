// Integer divisions that round up.
#pragma once
#include <cstdint>

namespace ranvier {

// The least integer that is at least a / b, for b > 0. Where the result is 0 or 1 there is no division, since
// the plan of a small matrix product would consist mostly of divisions.
static inline int64_t ceil_div(int64_t a, int64_t b) {
  if (a > b) return (a + b - 1) / b;
  return a > -b ? a > 0 : a / b;
}
// The least multiple of `to` that is at least n.
static inline int64_t round_up(int64_t n, int64_t to) { return ceil_div(n, to) * to; }

}  // namespace ranvier
