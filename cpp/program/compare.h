// compare: how far two results are apart, and sums by which memory is known to be unchanged.
#pragma once
#include <cstddef>
#include <cstdint>

#include "base/views.h"

namespace ranvier {

// The largest difference of what one instruction writes, and the largest element of the results that differ;
// two NaN are equal.
struct Difference {
  double largest = 0, size = 0;
  bool found = false;  // also where it is 0 and -0
  double relative() const;
};

// Adds the elements of a view, whose data would be at a and at b.
void compare(char type, const AnyView& v, const char* a, const char* b, Difference& difference);

// A number that a change of any one word changes for certain, and any other change but for one in 2^64.
uint64_t checksum(const void* data, size_t bytes);

}  // namespace ranvier
