// Rows of images as lines of items: a pixel with all its channels where those are side by side in x and y,
// else a pixel of one channel.
#pragma once
#include <algorithm>
#include <cstring>

#include "base/short_runs.h"
#include "base/tensor_view.h"

namespace ranvier {

template <class T>
struct ImageLines {
  int64_t count, width;    // lines for each row, elements for each item
  int64_t step_x, step_y;  // from one item to the next

  ImageLines(const TensorView<const T>& x, const TensorView<T>& y)
      : step_x(x.strides[3]), step_y(y.strides[3]) {
    const int64_t channels = x.shape[1];
    const bool together = channels == 1 || (x.strides[1] == 1 && y.strides[1] == 1);
    count = together ? 1 : channels;
    width = together ? channels : 1;
  }
};

// y[i] = x[-i], n elements: a constant step lets the compiler reverse vectors
template <class T>
void reverse_run(int64_t n, const T* __restrict x, T* __restrict y) {
  for (int64_t i = 0; i < n; ++i) y[i] = x[-i];
}

// Items of a width known to the compiler.
template <int kWidth, class T>
void copy_pixels(int64_t n, const T* x, int64_t step_x, T* y, int64_t step_y) {
  for (int64_t i = 0; i < n; ++i) std::memcpy(y + i * step_y, x + i * step_x, kWidth * sizeof(T));
}

// y[i] = x[i], n items; the steps may be negative.
template <class T>
void copy_items(int64_t n, int64_t width, const T* x, int64_t step_x, T* y, int64_t step_y) {
  if (step_x == width && step_y == width) {
    copy_run(x, std::max<int64_t>(n, 0) * width, y);
  } else if (width == 1 && step_x == -1 && step_y == 1) {
    reverse_run(n, x, y);
  } else if (width == 1) {
    for (int64_t i = 0; i < n; ++i) y[i * step_y] = x[i * step_x];
  } else if (width == 3) {
    copy_pixels<3>(n, x, step_x, y, step_y);
  } else {
    for (int64_t i = 0; i < n; ++i) copy_run(x + i * step_x, width, y + i * step_y);
  }
}

template <class T>
void fill_items(int64_t n, int64_t width, T value, T* y, int64_t step_y) {
  if (step_y == width) return fill_run(value, std::max<int64_t>(n, 0) * width, y);
  for (int64_t i = 0; i < n; ++i) fill_run(value, width, y + i * step_y);
}

}  // namespace ranvier
