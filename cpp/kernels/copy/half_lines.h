// Lines of 16-bit floats ("halves") converted to float32 in a buffer, and back.
//
// A kernel whose loops are of float32 runs them on halves in blocks: it widens some lines to a buffer that
// stays in cache, computes there, and rounds the result (softmax, layer_norm).
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
  // True where element k of neighbouring lines is adjacent in memory, and not the elements of one line.
  bool are_beside() const { return line == 1 && step != 1; }
};

// The size of the buffer in elements; longer lines take a buffer of one line.
constexpr int64_t kHalfLines = 4096;
static inline int64_t lines_at_once(int64_t n) {
  return std::max<int64_t>(kHalfLines / std::max<int64_t>(n, 1), 1);
}
static inline int64_t elements_at_once(int64_t n) { return lines_at_once(n) * n; }

// From `count` lines of n elements to a buffer, and back. In the buffer element k of line i is at k * count +
// i where `beside`, else at i * n + k.
void widen_lines(const HalfLines& x, int64_t count, int64_t n, bool beside, float* to);
void round_lines(const float* from, int64_t count, int64_t n, bool beside, const HalfLines& y);

}  // namespace ranvier
