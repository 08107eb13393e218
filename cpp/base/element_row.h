// One run of elements, as given to the inner loops of element-wise kernels.
#pragma once
#include <cstdint>

namespace ranvier {

constexpr int kElementOperands = 4;  // the most operands

// y is contiguous; operand k is contiguous (step 1) or one repeated element (step 0). y may be an operand.
struct ElementRow {
  int64_t n;
  const void* x[kElementOperands];
  int step[kElementOperands];
  void* y;
  const void* attributes;  // what an op may need besides its operands
};

}  // namespace ranvier
