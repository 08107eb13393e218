#include "bindings/image_args.h"

#include <cstdlib>

namespace ranvier::bind {

// Of the axes that have more than one element, the channels are the fastest; a single pixel is not an image.
bool over_channels(const TensorView<const char>& v) {
  if (v.shape[1] <= 1 || v.shape[2] * v.shape[3] <= 1) return false;
  const auto faster = [&](int d) {
    return v.shape[d] <= 1 || std::abs(v.strides[1]) < std::abs(v.strides[d]);
  };
  return faster(2) && faster(3);
}

Output new_images(DType dtype, int axes, bool channels_last, const Shape& shape) {
  if (!channels_last) return Output::contiguous(dtype, shape);
  int order[kMaxDims], count = 0;
  const int channels = shape.ndim - axes - 1;
  for (int d = 0; d < shape.ndim; ++d)
    if (d != channels) order[count++] = d;
  order[count] = channels;
  return Output::in_order(dtype, shape, order);
}

}  // namespace ranvier::bind
