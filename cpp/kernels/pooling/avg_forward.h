// avg_pool2d over rows of y, for one ISA level.
#pragma once
#include "kernels/pooling/lanes.h"
#include "kernels/pooling/pooling.h"
#include "kernels/pooling/row_buffer.h"

namespace ranvier::RANVIER_ISA {

// The part of one window that lies inside the image; channels are `lane` elements apart in x.
template <class T>
struct SumWindow {
  const T* x;
  int64_t rows, columns;
  int64_t row, column, lane;
  T divisor;
};

template <int kStride, int kVectors, class T>
RANVIER_INLINE void mean_of_lanes(const SumWindow<T>& w, int64_t i, T* y) {
  vec<T> sum[kVectors] = {};
  for (int64_t r = 0; r < w.rows; ++r)
    for (int64_t s = 0; s < w.columns; ++s) {
      const T* p = w.x + r * w.row + s * w.column + i * w.lane;
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v)
        sum[v] = sum[v] + load_lanes<kStride>(p + v * lanes<T> * w.lane, w.lane);
    }
#pragma GCC unroll 4
  for (int v = 0; v < kVectors; ++v) store(y + i + v * lanes<T>, sum[v] / broadcast<T>(w.divisor));
}

template <int kStride, class T>
RANVIER_INLINE void mean_of_last_lanes(const SumWindow<T>& w, int64_t i, int n, T* y) {
  vec<T> sum{};
  for (int64_t r = 0; r < w.rows; ++r)
    for (int64_t s = 0; s < w.columns; ++s)
      sum = sum + load_lanes_n<kStride>(w.x + r * w.row + s * w.column + i * w.lane, w.lane, n);
  store_n(y + i, sum / broadcast<T>(w.divisor), n);
}

template <int kStride, class T>
RANVIER_INLINE void mean_of_channels(const SumWindow<T>& w, int64_t count, T* y) {
  int64_t i = 0;
  for (; i + 4 * lanes<T> <= count; i += 4 * lanes<T>) mean_of_lanes<kStride, 4>(w, i, y);
  for (; i + lanes<T> <= count; i += lanes<T>) mean_of_lanes<kStride, 1>(w, i, y);
  if (i < count) mean_of_last_lanes<kStride>(w, i, static_cast<int>(count - i), y);
}

template <class T>
static void place(SumWindow<T>& w, const AvgPool2dForward<T>& f, const T* image, int64_t oh, int64_t ow) {
  const PoolWindow down = pool_window(f.rows, oh), across = pool_window(f.columns, ow);
  w.rows = down.last - down.first, w.columns = across.last - across.first;
  w.x = image + (down.start + down.first) * w.row + (across.start + across.first) * w.column;
  const int64_t elements =
      pool_divisor(f.rows, oh, f.count_include_pad) * pool_divisor(f.columns, ow, f.count_include_pad);
  w.divisor = static_cast<T>(f.divisor ? f.divisor : elements);
}

// A row (n, oh) of a channels-last y: all channels of one pixel after another.
template <int kStride, class T>
static void mean_channels_of_row(const AvgPool2dForward<T>& f, SumWindow<T> w, const T* image, int64_t oh,
                                 T* y) {
  const int64_t channels = f.y.shape[1];
  for (int64_t ow = 0; ow < f.columns.out; ++ow, y += channels) {
    place(w, f, image, oh, ow);
    mean_of_channels<kStride>(w, channels, y);
  }
}

// One window of an NCHW image: vectors along its rows.
template <class T>
static T mean_of_plane(SumWindow<T> w) {
  if (w.row == w.columns * w.column) w.columns *= w.rows, w.rows = 1;  // whole rows: one run
  vec<T> sum[4] = {};
  for (int64_t r = 0; r < w.rows; ++r) {
    const T* p = w.x + r * w.row;
    int64_t s = 0;
    if (w.column == 1) {
      for (; s + 4 * lanes<T> <= w.columns; s += 4 * lanes<T>)
        for (int v = 0; v < 4; ++v) sum[v] = sum[v] + load(p + s + v * lanes<T>);
      for (; s + lanes<T> <= w.columns; s += lanes<T>) sum[0] = sum[0] + load(p + s);
    }
    for (; s < w.columns; s += lanes<T>) {
      const int n = static_cast<int>(w.columns - s < lanes<T> ? w.columns - s : lanes<T>);
      sum[1] = sum[1] + (w.column == 1 ? load_n(p + s, n) : load_lanes_n<0>(p + s * w.column, w.column, n));
    }
  }
  return reduce_add((sum[0] + sum[1]) + (sum[2] + sum[3])) / w.divisor;
}

