// pooling: the maximum or the mean of windows of images
//
//   x (n, c, h, w), y (n, c, oh, ow); any strides in x. y is dense. With `channels_last` the channels of a
//   pixel are contiguous, and vectors run along the channels; otherwise y is in NCHW, and vectors run along
//   its rows.
//
// max_pool2d also writes `where`, with the strides of y. For each window it has the offset r * kernel_w + s
// of the maximum, which is in row r and column s of the window. The offset is a byte if the window has at
// most 256 elements, else an int64. For adaptive windows, kernel_w is the width of the longest one (pool_taps
// in axis.h). Of equal elements the first one is the maximum; a NaN is larger than any number. Padding is
// never chosen. Each thread writes its own rows, and each sum is over one window in order, so the bits do not
// depend on the team.
#pragma once
#include <cstddef>

#include "base/isa.h"
#include "base/views.h"
#include "kernels/copy/half_images.h"
#include "kernels/pooling/axis.h"

namespace ranvier {

// Bytes of one thread's workspace: either tables of the windows of all rows and columns (PoolInputs in
// axis.h, and counts), or two rows of the image with padding (row_buffer.h). item: bytes of an element.
size_t pool_scratch_bytes(const PoolAxis& rows, const PoolAxis& columns, size_t item);

// True if images of this shape (n, c, h, w) do not fit into the caches. Then the loops over windows of
// channels-last images prefetch. The hardware does not, since a window reads short runs of contiguous
// elements in several rows. column: the stride of columns in elements. size: bytes of an element.
bool pool_is_far(const int64_t* shape, int64_t column, int64_t size);
// While a loop is at x in one row of windows, prefetches to L2 what the next row of windows will read as the
// first: n elements of each row of the image that is new to it, below x. row: the stride of rows in elements.
// size: bytes of an element.
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

// dx = the sum of dy over the windows whose maximum is this element. Any strides in dy and where.
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

// indices = the place of each maximum in its image, h * width + w. where and indices have the same shape and
// layout.
template <class Offset>
struct MaxPool2dIndices {
  RANVIER_CALL("max_pool2d_indices", where, indices);
  TensorView<const Offset> where;
  TensorView<int64_t> indices;
  PoolAxis rows, columns;
};

// y = sum of the window / divisor. If divisor is 0, the number of elements in the window takes its place
// (with count_include_pad also those of the padding).
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

// dx = the sum of dy / divisor over the windows that contain the element. Any strides in dy.
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

// The loops over units [begin, end). A unit of the forward is a row of y: (n, oh) channels-last, (n, c, oh)
// in NCHW. A unit of the backward is a row (n, h) of dx channels-last, a plane (n, c) in NCHW. scratch: the
// thread's workspace.
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
  MaxPoolKernels<T, int64_t> max_wide;  // for windows of more than 256 elements
  AvgPoolKernels<T> avg;
};

RANVIER_TABLES(PoolingKernels, pooling_kernels)

}  // namespace ranvier
