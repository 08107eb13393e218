// progression: y[i] = first + i step, for arange and the like.
#include <algorithm>

#include "kernels/copy/copy.h"

namespace ranvier {
namespace {

constexpr int64_t kAtOnce = 256;  // elements between two conversions of an int64_t index to a Number

// y[i] = first + i step for i < n. An index is split into a multiple of kAtOnce and a rest j. The rest is an
// int, since processors convert a vector of 32-bit integers to doubles by one instruction, but not a vector
// of 64-bit integers.
template <class T, class Number>
void fill_progression(Number first, Number step, int64_t n, T* y) {
  for (int64_t i = 0; i < n; i += kAtOnce) {
    const int count = static_cast<int>(std::min(kAtOnce, n - i));
    const Number at = static_cast<Number>(i);
    for (int j = 0; j < count; ++j) y[i + j] = static_cast<T>(first + (at + static_cast<Number>(j)) * step);
  }
}

}  // namespace

void progression(double first, double step, int64_t n, float* y) { fill_progression(first, step, n, y); }
void progression(double first, double step, int64_t n, double* y) { fill_progression(first, step, n, y); }
void progression(int64_t first, int64_t step, int64_t n, int64_t* y) { fill_progression(first, step, n, y); }

}  // namespace ranvier
