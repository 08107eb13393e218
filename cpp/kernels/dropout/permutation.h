// The numbers 0 to n - 1 in random order: that of NumPy's Generator(Philox(seed)).permutation(n), to the bit.
#pragma once
#include <cstdint>

namespace ranvier {

// order has room for n < 2**32 numbers.
void permutation(uint64_t seed, int64_t n, int64_t* order);

}  // namespace ranvier
