// max_pool2d backward, for one ISA level.
#pragma once
#include "kernels/pooling/lanes.h"
#include "kernels/pooling/pooling.h"

namespace ranvier::RANVIER_ISA {

// The windows of one pixel: entries [a0, a1) of the table of rows by [b0, b1) of that of columns.
template <class T, class Offset>
struct MaxPixel {
  const T* dy;  // of the image
  const Offset* where;
  int64_t row_dy, column_dy, lane_dy, row_where, column_where, lane_where;
  const int32_t *row_windows, *row_taps, *column_windows, *column_taps;
  int32_t a0, a1, b0, b1;
  int32_t kernel_w;
};

// dx of the lanes from channel i on: the dy of windows whose maximum this pixel was.
template <int kStride, bool kWhole, class T, class Offset>
RANVIER_INLINE void max_gradient_of_lanes(const MaxPixel<T, Offset>& x, int64_t i, int n, T* dx) {
  vec<T> sum{};
  for (int32_t a = x.a0; a < x.a1; ++a)
    for (int32_t b = x.b0; b < x.b1; ++b) {
      const int64_t oh = x.row_windows[a], ow = x.column_windows[b];
      const T* p = x.dy + oh * x.row_dy + ow * x.column_dy + i * x.lane_dy;
      const Offset* q = x.where + oh * x.row_where + ow * x.column_where + i * x.lane_where;
      const vec<T> v = kWhole ? load_lanes<kStride>(p, x.lane_dy) : load_lanes_n<kStride>(p, x.lane_dy, n);
      const ivec<T> offset = load_offsets<T, kStride, kWhole>(q, x.lane_where, n);
      const int_of<T> mine = x.row_taps[a] * x.kernel_w + x.column_taps[b];
      sum = sum + select(offset == ibroadcast<T>(mine), v, vec<T>{});
    }
  if (kWhole)
    store(dx + i, sum);
  else
    store_n(dx + i, sum, n);
}

// The same where windows do not overlap: a pixel in one window only.
template <class T, class Offset>
RANVIER_INLINE void max_gradient_of_one_window(const MaxPixel<T, Offset>& x, int64_t channels, T* dx) {
  const int64_t oh = x.row_windows[x.a0], ow = x.column_windows[x.b0];
  const T* dy = x.dy + oh * x.row_dy + ow * x.column_dy;
  const Offset* where = x.where + oh * x.row_where + ow * x.column_where;
  const ivec<T> mine = ibroadcast<T>(x.row_taps[x.a0] * x.kernel_w + x.column_taps[x.b0]);
  int64_t i = 0;
  for (; i + lanes<T> <= channels; i += lanes<T>) {
    const ivec<T> offset = load_offsets<T, 1, true>(where + i, 1, lanes<T>);
    store(dx + i, select(offset == mine, load(dy + i), vec<T>{}));
  }
  if (i < channels) {
    const int n = static_cast<int>(channels - i);
    const ivec<T> offset = load_offsets<T, 1, false>(where + i, 1, n);
    store_n(dx + i, select(offset == mine, load_n(dy + i, n), vec<T>{}), n);
  }
}

template <int kStride, class T, class Offset>
static void max_gradient_of_row(MaxPixel<T, Offset> x, const PoolTable& columns, int64_t width,
                                int64_t channels, T* dx) {
  const int32_t* starts = columns.starts;
  for (int64_t w = 0; w < width; ++w, dx += channels) {
    x.b0 = starts[w], x.b1 = starts[w + 1];
    if (kStride == 1 && x.a1 - x.a0 == 1 && x.b1 - x.b0 == 1) {
      max_gradient_of_one_window(x, channels, dx);
      continue;
    }
    int64_t i = 0;
    for (; i + lanes<T> <= channels; i += lanes<T>) max_gradient_of_lanes<kStride, true>(x, i, lanes<T>, dx);
    if (i < channels) max_gradient_of_lanes<kStride, false>(x, i, static_cast<int>(channels - i), dx);
  }
}

// Rows (n, h) of a channels-last dx: each pixel gathers from its windows.
template <class T, class Offset>
static void max_pool2d_gather(const MaxPool2dBackward<T, Offset>& f, int64_t begin, int64_t end,
                              void* scratch) {
  const PoolTable rows = make_pool_table(f.rows, scratch);
  const PoolTable columns =
      make_pool_table(f.columns, static_cast<char*>(scratch) + pool_table_bytes(f.rows));
  MaxPixel<T, Offset> x{};
  x.row_dy = f.dy.strides[2], x.column_dy = f.dy.strides[3], x.lane_dy = f.dy.strides[1];
  x.row_where = f.where.strides[2], x.column_where = f.where.strides[3], x.lane_where = f.where.strides[1];
  x.row_windows = rows.windows, x.row_taps = rows.taps;
  x.column_windows = columns.windows, x.column_taps = columns.taps;
  x.kernel_w = static_cast<int32_t>(f.columns.kernel);
  const int64_t channels = f.dx.shape[1];
  for (int64_t unit = begin; unit < end; ++unit) {
    const int64_t n = unit / f.rows.in, h = unit % f.rows.in;
    x.dy = f.dy.data + n * f.dy.strides[0];
    x.where = f.where.data + n * f.where.strides[0];
    x.a0 = rows.starts[h], x.a1 = rows.starts[h + 1];
    T* dx = f.dx.data + n * f.dx.strides[0] + h * f.dx.strides[2];
    if (x.lane_dy == 1 && x.lane_where == 1)
      max_gradient_of_row<1>(x, columns, f.columns.in, channels, dx);
    else
      max_gradient_of_row<0>(x, columns, f.columns.in, channels, dx);
  }
}

// One plane (n, c) of a dense NCHW dx: each output adds to its maximum, in order.
template <class T, class Offset>
static void max_gradient_of_plane(const PoolAxis rows, const PoolAxis columns, const T* __restrict dy,
                                  int64_t row_dy, int64_t column_dy, const Offset* __restrict where,
                                  int64_t row_where, int64_t column_where, const int32_t* __restrict taps_h,
                                  const int32_t* __restrict taps_w, T* __restrict dx) {
  const uint64_t height = rows.in, width = columns.in;
  const uint64_t taps = rows.kernel * columns.kernel;
  __builtin_memset(dx, 0, sizeof(T) * height * width);
  for (int64_t oh = 0; oh < rows.out; ++oh) {
    const int64_t top = oh * rows.stride - rows.padding;
    int64_t left = -columns.padding;
    for (int64_t ow = 0; ow < columns.out; ++ow, left += columns.stride) {
      const uint64_t offset = static_cast<uint64_t>(where[oh * row_where + ow * column_where]);
      if (offset >= taps) continue;  // a caller may give any offsets: nothing outside is touched
      const uint64_t h = top + taps_h[offset], w = left + taps_w[offset];
      if (h < height && w < width) dx[h * width + w] += dy[oh * row_dy + ow * column_dy];
    }
  }
}

template <class T, class Offset>
static void max_pool2d_scatter(const MaxPool2dBackward<T, Offset>& f, int64_t begin, int64_t end,
                               void* scratch) {
  int32_t* taps_h = static_cast<int32_t*>(scratch);
  int32_t* taps_w = taps_h + f.rows.kernel * f.columns.kernel;
  for (int64_t r = 0, i = 0; r < f.rows.kernel; ++r)
    for (int64_t s = 0; s < f.columns.kernel; ++s, ++i) {
      taps_h[i] = static_cast<int32_t>(r * f.rows.dilation);
      taps_w[i] = static_cast<int32_t>(s * f.columns.dilation);
    }
  const int64_t channels = f.dx.shape[1];
  for (int64_t unit = begin; unit < end; ++unit) {
    const int64_t n = unit / channels, c = unit % channels;
    max_gradient_of_plane(
        f.rows, f.columns, f.dy.data + n * f.dy.strides[0] + c * f.dy.strides[1], f.dy.strides[2],
        f.dy.strides[3], f.where.data + n * f.where.strides[0] + c * f.where.strides[1], f.where.strides[2],
        f.where.strides[3], taps_h, taps_w, f.dx.data + n * f.dx.strides[0] + c * f.dx.strides[1]);
  }
}

template <class T, class Offset>
static void max_pool2d_backward(const MaxPool2dBackward<T, Offset>& f, int64_t begin, int64_t end,
                                void* scratch) {
  if (f.channels_last)
    max_pool2d_gather(f, begin, end, scratch);
  else
    max_pool2d_scatter(f, begin, end, scratch);
}

}  // namespace ranvier::RANVIER_ISA
