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

// dx of the channels from i on, kVectors whole vectors or n < lanes elements: the dy of windows whose maximum
// this pixel was.
template <int kStride, int kVectors, bool kWhole, class T, class Offset>
RANVIER_INLINE void max_gradient_of_lanes(const MaxPixel<T, Offset>& x, int64_t i, int n, T* dx) {
  vec<T> sum[kVectors] = {};
  for (int32_t a = x.a0; a < x.a1; ++a)
    for (int32_t b = x.b0; b < x.b1; ++b) {
      const int64_t oh = x.row_windows[a], ow = x.column_windows[b];
      const T* p = x.dy + oh * x.row_dy + ow * x.column_dy + i * x.lane_dy;
      const Offset* q = x.where + oh * x.row_where + ow * x.column_where + i * x.lane_where;
      const ivec<T> mine = ibroadcast<T>(x.row_taps[a] * x.kernel_w + x.column_taps[b]);
#pragma GCC unroll 2
      for (int k = 0; k < kVectors; ++k) {
        const int64_t j = k * lanes<T>;
        const vec<T> v = kWhole ? load_lanes<kStride>(p + j * x.lane_dy, x.lane_dy)
                                : load_lanes_n<kStride>(p, x.lane_dy, n);
        const ivec<T> offset = load_offsets<T, kStride, kWhole>(q + j * x.lane_where, x.lane_where, n);
        sum[k] = sum[k] + select(offset == mine, v, vec<T>{});
      }
    }
#pragma GCC unroll 2
  for (int k = 0; k < kVectors; ++k)
    if (kWhole)
      store(dx + i + k * lanes<T>, sum[k]);
    else
      store_n(dx + i, sum[k], n);
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
    for (; i + 2 * lanes<T> <= channels; i += 2 * lanes<T>)
      max_gradient_of_lanes<kStride, 2, true>(x, i, lanes<T>, dx);
    for (; i + lanes<T> <= channels; i += lanes<T>)
      max_gradient_of_lanes<kStride, 1, true>(x, i, lanes<T>, dx);
    if (i < channels) max_gradient_of_lanes<kStride, 1, false>(x, i, static_cast<int>(channels - i), dx);
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
  x.kernel_w = static_cast<int32_t>(pool_taps(f.columns));
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

// Where an offset lies from the first tap of its window: down, across, and both as one distance in the plane.
struct TapPlaces {
  int32_t *down, *across, *distance;

  TapPlaces(const PoolAxis& rows, const PoolAxis& columns, void* memory) {
    down = static_cast<int32_t*>(memory);
    across = down + rows.kernel * columns.kernel;
    distance = across + rows.kernel * columns.kernel;
    for (int64_t r = 0, i = 0; r < rows.kernel; ++r)
      for (int64_t s = 0; s < columns.kernel; ++s, ++i) {
        down[i] = static_cast<int32_t>(r * rows.dilation);
        across[i] = static_cast<int32_t>(s * columns.dilation);
        distance[i] = static_cast<int32_t>(down[i] * columns.in + across[i]);
      }
  }
};

static inline bool all_inside(const PoolAxis& a) {
  return a.padding == 0 && (a.out - 1) * a.stride + (a.kernel - 1) * a.dilation < a.in;
}

// One row of outputs adds to a plane of a dense NCHW dx, each to its maximum, in order. kInside: no window
// reaches over the edge. A caller may give any offsets: nothing outside is touched.
template <bool kInside, class T, class Offset>
static void scatter_row(const PoolAxis& rows, const PoolAxis& columns, int64_t oh, const T* __restrict dy,
                        int64_t step_dy, const Offset* __restrict where, int64_t step_where,
                        const TapPlaces places, T* __restrict dx) {
  const uint64_t height = rows.in, width = columns.in, taps = rows.kernel * columns.kernel;
  const int64_t top = oh * rows.stride - rows.padding, stride = columns.stride, out = columns.out;
  int64_t left = -columns.padding;
  T* const corner = dx + (kInside ? top * static_cast<int64_t>(width) : 0);
  for (int64_t ow = 0; ow < out; ++ow, left += stride) {
    const uint64_t offset = static_cast<uint64_t>(where[ow * step_where]);
    if (offset >= taps) continue;
    if (kInside) {
      corner[left + places.distance[offset]] += dy[ow * step_dy];
    } else {
      const uint64_t h = top + places.down[offset], w = left + places.across[offset];
      if (h < height && w < width) dx[h * width + w] += dy[ow * step_dy];
    }
  }
}

// The same for adaptive windows.
template <class T, class Offset>
static void scatter_adaptive_row(const PoolAxis& rows, const PoolAxis& columns, int64_t oh, const T* dy,
                                 int64_t step_dy, const Offset* where, int64_t step_where, T* dx) {
  const uint64_t height = rows.in, width = columns.in, taps = pool_taps(columns);
  const int64_t top = pool_window(rows, oh).start;
  for (int64_t ow = 0; ow < columns.out; ++ow) {
    const uint64_t offset = static_cast<uint64_t>(where[ow * step_where]);
    const uint64_t h = top + offset / taps, w = pool_window(columns, ow).start + offset % taps;
    if (h < height && w < width) dx[h * width + w] += dy[ow * step_dy];
  }
}

// Planes (n, c).
template <class T, class Offset>
static void max_pool2d_scatter(const MaxPool2dBackward<T, Offset>& f, int64_t begin, int64_t end,
                               void* scratch) {
  const PoolAxis rows = f.rows, columns = f.columns;
  const TapPlaces places(rows, columns, scratch);
  const auto row =
      all_inside(rows) && all_inside(columns) ? scatter_row<true, T, Offset> : scatter_row<false, T, Offset>;
  const int64_t channels = f.dx.shape[1];
  for (int64_t unit = begin; unit < end; ++unit) {
    const int64_t n = unit / channels, c = unit % channels;
    const T* dy = f.dy.data + n * f.dy.strides[0] + c * f.dy.strides[1];
    const Offset* where = f.where.data + n * f.where.strides[0] + c * f.where.strides[1];
    T* dx = f.dx.data + n * f.dx.strides[0] + c * f.dx.strides[1];
    __builtin_memset(dx, 0, sizeof(T) * rows.in * columns.in);
    for (int64_t oh = 0; oh < rows.out; ++oh) {
      const T* dy_row = dy + oh * f.dy.strides[2];
      const Offset* where_row = where + oh * f.where.strides[2];
      if (columns.kernel == 0)
        scatter_adaptive_row(rows, columns, oh, dy_row, f.dy.strides[3], where_row, f.where.strides[3], dx);
      else
        row(rows, columns, oh, dy_row, f.dy.strides[3], where_row, f.where.strides[3], places, dx);
    }
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