// The sum over the rows of the windows, for each column of the image.
template <class T>
static void sum_down_columns(const T* x, int64_t rows, int64_t row, int64_t column, int64_t width, T* sums) {
  for (int64_t j = 0; j < width; j += lanes<T>) {
    const bool whole = column == 1 && width - j >= lanes<T>;
    const int n = static_cast<int>(width - j < lanes<T> ? width - j : lanes<T>);
    vec<T> sum{};
    for (int64_t r = 0; r < rows; ++r) {
      const T* p = x + r * row + j * column;
      sum = sum + (whole ? load(p) : column == 1 ? load_n(p, n) : load_lanes_n<0>(p, column, n));
    }
    if (whole)
      store(sums + j, sum);
    else
      store_n(sums + j, sum, n);
  }
}

// ... and over their columns. across[ow]: what window ow divides by along the row.
template <int kStride, class T>
static void mean_across(const PoolAxis& columns, const T* sums, const T* across, T down, T* y) {
  for (int64_t ow = 0; ow < columns.out; ow += lanes<T>) {
    vec<T> sum{};
    for (int64_t s = 0; s < columns.kernel; ++s)
      sum = sum + load_lanes<kStride>(sums + ow * columns.stride + s, columns.stride);
    const vec<T> mean = sum / (broadcast<T>(down) * load(across + ow));
    if (columns.out - ow >= lanes<T>)
      store(y + ow, mean);
    else
      store_n(y + ow, mean, static_cast<int>(columns.out - ow));
  }
}

template <class T>
struct MeanRowScratch {
  T *sums, *across;

  MeanRowScratch(const AvgPool2dForward<T>& f, void* memory) {
    sums = static_cast<T*>(memory);
    across = sums + row_buffer_size<T>(f.columns);
    if (f.channels_last || f.columns.kernel == 0) return;
    fill(sums, row_buffer_size<T>(f.columns), vec<T>{});
    fill(across, (f.columns.out + lanes<T> - 1) / lanes<T> * lanes<T>, broadcast<T>(1));
    for (int64_t ow = 0; ow < f.columns.out && !f.divisor; ++ow)
      across[ow] = static_cast<T>(pool_divisor(f.columns, ow, f.count_include_pad));
  }
};

// A row (n, c, oh) of y in NCHW.
template <class T>
static void mean_columns_of_row(const AvgPool2dForward<T>& f, SumWindow<T> w, const T* image, int64_t oh,
                                const MeanRowScratch<T>& scratch, T* y) {
  if (f.columns.kernel == 0) {
    for (int64_t ow = 0; ow < f.columns.out; ++ow) {
      place(w, f, image, oh, ow);
      y[ow] = mean_of_plane(w);
    }
    return;
  }
  const PoolWindow down = pool_window(f.rows, oh);
  sum_down_columns(image + (down.start + down.first) * w.row, down.last - down.first, w.row, w.column,
                   f.columns.in, scratch.sums + f.columns.padding);
  const T count = static_cast<T>(f.divisor ? f.divisor : pool_divisor(f.rows, oh, f.count_include_pad));
  if (f.columns.stride == 1)
    mean_across<1>(f.columns, scratch.sums, scratch.across, count, y);
  else if (f.columns.stride == 2)
    mean_across<2>(f.columns, scratch.sums, scratch.across, count, y);
  else
    mean_across<0>(f.columns, scratch.sums, scratch.across, count, y);
}

// Rows [begin, end) of y: (n, oh) channels-last, (n, c, oh) in NCHW.
template <class T>
static void avg_pool2d_forward(const AvgPool2dForward<T>& f, int64_t begin, int64_t end, void* memory) {
  const int64_t channels = f.y.shape[1], out_h = f.rows.out;
  const MeanRowScratch<T> scratch(f, memory);
  SumWindow<T> w{};
  w.row = f.x.strides[2], w.column = f.x.strides[3], w.lane = f.x.strides[1];
  for (int64_t unit = begin; unit < end; ++unit) {
    const int64_t oh = unit % out_h, image = unit / out_h;
    const int64_t n = f.channels_last ? image : image / channels, c = f.channels_last ? 0 : image % channels;
    const T* x = f.x.data + n * f.x.strides[0] + c * f.x.strides[1];
    T* y = f.y.data + n * f.y.strides[0] + c * f.y.strides[1] + oh * f.y.strides[2];
    if (!f.channels_last)
      mean_columns_of_row(f, w, x, oh, scratch, y);
    else if (w.lane == 1)
      mean_channels_of_row<1>(f, w, x, oh, y);
    else
      mean_channels_of_row<0>(f, w, x, oh, y);
  }
}

}  // namespace ranvier::RANVIER_ISA
