// Axis (axis.h): divides the output positions along one axis into classes of positions that use the same taps
// at the same distances. build() walks along the positions of each phase and extends a class as far as taps
// stay the same; the direct sum's tiles and the sums for dw then work class by class.
#include "kernels/conv2d/axis.h"

#include <algorithm>

#include "kernels/conv2d/share.h"

namespace ranvier {
namespace {

// The taps of a transposed axis that meet an input which is a whole number; else each tap meets one.
Congruence whole_inputs(const AxisGeometry& g) {
  if (g.transposed) return congruence(g.dilation, g.stride);
  return {1, 1, 1, 0};
}

}  // namespace

Axis::Axis(const AxisGeometry& geometry, Carver& carver)
    : g_(geometry),
      whole_(whole_inputs(geometry)),
      phases_(geometry.transposed ? geometry.stride : 1),
      count_(carver.take<int64_t>(1)),
      classes_(carver.take<Class>(most_classes())) {}

// A bound for the number of classes. A phase is the positions that are phases_ apart. From one class of a
// phase to the next, the first or the last tap that is inside the input changes, which happens at most once
// for each tap.
int64_t Axis::most_classes() const {
  const int64_t phases = std::min(phases_, g_.out);
  const int64_t taps = g_.taps / whole_.period + 1;
  const bool few_positions = taps >= g_.out / 4 / std::max<int64_t>(phases, 1);
  return few_positions ? g_.out : phases * (2 * taps + 3);
}

// The class of position o alone. It has no taps if none of them meets an input that is a whole number in
// [0, in).
Axis::Class Axis::class_at(int64_t o) const {
  Class c{};
  c.first_position = o;
  c.position_step = phases_;
  c.size = 1;
  c.tap_step = whole_.period;
  // Tap t meets input (start + t * dilation) / divisor.
  const int64_t divisor = g_.transposed ? g_.stride : 1;
  const int64_t start = g_.transposed ? o + g_.pad - (g_.taps - 1) * g_.dilation : o * g_.stride - g_.pad;
  c.offset_step = whole_.period * g_.dilation / divisor;
  int64_t tap = whole_.first(start);  // the first tap whose input is a whole number, perhaps in the padding
  if (tap < 0) return c;
  if (start + tap * g_.dilation < 0)
    tap += ceil_div(-(start + tap * g_.dilation), whole_.period * g_.dilation) * whole_.period;
  const int64_t input = (start + tap * g_.dilation) / divisor;
  if (tap >= g_.taps || input >= g_.in) return c;
  c.first_tap = tap;
  c.first_base = input;
  c.base_step = g_.transposed ? 1 : g_.stride;
  c.tap_count = std::min((g_.taps - 1 - tap) / c.tap_step, (g_.in - 1 - input) / c.offset_step) + 1;
  return c;
}

// How many positions after the first one of class c have the same taps: until an earlier tap enters the
// input, or the last tap leaves it.
int64_t Axis::equal_steps(const Class& c) const {
  const int64_t steps = (g_.out - 1 - c.first_position) / phases_;
  if (c.tap_count == 0) return 0;
  const int64_t last = c.first_base + (c.tap_count - 1) * c.offset_step;
  int64_t equal = std::min(steps, (g_.in - 1 - last) / c.base_step);
  if (c.first_tap >= c.tap_step)
    equal = std::min(equal, ceil_div(c.offset_step - c.first_base, c.base_step) - 1);
  return equal;
}

// Fills classes_, phase by phase. Consecutive classes without taps are joined.
void Axis::build() const {
  int64_t count = 0;
  for (int64_t phase = 0; phase < std::min(phases_, g_.out); ++phase)
    for (int64_t o = phase; o < g_.out;) {
      Class c = class_at(o);
      c.size = equal_steps(c) + 1;
      o += c.size * phases_;
      Class* before = c.first_position > phase ? classes_ + count - 1 : nullptr;  // the class before it
      if (before && before->tap_count == 0 && c.tap_count == 0)
        before->size += c.size;
      else
        classes_[count++] = c;
    }
  *count_ = count;
}

Axis::Class Axis::Class::within(int64_t begin, int64_t end) const {
  const auto before = [&](int64_t bound) {  // how many members have a position below the bound
    return bound <= first_position ? 0 : std::min(size, ceil_div(bound - first_position, position_step));
  };
  Class c = *this;
  const int64_t first = before(begin);
  c.first_position = position(first);
  c.first_base = base(first);
  c.size = before(end) - first;
  return c;
}

}  // namespace ranvier
