// Rows of images as lines of items: a pixel with all its channels where those lie side by side in x and y,
// else a pixel of one channel.
#pragma once
#include <cstring>

#include "base/tensor_view.h"

namespace ranvier {

template <class T>
struct Lines {
  int64_t count, width;    // lines for each row, elements for each item
  int64_t step_x, step_y;  // from one item to the next

  Lines(const TensorView<const T>& x, const TensorView<T>& y) : step_x(x.strides[3]), step_y(y.strides[3]) {
    const int64_t channels = x.shape[1];
    const bool together = channels == 1 || (x.strides[1] == 1 && y.strides[1] == 1);
    count = together ? 1 : channels;
    width = together ? channels : 1;
  }
};

// y[i] = x[i], n items; the steps may be negative.
template <class T>
void copy_items(int64_t n, int64_t width, const T* x, int64_t step_x, T* y, int64_t step_y) {
  if (step_x == width && step_y == width) {
    if (n > 0) std::memcpy(y, x, n * width * sizeof(T));
  } else if (width == 1) {
    for (int64_t i = 0; i < n; ++i) y[i * step_y] = x[i * step_x];
  } else {
    for (int64_t i = 0; i < n; ++i)
      for (int64_t k = 0; k < width; ++k) y[i * step_y + k] = x[i * step_x + k];
  }
}

template <class T>
void fill_items(int64_t n, int64_t width, T value, T* y, int64_t step_y) {
  for (int64_t i = 0; i < n; ++i)
    for (int64_t k = 0; k < width; ++k) y[i * step_y + k] = value;
}

}  // namespace ranvier
