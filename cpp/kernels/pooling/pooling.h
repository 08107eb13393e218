// pooling: the maximum or the mean of windows of images
//
//   x (n, c, h, w), y (n, c, oh, ow); any strides in x. y is dense and either channels-last (its channels are
//   contiguous and vectorised over) or NCHW (its rows are); `channels_last` says which.
//
// max_pool2d also writes `where`, laid out as y: the offset r * kernel_w + s of the maximum in its window, in
// one byte if the window has at most 256 elements; of adaptive windows, kernel_w is that of the longest. Of
// equal maxima the first counts; a NaN wins. Padding is never chosen. Each thread writes its own rows, and
// each sum is over one window in order: the bits do not depend on the team.
#pragma once
#include <cstddef>

#include "base/isa.h"
#include "base/views.h"
#include "kernels/copy/half_images.h"
#include "kernels/pooling/axis.h"

namespace ranvier {

// The workspace of one thread: the entries of rows and columns, or rows of the image with padding.
size_t pool_scratch_bytes(const PoolAxis& rows, const PoolAxis& columns, size_t item);

// True if images of this shape, whose columns are `column` elements of `size` bytes apart, come from memory.
// Where channels are contiguous, runs of them are then too short for hardware prefetchers, which do not see
// that windows are side by side: what the windows of the next row will be the first to read is fetched to L2,
// below n elements from x on.
bool pool_is_far(const int64_t* shape, int64_t column, int64_t size);
void pool_fetch_below(const PoolAxis& rows, const void* x, int64_t row, int64_t n, int64_t size);

template <class T, class Offset>
struct MaxPool2dForward {
  RANVIER_CALL("max_pool2d", x, y, where);
  RANVIER_IMAGES((x, y, where), ())
  size_t workspace_bytes(int threads) const { return threads * pool_scratch_bytes(rows, columns, sizeof(T)); }
  TensorView<const T> x;
  TensorView<T> y;
  TensorView<Offset> where;
  PoolAxis rows, columns;
  bool channels_last;
};

// dx = dy where the element was its window's maximum, summed over windows; dy and where of any strides.
template <class T, class Offset>
struct MaxPool2dBackward {
  RANVIER_CALL("max_pool2d_backward", dy, where, dx);
  RANVIER_IMAGES((dy, where, dx), ())
  size_t workspace_bytes(int threads) const { return threads * pool_scratch_bytes(rows, columns, sizeof(T)); }
  TensorView<const T> dy;
  TensorView<const Offset> where;
  TensorView<T> dx;
  PoolAxis rows, columns;
  bool channels_last;  // the layout of dx
};

// indices = the place of each maximum in its image: h * width + w. All of one layout.
template <class Offset>
struct MaxPool2dIndices {
  RANVIER_CALL("max_pool2d_indices", where, indices);
  TensorView<const Offset> where;
  TensorView<int64_t> indices;
  PoolAxis rows, columns;
};

// y = sum of the window / divisor; divisor 0: the number of elements in the window.
template <class T>
struct AvgPool2dForward {
  RANVIER_CALL("avg_pool2d", x, y);
  RANVIER_IMAGES((x, y), ())
  size_t workspace_bytes(int threads) const { return threads * pool_scratch_bytes(rows, columns, sizeof(T)); }
  TensorView<const T> x;
  TensorView<T> y;
  PoolAxis rows, columns;
  bool channels_last, count_include_pad;
  int64_t divisor;
};

// dx = dy / divisor, summed over the windows that the element is in; dy of any strides.
template <class T>
struct AvgPool2dBackward {
  RANVIER_CALL("avg_pool2d_backward", dy, dx);
  RANVIER_IMAGES((dy, dx), ())
  size_t workspace_bytes(int threads) const { return threads * pool_scratch_bytes(rows, columns, sizeof(T)); }
  TensorView<const T> dy;
  TensorView<T> dx;
  PoolAxis rows, columns;
  bool channels_last, count_include_pad;
  int64_t divisor;
};

// The loops over a range of units, which are rows of the result ([n, oh] channels-last, [n, c, oh] in NCHW)
// or, backward in NCHW, planes [n, c]. scratch: this thread's.
template <class T, class Offset>
struct MaxPoolKernels {
  void (*forward)(const Team&, const MaxPool2dForward<T, Offset>&, int64_t begin, int64_t end, void* scratch);
  void (*backward)(const Team&, const MaxPool2dBackward<T, Offset>&, int64_t begin, int64_t end,
                   void* scratch);
};
template <class T>
struct AvgPoolKernels {
  void (*forward)(const Team&, const AvgPool2dForward<T>&, int64_t begin, int64_t end, void* scratch);
  void (*backward)(const Team&, const AvgPool2dBackward<T>&, int64_t begin, int64_t end, void* scratch);
};

template <class T>
struct PoolingKernels {
  MaxPoolKernels<T, uint8_t> max;
  MaxPoolKernels<T, int64_t> max_wide;
  AvgPoolKernels<T> avg;
};

RANVIER_TABLES(PoolingKernels, pooling_kernels)

}  // namespace ranvier
