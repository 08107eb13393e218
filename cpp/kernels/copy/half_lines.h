// Converts lines of 16-bit floats ("halves": float16 or bfloat16) to float32 in a buffer, and back. A line is
// all elements of an array along one axis.
//
// A kernel whose loops compute in float32, such as softmax and layer_norm, runs them on halves in blocks: it
// widens some lines into a buffer that stays in cache, computes there, and rounds the result.
#pragma once
#include <algorithm>

#include "kernels/copy/copy.h"

namespace ranvier {

// Some lines of halves. Element k of line i is 2 (i line + k step) bytes behind `data`; offset, line and step
// count elements.
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
  // True if elements k of neighbouring lines are adjacent in memory, and elements of one line are not.
  bool are_beside() const { return line == 1 && step != 1; }
};

// The elements of a buffer; lines that are longer take a buffer of one line each. n: elements of a line.
constexpr int64_t kHalfLines = 4096;
static inline int64_t lines_at_once(int64_t n) {
  return std::max<int64_t>(kHalfLines / std::max<int64_t>(n, 1), 1);
}
static inline int64_t elements_at_once(int64_t n) { return lines_at_once(n) * n; }

// widen_lines converts `count` lines of n elements to a buffer, round_lines the buffer to lines. In the
// buffer, element k of line i has the index k * count + i if `beside` is true, else i * n + k.
void widen_lines(const HalfLines& x, int64_t count, int64_t n, bool beside, float* to);
void round_lines(const float* from, int64_t count, int64_t n, bool beside, const HalfLines& y);

}  // namespace ranvier
