#include "kernels/conv2d/axis.h"

#include <algorithm>

namespace ranvier {

Axis::Axis(const AxisGeometry& geometry, Carver& carver) : g_(geometry) {
  const int64_t n = g_.out;
  classes_ = carver.take<int64_t>(1);
  class_of_ = carver.take<int64_t>(n);
  first_base_ = carver.take<int64_t>(n);
  position_ = carver.take<int64_t>(n);
  base_ = carver.take<int64_t>(n);
  first_ = carver.take<int64_t>(n + 1);
  tap_count_ = carver.take<int64_t>(n);
  taps_ = carver.take<AxisTap>(n * g_.taps);
}

int64_t Axis::list_taps(int64_t o, AxisTap* taps, int64_t* base) const {
  int64_t count = 0;
  *base = 0;
  for (int64_t t = 0; t < g_.taps; ++t) {
    const int64_t input = g_.input(o, t);
    if (input < 0) continue;
    if (count == 0) *base = input;
    taps[count++] = AxisTap{t, input - *base};
  }
  return count;
}

void Axis::build() {
  const int64_t phases = g_.transposed ? g_.stride : 1;
  int64_t classes = 0;
  for (int64_t o = 0; o < g_.out; ++o) {
    AxisTap* taps = taps_ + classes * g_.taps;
    const int64_t count = list_taps(o, taps, &first_base_[o]);
    const int64_t before = o < phases ? -1 : class_of_[o - phases];  // the only one it can be equal to
    const bool same = before >= 0 && count == tap_count_[before] &&
                      std::equal(taps, taps + count, taps_ + before * g_.taps,
                                 [](AxisTap a, AxisTap b) { return a.tap == b.tap && a.offset == b.offset; });
    if (!same) tap_count_[classes] = count;
    class_of_[o] = same ? before : classes++;
  }
  *classes_ = classes;
  std::fill(first_, first_ + g_.out + 1, 0);
  for (int64_t o = 0; o < g_.out; ++o) ++first_[class_of_[o] + 1];
  for (int64_t c = 0; c < classes; ++c) first_[c + 1] += first_[c];
  for (int64_t o = 0; o < g_.out; ++o) {  // first_[c] moves to the class's end, that is, to first_[c + 1]
    const int64_t at = first_[class_of_[o]]++;
    position_[at] = o;
    base_[at] = first_base_[o];
  }
}

Axis::Class Axis::operator[](int64_t c) const {
  const int64_t begin = c == 0 ? 0 : first_[c - 1], end = first_[c];
  return {position_ + begin, base_ + begin, end - begin, taps_ + c * g_.taps, tap_count_[c]};
}

Axis::Class Axis::Class::within(int64_t begin, int64_t end) const {
  const int64_t first = std::lower_bound(position, position + size, begin) - position;
  const int64_t last = std::lower_bound(position, position + size, end) - position;
  return {position + first, base + first, last - first, taps, tap_count};
}

}  // namespace ranvier
