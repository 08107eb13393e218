// Lines of halves as floats in a buffer, and back.
#pragma once
#include <algorithm>

#include "kernels/copy/copy.h"

namespace ranvier {

// Some lines of n elements: element k of line i is at data + 2 (i line + k step).
struct HalfLines {
  char* data;
  int64_t line, step;
  Stored stored;

  template <class T>
  HalfLines(const TensorView<T>& v, int64_t offset, int64_t line_, int64_t step_)
      : data(const_cast<char*>(reinterpret_cast<const char*>(v.data)) + 2 * offset),
        line(line_),
        step(step_),
        stored(v.stored) {}
  bool are_beside() const { return line == 1 && step != 1; }
};

// So many of them are floats at once.
constexpr int64_t kHalfLines = 4096;  // elements
static inline int64_t lines_at_once(int64_t n) {
  return std::max<int64_t>(kHalfLines / std::max<int64_t>(n, 1), 1);
}
static inline int64_t elements_at_once(int64_t n) { return lines_at_once(n) * n; }

// Between lines and a buffer of floats, in which elements of one place are beside each other, or lines follow
// each other.
void widen_lines(const HalfLines& x, int64_t count, int64_t n, bool beside, float* to);
void round_lines(const float* from, int64_t count, int64_t n, bool beside, const HalfLines& y);

}  // namespace ranvier
