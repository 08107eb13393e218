// The inputs of an output position along one axis, and the positions that use the same taps.
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

  int64_t input(int64_t o, int64_t t) const {  // -1: the tap is not used
    if (!transposed) {
      const int64_t i = o * stride - pad + t * dilation;
      return i < in ? i : -1;
    }
    const int64_t i = o + pad - (taps - 1 - t) * dilation;
    return i >= 0 && i % stride == 0 && i / stride < in ? i / stride : -1;
  }
};

inline AxisGeometry axis_geometry(const Conv2dGeometry& g, int d, int64_t out, int64_t in, int64_t taps,
                                  bool transposed = false) {
  return {out, in, taps, g.stride[d], g.dilation[d], g.pad[d], transposed};
}

// Output positions for which one tap is inside the input.
inline Range positions_of_tap(int64_t tap, int64_t out, int64_t in, int64_t stride, int64_t pad,
                              int64_t dilation) {
  const int64_t shift = pad - tap * dilation;  // input = position * stride - shift
  const int64_t begin = shift > 0 ? ceil_div(shift, stride) : 0;
  const int64_t end = in - 1 + shift < 0 ? 0 : std::min(out, (in - 1 + shift) / stride + 1);
  return {begin, std::max(begin, end)};
}

struct AxisTap {
  int64_t tap, offset;  // offset: of its input from that of the position's first tap
};

// The positions in classes that use the same taps at the same offsets: the inner part, the first and last
// few, each phase of a stride. A tile takes its pixels from one class. Positions, inputs and taps of a class
// are evenly spaced: the memory of a class does not grow with their numbers.
class Axis {
 public:
  struct Class {
    int64_t first_position, position_step, first_base, base_step, size;
    int64_t first_tap, tap_step, offset_step, tap_count;

    int64_t position(int64_t i) const { return first_position + i * position_step; }
    int64_t base(int64_t i) const { return first_base + i * base_step; }  // the input of its first tap
    AxisTap tap(int64_t i) const { return {first_tap + i * tap_step, i * offset_step}; }
    Class within(int64_t begin, int64_t end) const;  // the members with positions in [begin, end)
  };

  Axis(const AxisGeometry& geometry, Carver& carver);  // takes its memory; build() fills it
  void build() const;
  int64_t classes() const { return *count_; }
  const Class& operator[](int64_t c) const { return classes_[c]; }

 private:
  int64_t most_classes() const;
  Class class_at(int64_t position) const;
  int64_t equal_steps(const Class& c) const;

  AxisGeometry g_;
  Congruence whole_;  // transposed: the taps whose input is a whole number
  int64_t phases_;    // the distance from a position to the next that can be of its class
  int64_t* count_;
  Class* classes_;
};

}  // namespace ranvier
