// Congruence: finds the integers t >= 0 for which a + t * step is a multiple of n. They are first(a) + k *
// period, k >= 0.
#pragma once
#include <cstdint>

namespace ranvier {

struct Congruence {
  int64_t n, divisor, period, inverse;  // divisor: of step and n; inverse: of step / divisor, modulo period

  __attribute__((always_inline)) int64_t first(int64_t a) const {  // -1 if there is no such t
    if (n == 1) return 0;
    const int64_t rest = (n - a % n) % n;  // t * step has to be that, modulo n
    if (rest % divisor != 0) return -1;
    return rest / divisor % period * inverse % period;
  }
};

// By the extended Euclidean algorithm. n >= 1; step and n are below 2**31.
static inline Congruence congruence(int64_t step, int64_t n) {
  if (n == 1) return {1, 1, 1, 0};
  int64_t a = n;
  int64_t b = (step % n + n) % n;
  int64_t x = 0;
  int64_t y = 1;  // b = y * step modulo n, and so a with x
  while (b != 0) {
    const int64_t quotient = a / b;
    const int64_t rest = a - quotient * b;
    const int64_t before = x - quotient * y;
    a = b;
    b = rest;
    x = y;
    y = before;
  }
  const int64_t period = n / a;
  return {n, a, period, (x % period + period) % period};
}

}  // namespace ranvier
