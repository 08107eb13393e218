// Reads settings for each axis, and chooses the memory order of images and signals (image_args.h).
#include "bindings/ops/image_args.h"

#include <cstdlib>

namespace ranvier::bind {

std::array<py::object, 2> PerAxis::items(int axes, const char* expected, bool one_for_all) const {
  const auto all = py::reinterpret_borrow<py::object>(value);
  if (!PyTuple_Check(value.ptr()) && !PyList_Check(value.ptr())) return {all, all};
  const auto items = py::reinterpret_borrow<py::sequence>(value);
  const int count = static_cast<int>(items.size());
  if (count != axes && !(count == 1 && one_for_all)) fail(expected);
  return {items[0], items[count - 1]};
}

// Only axes with more than one element count. False for a single channel or a single pixel, which have no
// order.
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
  for (int d = 0; d < shape.ndim; ++d) {
    if (d == channels) continue;
    order[count] = d;
    ++count;
  }
  order[count] = channels;
  return Output::in_order(dtype, shape, order);
}

}  // namespace ranvier::bind
