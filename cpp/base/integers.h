// Divisions that round up.
#pragma once
#include <cstdint>

namespace ranvier {

// b > 0. Without a division where the answer is 0 or 1: small products would be mostly divisions.
static inline int64_t ceil_div(int64_t a, int64_t b) {
  if (a > b) return (a + b - 1) / b;
  return a > -b ? a > 0 : a / b;
}
static inline int64_t round_up(int64_t n, int64_t to) { return ceil_div(n, to) * to; }

}  // namespace ranvier
