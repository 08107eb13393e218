// The geometry of a convolution along one axis, h or w: which input a tap of the filter meets for an output
// position (AxisGeometry), and classes of output positions that use the same taps (Axis).
#pragma once
#include <algorithm>
#include <cstdint>

#include "base/carve.h"
#include "base/congruence.h"
#include "kernels/conv2d/conv2d.h"
#include "kernels/conv2d/share.h"

namespace ranvier {

// One axis of a convolution or, where `transposed`, of its gradient to the input: output position o and tap t
// meet at input index
//   o * stride - pad + t * dilation                          forward
//   (o + pad - (taps - 1 - t) * dilation) / stride           transposed, where that is whole
// if that is in [0, in). So no tap is multiplied by the zeros of the padding.
struct AxisGeometry {
  int64_t out, in, taps, stride, dilation, pad;
  bool transposed;

  // The input index; negative if the tap meets none.
  int64_t input(int64_t o, int64_t t) const {
    if (!transposed) {
      const int64_t i = o * stride - pad + t * dilation;
      return i < in ? i : -1;
    }
    const int64_t times_stride = o + pad - (taps - 1 - t) * dilation;
    const bool meets = times_stride >= 0 && times_stride % stride == 0 && times_stride / stride < in;
    return meets ? times_stride / stride : -1;
  }
};

// d: 0 for h, 1 for w; out, in: the sizes of output and input along it.
inline AxisGeometry axis_geometry(const Conv2dGeometry& g, int d, int64_t out, int64_t in, int64_t taps,
                                  bool transposed = false) {
  return {out, in, taps, g.stride[d], g.dilation[d], g.pad[d], transposed};
}

// The output positions for which one tap meets an input in [0, in), not transposed.
inline Range positions_of_tap(int64_t tap, int64_t out, int64_t in, int64_t stride, int64_t pad,
                              int64_t dilation) {
  const int64_t shift = pad - tap * dilation;  // input = position * stride - shift
  const int64_t begin = shift > 0 ? ceil_div(shift, stride) : 0;
  const int64_t last = in - 1 + shift;  // the last input, as position * stride
  const int64_t end = last < 0 ? 0 : std::min(out, last / stride + 1);
  return {begin, std::max(begin, end)};
}

// A tap of the positions of a class. offset: the distance of the tap's input from the input of the first tap.
struct AxisTap {
  int64_t tap, offset;
};

// The output positions of an axis, divided into classes whose positions use the same taps at the same
// offsets: for example the positions near the first edge, the inner ones, and those near the last edge;
// transposed, for each phase of the stride. The tiles of the direct sum take their pixels from one class.
// Positions, inputs and taps of a class are evenly spaced, so a class needs little memory, however many it
// has.
class Axis {
 public:
  struct Class {
    int64_t first_position, position_step;
    int64_t first_base, base_step;  // inputs: those that the first tap of a position meets
    int64_t size;                   // positions
    int64_t first_tap, tap_step;
    int64_t offset_step;  // the distance of the inputs that neighbouring taps of a position meet
    int64_t tap_count;

    // The output position of member i < size.
    int64_t position(int64_t i) const { return first_position + i * position_step; }
    // The input of the first tap of member i.
    int64_t base(int64_t i) const { return first_base + i * base_step; }
    // Tap i < tap_count of all members.
    AxisTap tap(int64_t i) const { return {first_tap + i * tap_step, i * offset_step}; }
    Class within(int64_t begin, int64_t end) const;  // the members with positions in [begin, end)
  };

  Axis(const AxisGeometry& geometry, Carver& carver);  // takes memory for the classes; build() fills it
  void build() const;
  int64_t classes() const { return *count_; }
  const Class& operator[](int64_t c) const { return classes_[c]; }

 private:
  int64_t most_classes() const;
  Class class_at(int64_t position) const;
  int64_t equal_steps(const Class& c) const;

  AxisGeometry g_;
  Congruence whole_;  // transposed: which taps meet an input that is a whole number
  int64_t phases_;    // the distance from a position to the next that can be of the same class
  int64_t* count_;
  Class* classes_;
};

}  // namespace ranvier
