// The backward loops of avg_pool2d, for one ISA level. Channels-last, each pixel of dx sums over the windows
// that contain it (avg_pool2d_gather). In NCHW, each row of dy is spread over the columns of a row buffer,
// which is then added to the rows of dx that its windows cover (avg_pool2d_spread).
#pragma once
#include "kernels/pooling/lanes.h"
#include "kernels/pooling/pooling.h"
#include "kernels/pooling/row_buffer.h"

namespace ranvier::RANVIER_ISA {

// One pixel of dx and the windows that contain it: row.count by column.count windows, which are neighbours in
// dy. (An average pool has no dilation.)
template <class T>
struct MeanPixel {
  const T* dy;                          // of this image
  int64_t row_step, column_step, lane;  // strides of dy in elements: of rows, columns and channels
  PoolInputs rows, columns;             // the windows of all rows and columns of the image
  PoolEntries row, column;              // the windows of this pixel
  // For each row and column of windows the number of elements by which a mean divides. A window's divisor is
  // the product of both numbers, unless `divisor` is not 0.
  const int64_t *row_counts, *column_counts;
  int64_t divisor;
};

// dx of channels [i, i + n) of a pixel: the sum of dy * (1 / divisor) over its windows. kWhole: the channels
// are a whole vector and contiguous in dy.
template <bool kWhole, class T>
RANVIER_INLINE void mean_gradient_of_lanes(const MeanPixel<T>& x, int64_t i, int n, T* dx) {
  vec<T> sum{};
  int64_t elements = x.divisor;
  T share = T(1) / static_cast<T>(elements ? elements : 1);
  // Members are copied to locals, since the compiler has to assume that a store to dx changes x.
  const int64_t rows = x.row.count;
  const int64_t columns = x.column.count;
  const int64_t step = x.column_step;
  const int64_t* row_counts = x.row_counts + x.row.window;
  const int64_t* counts = x.column_counts + x.column.window;
  const T* row = x.dy + x.row.window * x.row_step + x.column.window * step + i * x.lane;
  for (int64_t a = 0; a < rows; ++a, row += x.row_step) {
    const T* p = row;
    for (int64_t b = 0; b < columns; ++b, p += step) {
      const int64_t count = row_counts[a] * counts[b];
      if (!x.divisor && count != elements) {
        elements = count;
        share = T(1) / static_cast<T>(count);
      }
      const vec<T> dy = kWhole ? load(p) : load_lanes(p, x.lane, n);
      sum = fma(dy, broadcast<T>(share), sum);
    }
  }
  store_lanes(dx + i, sum, n);
}

// dx of a row of pixels, with all channels. Ends early after an interrupt.
template <class T>
static void mean_gradient_of_row(const Team& team, MeanPixel<T> x, int64_t width, int64_t channels, T* dx) {
  constexpr int L = lanes<T>;
  for (int64_t w = 0; w < width; ++w, dx += channels) {
    if ((w & 1023) == 1023 && interrupted(team)) return;
    x.column = x.columns.of[w];
    int64_t i = 0;
    if (x.lane == 1)
      for (; i + L <= channels; i += L) mean_gradient_of_lanes<true>(x, i, L, dx);
    for (; i < channels; i += L) mean_gradient_of_lanes<false>(x, i, lanes_used<T>(channels - i), dx);
  }
}

// Rows (n, h) of a channels-last dx: each pixel adds up the gradients of its windows.
template <class T>
static void avg_pool2d_gather(const Team& team, const AvgPool2dBackward<T>& f, int64_t begin, int64_t end,
                              void* scratch) {
  MeanPixel<T> x{};
  char* memory = static_cast<char*>(scratch);
  // The next `bytes` bytes of the workspace.
  const auto take = [&](size_t bytes) {
    void* taken = memory;
    memory += bytes;
    return taken;
  };
  x.rows = list_pool_inputs(f.rows, take(pool_inputs_bytes(f.rows)));
  x.columns = list_pool_inputs(f.columns, take(pool_inputs_bytes(f.columns)));
  const auto counts = [&](const PoolAxis& a) {
    int64_t* all = static_cast<int64_t*>(take(pool_counts_bytes(a)));
    for (int64_t o = 0; o < a.out; ++o) all[o] = pool_divisor(a, pool_window(a, o), f.count_include_pad);
    return all;
  };
  x.row_counts = counts(f.rows);
  x.column_counts = counts(f.columns);
  x.row_step = f.dy.strides[2];
  x.column_step = f.dy.strides[3];
  x.lane = f.dy.strides[1];
  x.divisor = f.divisor;
  for (int64_t unit = begin; unit < end; ++unit) {
    const int64_t n = unit / f.rows.in;
    const int64_t h = unit % f.rows.in;
    x.dy = f.dy.data + n * f.dy.strides[0];
    x.row = x.rows.of[h];
    T* dx = f.dx.data + n * f.dx.strides[0] + h * f.dx.strides[2];
    mean_gradient_of_row(team, x, f.columns.in, f.dx.shape[1], dx);
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

// Adds one row of dy to the columns of its windows: spread[j] = sum of dy[ow] share[ow] over the windows that
// column j is in. share[ow] is 1 / divisor. spread is a row buffer (row_buffer.h): it includes the padding,
// so that no tap is outside. kernel = 0: adaptive windows, of different lengths and without padding.
template <class T>
static void spread_row(const Team& team, const PoolAxis columns, const T* __restrict dy, int64_t step,
                       const T* __restrict share, T* __restrict spread, int64_t size) {
  fill(spread, size, vec<T>{});
  if (columns.kernel == 0) {
    for (int64_t ow = 0; ow < columns.out; ++ow) {
      const PoolWindow w = pool_window(columns, ow);
      for (int64_t j = w.start; j < w.start + w.last; ++j) spread[j] += dy[ow * step] * share[ow];
    }
    return;
  }
  for (int64_t s = 0; s < columns.kernel; ++s) {
    if ((s & 63) == 63 && interrupted(team)) return;
    for (int64_t ow = 0; ow < columns.out; ++ow) spread[ow * columns.stride + s] += dy[ow * step] * share[ow];
  }
}

// If each plane is one window, all elements of its dx have the same value.
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

// Planes (n, c) of a dense NCHW dx: each row of dy is spread over the columns once, and the result is added
// to all rows of its windows.
template <class T>
static void avg_pool2d_spread(const Team& team, const AvgPool2dBackward<T>& f, int64_t begin, int64_t end,
                              void* scratch) {
  const int64_t height = f.rows.in;
  const int64_t width = f.columns.in;
  const int64_t channels = f.dx.shape[1];
  const int64_t size = row_buffer_size<T>(f.columns);
  T* spread = static_cast<T*>(scratch);
  T* share = spread + size;
  const int64_t columns_work = width + f.columns.out;
  for (int64_t unit = begin; unit < end; ++unit) {
    const int64_t n = unit / channels;
    const int64_t c = unit % channels;
    const T* dy = f.dy.data + n * f.dy.strides[0] + c * f.dy.strides[1];
    T* dx = f.dx.data + n * f.dx.strides[0] + c * f.dx.strides[1];
    __builtin_memset(dx, 0, sizeof(T) * height * width);
    int64_t down = 0;  // the value of `count` for which `share` holds
    int64_t work = 0;  // elements since the last test for an interrupt
    for (int64_t oh = 0; oh < f.rows.out; ++oh, dy += f.dy.strides[2]) {
      const PoolWindow w = pool_window(f.rows, oh);
      const int64_t count = pool_divisor(f.rows, w, f.count_include_pad);
      for (int64_t ow = 0; ow < f.columns.out && count != down; ++ow) {
        const int64_t across = pool_divisor(f.columns, pool_window(f.columns, ow), f.count_include_pad);
        const int64_t elements = count * across;
        share[ow] = T(1) / static_cast<T>(f.divisor ? f.divisor : elements);
      }
      down = count;
      if ((work += columns_work * (w.last - w.first + 1)) > kTapsBetweenTests) {
        if (interrupted(team)) return;
        work = 0;
      }
      spread_row(team, f.columns, dy, f.dy.strides[3], share, spread, size);
      for (int64_t r = w.first; r < w.last; ++r)
        add_row(dx + (w.start + r) * width, spread + f.columns.padding, width);
    }
  }
}

// AvgPoolKernels::backward: units [begin, end) of dx.
template <class T>
static void avg_pool2d_backward(const Team& team, const AvgPool2dBackward<T>& f, int64_t begin, int64_t end,
                                void* scratch) {
  if (f.channels_last)
    avg_pool2d_gather(team, f, begin, end, scratch);
  else if (is_global(f.rows) && is_global(f.columns))
    avg_pool2d_fill(f, begin, end);
  else
    avg_pool2d_spread(team, f, begin, end, scratch);
}

}  // namespace ranvier::RANVIER_ISA
