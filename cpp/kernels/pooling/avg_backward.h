// avg_pool2d backward, for one ISA level.
#pragma once
#include "kernels/pooling/lanes.h"
#include "kernels/pooling/pooling.h"
#include "kernels/pooling/row_buffer.h"

namespace ranvier::RANVIER_ISA {

// The windows of one pixel: entries [a0, a1) of the table of rows by [b0, b1) of that of columns. Their
// counts are what the windows divide by.
template <class T>
struct MeanPixel {
  const T* dy;  // of the image
  int64_t row, column, lane;
  const int32_t *row_windows, *row_counts, *column_windows, *column_counts;
  int32_t a0, a1, b0, b1;
  int64_t divisor;
};

// n channels of any distance; kWhole: a vector of contiguous ones
template <bool kWhole, class T>
RANVIER_INLINE void mean_gradient_of_lanes(const MeanPixel<T>& x, int64_t i, int n, T* dx) {
  vec<T> sum{};
  int64_t elements = x.divisor;
  T share = T(1) / static_cast<T>(elements ? elements : 1);
  for (int32_t a = x.a0; a < x.a1; ++a)
    for (int32_t b = x.b0; b < x.b1; ++b) {
      const int64_t count = int64_t{x.row_counts[a]} * x.column_counts[b];
      if (!x.divisor && count != elements) elements = count, share = T(1) / static_cast<T>(count);
      const T* p = x.dy + x.row_windows[a] * x.row + x.column_windows[b] * x.column + i * x.lane;
      sum = fma(kWhole ? load(p) : load_any(p, x.lane, n), broadcast<T>(share), sum);
    }
  store_some(dx + i, sum, n);
}

template <class T>
static void mean_gradient_of_row(MeanPixel<T> x, const PoolTable& columns, int64_t width, int64_t channels,
                                 T* dx) {
  constexpr int L = lanes<T>;
  const int32_t* starts = columns.starts;
  for (int64_t w = 0; w < width; ++w, dx += channels) {
    x.b0 = starts[w], x.b1 = starts[w + 1];
    int64_t i = 0;
    if (x.lane == 1)
      for (; i + L <= channels; i += L) mean_gradient_of_lanes<true>(x, i, L, dx);
    for (; i < channels; i += L)
      mean_gradient_of_lanes<false>(x, i, static_cast<int>(channels - i < L ? channels - i : L), dx);
  }
}

// Rows (n, h) of a channels-last dx: each pixel gathers from its windows.
template <class T>
static void avg_pool2d_gather(const AvgPool2dBackward<T>& f, int64_t begin, int64_t end, void* scratch) {
  const PoolTable rows = make_pool_table(f.rows, scratch);
  const PoolTable columns =
      make_pool_table(f.columns, static_cast<char*>(scratch) + pool_table_bytes(f.rows));
  const auto divisor = [&](const PoolAxis& a, int64_t o) {
    return static_cast<int32_t>(pool_divisor(a, pool_window(a, o), f.count_include_pad));
  };
  for (int32_t i = 0; i < rows.starts[f.rows.in]; ++i) rows.taps[i] = divisor(f.rows, rows.windows[i]);
  for (int32_t i = 0; i < columns.starts[f.columns.in]; ++i)
    columns.taps[i] = divisor(f.columns, columns.windows[i]);
  MeanPixel<T> x{};
  x.row = f.dy.strides[2], x.column = f.dy.strides[3], x.lane = f.dy.strides[1];
  x.row_windows = rows.windows, x.row_counts = rows.taps;
  x.column_windows = columns.windows, x.column_counts = columns.taps;
  x.divisor = f.divisor;
  for (int64_t unit = begin; unit < end; ++unit) {
    const int64_t n = unit / f.rows.in, h = unit % f.rows.in;
    x.dy = f.dy.data + n * f.dy.strides[0];
    x.a0 = rows.starts[h], x.a1 = rows.starts[h + 1];
    T* dx = f.dx.data + n * f.dx.strides[0] + h * f.dx.strides[2];
    mean_gradient_of_row(x, columns, f.columns.in, f.dx.shape[1], dx);
  }
}

// dx[j] += v[j] along a row
template <class T>
static void add_row(T* dx, const T* v, int64_t width) {
  int64_t j = 0;
  for (; j + lanes<T> <= width; j += lanes<T>) store(dx + j, load(dx + j) + load(v + j));
  if (j < width) {
    const int n = static_cast<int>(width - j);
    store_n(dx + j, load_n(dx + j, n) + load_n(v + j, n), n);
  }
}

// One row of dy spread over the columns: spread[j] = sum of dy[ow] share[ow] over the windows that column j
// lies in. spread is a row buffer, padding included.
template <class T>
static void spread_row(const PoolAxis columns, const T* __restrict dy, int64_t step,
                       const T* __restrict share, T* __restrict spread, int64_t size) {
  fill(spread, size, vec<T>{});
  if (columns.kernel == 0) {
    for (int64_t ow = 0; ow < columns.out; ++ow) {
      const PoolWindow w = pool_window(columns, ow);
      for (int64_t j = w.start; j < w.start + w.last; ++j) spread[j] += dy[ow * step] * share[ow];
    }
    return;
  }
  for (int64_t s = 0; s < columns.kernel; ++s)
    for (int64_t ow = 0; ow < columns.out; ++ow) spread[ow * columns.stride + s] += dy[ow * step] * share[ow];
}

// The same where each plane is one window: all of it gets the same.
template <class T>
static void avg_pool2d_fill(const AvgPool2dBackward<T>& f, int64_t begin, int64_t end) {
  constexpr int L = lanes<T>;
  const int64_t size = f.rows.in * f.columns.in;
  const T share = T(1) / static_cast<T>(f.divisor ? f.divisor : size);
  for (RowWalk at(begin, f.dx.shape[1], 1); begin < end; ++begin, at.next()) {
    const vec<T> v = broadcast<T>(f.dy.data[at.n * f.dy.strides[0] + at.row * f.dy.strides[1]] * share);
    T* dx = f.dx.data + at.n * f.dx.strides[0] + at.row * f.dx.strides[1];
    int64_t i = 0;
    for (; i + L <= size; i += L) store(dx + i, v);
    if (i < size) store_n(dx + i, v, static_cast<int>(size - i));
  }
}

// Planes (n, c) of a dense NCHW dx: each row of dy is spread over the columns once and added to the rows of
// its windows.
template <class T>
static void avg_pool2d_spread(const AvgPool2dBackward<T>& f, int64_t begin, int64_t end, void* scratch) {
  const int64_t height = f.rows.in, width = f.columns.in, channels = f.dx.shape[1];
  const int64_t size = row_buffer_size<T>(f.columns);
  T* spread = static_cast<T*>(scratch);
  T* share = spread + size;
  for (int64_t unit = begin; unit < end; ++unit) {
    const int64_t n = unit / channels, c = unit % channels;
    const T* dy = f.dy.data + n * f.dy.strides[0] + c * f.dy.strides[1];
    T* dx = f.dx.data + n * f.dx.strides[0] + c * f.dx.strides[1];
    __builtin_memset(dx, 0, sizeof(T) * height * width);
    int64_t down = 0;
    for (int64_t oh = 0; oh < f.rows.out; ++oh, dy += f.dy.strides[2]) {
      const PoolWindow w = pool_window(f.rows, oh);
      const int64_t count = pool_divisor(f.rows, w, f.count_include_pad);
      for (int64_t ow = 0; ow < f.columns.out && count != down; ++ow) {
        const int64_t across = pool_divisor(f.columns, pool_window(f.columns, ow), f.count_include_pad);
        const int64_t elements = count * across;
        share[ow] = T(1) / static_cast<T>(f.divisor ? f.divisor : elements);
      }
      down = count;
      spread_row(f.columns, dy, f.dy.strides[3], share, spread, size);
      for (int64_t r = w.first; r < w.last; ++r)
        add_row(dx + (w.start + r) * width, spread + f.columns.padding, width);
    }
  }
}

template <class T>
static void avg_pool2d_backward(const AvgPool2dBackward<T>& f, int64_t begin, int64_t end, void* scratch) {
  if (f.channels_last)
    avg_pool2d_gather(f, begin, end, scratch);
  else if (is_global(f.rows) && is_global(f.columns))
    avg_pool2d_fill(f, begin, end);
  else
    avg_pool2d_spread(f, begin, end, scratch);
}

}  // namespace ranvier::RANVIER_ISA
