// Which inputs an output position needs, along one axis, and which positions need the same.
#pragma once
#include <cstdint>

#include "base/carve.h"

namespace ranvier {

// One axis of a convolution or, where `transposed`, of its gradient to the input: output position o and tap t
// meet at input index
//   o * stride - pad + t * dilation                          forward
//   (o + pad - (taps - 1 - t) * dilation) / stride           transposed, where that is whole
// when that lies in [0, in). Taps in between padding are thus never multiplied by zeros.
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

struct AxisTap {
  int64_t tap, offset;  // offset: of its input from that of the position's first tap
};

// The positions sorted into classes that use the same taps at the same offsets: the inner part, the first and
// last few, each phase of a stride. A tile takes its pixels from one class.
class Axis {
 public:
  struct Class {
    const int64_t *position, *base;  // of each member: output position, input of its first tap
    int64_t size;
    const AxisTap* taps;
    int64_t tap_count;

    Class within(int64_t begin, int64_t end) const;  // the members whose positions lie in [begin, end)
  };

  Axis(const AxisGeometry& geometry, Carver& carver);  // takes its memory; build() fills it
  void build();
  int64_t classes() const { return *classes_; }
  Class operator[](int64_t c) const;

 private:
  int64_t list_taps(int64_t o, AxisTap* taps, int64_t* base) const;

  AxisGeometry g_;
  int64_t *classes_, *class_of_, *first_base_, *position_, *base_, *first_, *tap_count_;
  AxisTap* taps_;  // g_.taps for each class
};

}  // namespace ranvier
