// Widens and rounds lines of 16-bit floats: see half_lines.h.
#include "kernels/copy/half_lines.h"

namespace ranvier {
namespace {

// Calls move(data, place, elements) for each run of elements that is contiguous in the lines, from `data` on,
// and in the buffer, from index `place` on.
template <class Move>
void each_run(const HalfLines& x, int64_t count, int64_t n, bool beside, const Move& move) {
  // The buffer has `runs` runs of `length` elements. From one run to the next there are `from` elements in
  // the lines, and from one element of a run to the next `step`.
  const int64_t runs = beside ? n : count;
  const int64_t length = beside ? count : n;
  const int64_t from = beside ? x.step : x.line;
  const int64_t step = beside ? x.line : x.step;
  for (int64_t i = 0; i < runs; ++i) {
    char* at = x.data + 2 * i * from;
    if (step == 1) {
      move(at, i * length, length);
    } else {
      for (int64_t k = 0; k < length; ++k) move(at + 2 * k * step, i * length + k, 1);
    }
  }
}

}  // namespace

void widen_lines(const HalfLines& x, int64_t count, int64_t n, bool beside, float* to) {
  each_run(x, count, n, beside,
           [&](const char* at, int64_t place, int64_t length) { widen(x.stored, at, length, to + place); });
}

void round_lines(const float* from, int64_t count, int64_t n, bool beside, const HalfLines& y) {
  each_run(y, count, n, beside,
           [&](char* at, int64_t place, int64_t length) { round(from + place, length, y.stored, at); });
}

}  // namespace ranvier
