// max_pool2d backward over channels, at least a vector of them, for one ISA level.
#pragma once
#include "base/interrupt.h"
#include "base/unroll.h"
#include "kernels/pooling/lanes.h"
#include "kernels/pooling/pooling.h"

namespace ranvier::RANVIER_ISA {

// The windows of a row of pixels, and those of one pixel: dy, offsets, and the offset of the pixel in each.
template <class T>
struct MaxPixels {
  const T* dy;  // of the image
  const uint8_t* where;
  int64_t row_dy, column_dy, row_where, column_where;
  PoolInputs rows, columns;
  PoolEntries row;
  int64_t kernel_w;
};
template <class T>
struct MaxWindows {
  int64_t count;
  const T* dy[kMostTaps];
  const uint8_t* where[kMostTaps];
  int_of<T> mine[kMostTaps];
};

template <class T>
static void list_windows(const MaxPixels<T>& x, const PoolEntries& column, MaxWindows<T>& windows) {
  windows.count = 0;
  for (int64_t a = 0; a < x.row.count; ++a)
    for (int64_t b = 0; b < column.count; ++b) {
      const int64_t oh = x.rows.window(x.row, a), ow = x.columns.window(column, b), k = windows.count++;
      windows.dy[k] = x.dy + oh * x.row_dy + ow * x.column_dy;
      windows.where[k] = x.where + oh * x.row_where + ow * x.column_where;
      windows.mine[k] = static_cast<int_of<T>>(x.rows.tap(x.row, a) * x.kernel_w + x.columns.tap(column, b));
    }
}

// dx of kVectors vectors of channels from i on: the dy of the windows whose maximum this pixel was.
template <int kVectors, class T>
RANVIER_INLINE void max_gradient_of_lanes(const MaxWindows<T>& windows, int64_t i, T* dx) {
  vec<T> sum[kVectors] = {};
  for (int64_t w = 0; w < windows.count; ++w) {
    const T* dy = windows.dy[w] + i;
    const uint8_t* where = windows.where[w] + i;
    const ivec<T> mine = ibroadcast<T>(windows.mine[w]);
    RANVIER_UNROLL
    for (int k = 0; k < kVectors; ++k) {
      const ivec<T> offset = widen_bytes(where + k * lanes<T>, T{});
      sum[k] = sum[k] + select(offset == mine, load(dy + k * lanes<T>), vec<T>{});
    }
  }
  RANVIER_UNROLL
  for (int k = 0; k < kVectors; ++k) store(dx + i + k * lanes<T>, sum[k]);
}

// A row of dx in one row of windows, which are side by side: each window writes its own columns.
template <class T>
static void max_gradient_of_tiles(const MaxPixels<T>& x, const PoolAxis& columns, int64_t channels, T* dx) {
  constexpr int L = lanes<T>;
  const T *dy = x.dy + x.row.window * x.row_dy, *end = dx + columns.in * channels;
  const uint8_t* where = x.where + x.row.window * x.row_where;
  const ivec<T> first = ibroadcast<T>(x.row.tap * x.kernel_w);
  for (int64_t ow = 0; ow < columns.out; ++ow, dy += x.column_dy, where += x.column_where) {
    for (int64_t i = 0; i < channels; i += L) {
      const int64_t j = i > channels - L ? channels - L : i;  // the last overlaps the one before
      const vec<T> v = load(dy + j);
      ivec<T> tap = widen_bytes(where + j, T{}) - first;
      for (T* to = dx + j; to < dx + columns.kernel * channels; to += channels, tap -= 1)
        store(to, select(tap == 0, v, vec<T>{}));
    }
    dx += columns.kernel * channels;
  }
  for (; dx < end; ++dx) *dx = 0;
}

template <class T>
static void max_gradient_of_row(const Team& team, const MaxPixels<T>& x, int64_t width, int64_t channels,
                                T* dx) {
  constexpr int L = lanes<T>;
  MaxWindows<T> windows;
  for (int64_t w = 0; w < width; ++w, dx += channels) {
    if ((w & 1023) == 1023 && interrupted(team)) return;
    list_windows(x, x.columns.of[w], windows);
    int64_t i = 0;
    for (; i + 4 * L <= channels; i += 4 * L) max_gradient_of_lanes<4>(windows, i, dx);
    for (; i < channels; i += L) max_gradient_of_lanes<1>(windows, i > channels - L ? channels - L : i, dx);
  }
}

// Rows (n, h) of a channels-last dx, each pixel from its windows; false where max_backward.h is faster, or
// the channels are not contiguous.
template <class T>
static bool max_pool2d_gather(const Team& team, const MaxPool2dBackward<T, uint8_t>& f, int64_t begin,
                              int64_t end, void* scratch) {
  const int64_t channels = f.dx.shape[1];
  const bool tiles = f.columns.stride == f.columns.kernel && f.columns.dilation == 1 &&
                     all_inside(f.columns) && f.rows.stride >= f.rows.kernel && f.rows.dilation == 1;
  if (f.dy.strides[1] != 1 || f.where.strides[1] != 1 || channels < lanes<T>) return false;
  if (!tiles && (lanes<T> < 16 || channels < 4 * lanes<T>)) return false;
  MaxPixels<T> x{};
  x.rows = list_pool_inputs(f.rows, scratch);
  x.columns = list_pool_inputs(f.columns, static_cast<char*>(scratch) + pool_inputs_bytes(f.rows));
  x.row_dy = f.dy.strides[2], x.column_dy = f.dy.strides[3];
  x.row_where = f.where.strides[2], x.column_where = f.where.strides[3];
  x.kernel_w = pool_taps(f.columns);
  for (RowWalk at(begin, f.rows.in, 1); begin < end; ++begin, at.next()) {
    x.dy = f.dy.data + at.n * f.dy.strides[0];
    x.where = f.where.data + at.n * f.where.strides[0];
    x.row = x.rows.of[at.row];
    T* dx = f.dx.data + at.n * f.dx.strides[0] + at.row * f.dx.strides[2];
    if (tiles && x.row.count == 1)
      max_gradient_of_tiles(x, f.columns, channels, dx);
    else
      max_gradient_of_row(team, x, f.columns.in, channels, dx);
  }
  return true;
}

}  // namespace ranvier::RANVIER_ISA
