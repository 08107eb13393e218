// The forward loops of avg_pool2d over rows of y, for one ISA level.
//
// A channels-last row is computed pixel by pixel, with vectors along the channels. A row in NCHW is computed
// in two steps: each column of the image is summed over the rows of the windows into a row buffer
// (row_buffer.h), then these sums are added up over the columns of each window. Windows of adaptive and
// global pools in NCHW are summed one by one.
#pragma once
#include "base/unroll.h"
#include "kernels/pooling/lanes.h"
#include "kernels/pooling/pooling.h"
#include "kernels/pooling/row_buffer.h"

namespace ranvier::RANVIER_ISA {

// The part of one window that is inside the image.
template <class T>
struct SumWindow {
  const T* x;                 // its first element
  int64_t rows, columns;      // its size
  int64_t row, column, lane;  // strides of x in elements: of rows, columns and channels
  T divisor;
};

// The means of kVectors whole vectors of contiguous channels, from channel i on.
template <int kVectors, class T>
RANVIER_INLINE void mean_of_vectors(const SumWindow<T>& w, int64_t i, T* y) {
  vec<T> sum[kVectors] = {};
  for (int64_t r = 0; r < w.rows; ++r)
    for (int64_t s = 0; s < w.columns; ++s) {
      const T* p = w.x + r * w.row + s * w.column + i;
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) sum[v] = sum[v] + load(p + v * lanes<T>);
    }
#pragma GCC unroll 4
  for (int v = 0; v < kVectors; ++v) store(y + i + v * lanes<T>, sum[v] / broadcast<T>(w.divisor));
}

// The means of channels [i, i + n), any distance apart.
template <class T>
static void mean_of_lanes(const SumWindow<T>& w, int64_t i, int n, T* y) {
  vec<T> sum{};
  for (int64_t r = 0; r < w.rows; ++r)
    for (int64_t s = 0; s < w.columns; ++s)
      sum = sum + load_lanes(w.x + r * w.row + s * w.column + i * w.lane, w.lane, n);
  store_lanes(y + i, sum / broadcast<T>(w.divisor), n);
}

// The means of all `count` channels of a window.
template <class T>
static void mean_of_channels(const SumWindow<T>& w, int64_t count, T* y) {
  constexpr int L = lanes<T>;
  int64_t i = 0;
  if (w.lane == 1) {
    for (; i + 4 * L <= count; i += 4 * L) mean_of_vectors<4>(w, i, y);
    for (; i + L <= count; i += L) mean_of_vectors<1>(w, i, y);
  }
  for (; i < count; i += L) mean_of_lanes(w, i, lanes_used<T>(count - i), y);
}

// Sets the fields of a SumWindow: at_row() those that all windows of a row share, then at_column() the
// others.
template <class T>
struct MeanPlace {
  const AvgPool2dForward<T>& f;
  const T* x;     // the first row of the image that the row of windows covers
  int64_t count;  // by how many elements of a column the mean divides (pool_divisor)

  __attribute__((always_inline)) void at_row(SumWindow<T>& w, const T* image, int64_t oh) {
    const PoolWindow down = pool_window(f.rows, oh);
    w.rows = down.last - down.first;
    x = image + (down.start + down.first) * w.row;
    count = pool_divisor(f.rows, down, f.count_include_pad);
  }
  __attribute__((always_inline)) void at_column(SumWindow<T>& w, int64_t ow) const {
    const PoolWindow across = pool_window(f.columns, ow);
    w.columns = across.last - across.first;
    w.x = x + (across.start + across.first) * w.column;
    const int64_t elements = count * pool_divisor(f.columns, across, f.count_include_pad);
    w.divisor = static_cast<T>(f.divisor ? f.divisor : elements);
  }
};

// A row (n, oh) of a channels-last y, pixel by pixel. far: whether to prefetch (pool_is_far in pooling.h).
template <class T>
static void mean_channels_of_row(const AvgPool2dForward<T>& f, SumWindow<T> w, const T* image, int64_t oh,
                                 T* y, bool far) {
  const int64_t channels = f.y.shape[1];
  MeanPlace<T> place{f, nullptr, 0};
  place.at_row(w, image, oh);
  for (int64_t ow = 0; ow < f.columns.out; ++ow, y += channels) {
    place.at_column(w, ow);
    if (far) pool_fetch_below(f.rows, w.x, w.row, f.columns.stride * w.column, sizeof(T));
    mean_of_channels(w, channels, y);
  }
}

// Adds n contiguous elements to four independent vectors of sums.
template <class T>
RANVIER_INLINE void add_run(const T* p, int64_t n, vec<T> (&sum)[4]) {
  constexpr int L = lanes<T>;
  int64_t s = 0;
  for (; s + 4 * L <= n; s += 4 * L) {
    RANVIER_UNROLL
    for (int v = 0; v < 4; ++v) {
      // Of a later plane: one plane is too short for the hardware's prefetcher.
      __builtin_prefetch(p + s + v * L + 512);
      sum[v] = sum[v] + load(p + s + v * L);
    }
  }
  if (s + 2 * L <= n) {
    for (int v = 0; v < 2; ++v) sum[v] = sum[v] + load(p + s + v * L);
    s += 2 * L;
  }
  if (s + L <= n) {
    sum[2] = sum[2] + load(p + s);
    s += L;
  }
  if (s < n) sum[3] = sum[3] + load_n(p + s, static_cast<int>(n - s));
}

template <class T>
RANVIER_INLINE T mean_of(const vec<T> (&sum)[4], T divisor) {
  return reduce_add((sum[0] + sum[1]) + (sum[2] + sum[3])) / divisor;
}

// The mean of one window of an NCHW image, with vectors along its rows.
template <class T>
__attribute__((noinline)) static T mean_of_plane(const SumWindow<T>& w) {
  vec<T> sum[4] = {};
  for (int64_t r = 0; r < w.rows; ++r) {
    const T* p = w.x + r * w.row;
    if (w.column == 1) {
      add_run(p, w.columns, sum);
      continue;
    }
    for (int64_t s = 0; s < w.columns; s += lanes<T>) {
      const int n = lanes_used<T>(w.columns - s);
      sum[1] = sum[1] + load_lanes(p + s * w.column, w.column, n);
    }
  }
  return mean_of<T>(sum, w.divisor);
}

// For each of the `width` columns of the image: the sum over `rows` rows from x on. row, column: strides in
// elements.
template <class T>
static void sum_down_columns(const T* x, int64_t rows, int64_t row, int64_t column, int64_t width, T* sums) {
  for (int64_t j = 0; j < width; j += lanes<T>) {
    const int n = lanes_used<T>(width - j);
    vec<T> sum{};
    for (int64_t r = 0; r < rows; ++r) sum = sum + load_lanes(x + r * row + j * column, column, n);
    // A whole vector, 0 behind the last column, since a masked store would delay later loads of these
    // elements.
    store(sums + j, sum);
  }
}

// The means of a row of windows from the sums of columns. A mean divides by down * across[ow]: the number of
// elements of window ow along a column and along a row. kStride: as for load_every() in lanes.h.
template <int kStride, class T>
static void mean_across(const PoolAxis& columns, const T* sums, const T* across, T down, T* y) {
  const Every<T> every(columns.stride);
  for (int64_t ow = 0; ow < columns.out; ow += lanes<T>) {
    // Few windows: gathering a vector would take longer.
    if (kStride == 0 && 2 * (columns.out - ow) <= lanes<T>) {
      for (; ow < columns.out; ++ow) {
        T sum = 0;
        for (int64_t s = 0; s < columns.kernel; ++s) sum = sum + sums[ow * columns.stride + s];
        y[ow] = sum / (down * across[ow]);
      }
      return;
    }
    vec<T> sum{};
    for (int64_t s = 0; s < columns.kernel; ++s)
      sum = sum + load_every<kStride>(sums + ow * columns.stride + s, every, lanes<T>);
    const vec<T> mean = sum / (broadcast<T>(down) * load(across + ow));
    store_lanes(y + ow, mean, lanes_used<T>(columns.out - ow));
  }
}

// The same for a long row, in pieces of `piece` windows, with a test for an interrupt after each.
template <class T>
static __attribute__((noinline)) void mean_across_in_pieces(const Team& team, PoolAxis columns, const T* sums,
                                                            const T* across, T down, T* y, int64_t piece) {
  for (int64_t left = columns.out; left > 0; left -= piece) {
    columns.out = left < piece ? left : piece;
    if (columns.stride == 1)
      mean_across<1>(columns, sums, across, down, y);
    else if (columns.stride == 2)
      mean_across<2>(columns, sums, across, down, y);
    else
      mean_across<0>(columns, sums, across, down, y);
    if (interrupted(team)) return;
    sums += piece * columns.stride;
    across += piece;
    y += piece;
  }
}

// A thread's workspace for rows in NCHW: a row buffer for the sums, and the divisors along a row (all 1 if
// f.divisor is given).
template <class T>
struct MeanRowScratch {
  T *sums, *across;
  int64_t piece;  // windows of a piece of a long row

  MeanRowScratch(const AvgPool2dForward<T>& f, void* memory) {
    sums = static_cast<T*>(memory);
    across = sums + row_buffer_size<T>(f.columns);
    piece = windows_at_once(f.columns, f.columns.kernel);
    if (f.channels_last || f.columns.kernel == 0) return;
    fill(sums, row_buffer_size<T>(f.columns), vec<T>{});
    fill(across, (f.columns.out + lanes<T> - 1) / lanes<T> * lanes<T>, broadcast<T>(1));
    for (int64_t ow = 0; ow < f.columns.out && !f.divisor; ++ow)
      across[ow] = static_cast<T>(pool_divisor(f.columns, pool_window(f.columns, ow), f.count_include_pad));
  }
};

// A row (n, c, oh) of y in NCHW. image: the plane of x.
template <class T>
static void mean_columns_of_row(const Team& team, const AvgPool2dForward<T>& f, SumWindow<T> w,
                                const T* image, int64_t oh, const MeanRowScratch<T>& scratch, T* y) {
  if (f.columns.kernel == 0) {
    MeanPlace<T> place{f, nullptr, 0};
    place.at_row(w, image, oh);
    for (int64_t ow = 0; ow < f.columns.out; ++ow) {
      place.at_column(w, ow);
      y[ow] = mean_of_plane(w);
    }
    return;
  }
  const PoolWindow down = pool_window(f.rows, oh);
  sum_down_columns(image + (down.start + down.first) * w.row, down.last - down.first, w.row, w.column,
                   f.columns.in, scratch.sums + f.columns.padding);
  const int64_t divisor_of_rows = pool_divisor(f.rows, down, f.count_include_pad);
  const T count = static_cast<T>(f.divisor ? f.divisor : divisor_of_rows);
  if (scratch.piece <= f.columns.out)
    return mean_across_in_pieces(team, f.columns, scratch.sums, scratch.across, count, y, scratch.piece);
  if (f.columns.stride == 1)
    mean_across<1>(f.columns, scratch.sums, scratch.across, count, y);
  else if (f.columns.stride == 2)
    mean_across<2>(f.columns, scratch.sums, scratch.across, count, y);
  else
    mean_across<0>(f.columns, scratch.sums, scratch.across, count, y);
}

// The means of whole planes [begin, end) in NCHW (global average pooling).
template <class T>
static void mean_of_planes(const AvgPool2dForward<T>& f, SumWindow<T> w, int64_t begin, int64_t end) {
  w.rows = f.rows.in;
  w.columns = f.columns.in;
  const int64_t elements = w.rows * w.columns;
  w.divisor = static_cast<T>(f.divisor ? f.divisor : elements);
  // Elements of a plane if it is contiguous, else 0.
  const int64_t n = w.column == 1 && w.row == w.columns ? w.rows * w.columns : 0;
  for (RowWalk at(begin, f.y.shape[1], 1); begin < end; ++begin, at.next()) {
    w.x = f.x.data + at.n * f.x.strides[0] + at.row * f.x.strides[1];
    T& y = f.y.data[at.n * f.y.strides[0] + at.row * f.y.strides[1]];
    if (n) {
      vec<T> sum[4] = {};
      add_run(w.x, n, sum);
      y = mean_of<T>(sum, w.divisor);
    } else {
      y = mean_of_plane(w);
    }
  }
}

// AvgPoolKernels::forward: rows [begin, end) of y.
template <class T>
static void avg_pool2d_forward(const Team& team, const AvgPool2dForward<T>& f, int64_t begin, int64_t end,
                               void* memory) {
  const MeanRowScratch<T> scratch(f, memory);
  SumWindow<T> w{};
  w.row = f.x.strides[2];
  w.column = f.x.strides[3];
  w.lane = f.x.strides[1];
  if (!f.channels_last && is_global(f.rows) && is_global(f.columns)) return mean_of_planes(f, w, begin, end);
  const bool far = RANVIER_HAS_FMA && pool_is_far(f.x.shape, w.column, sizeof(T));
  const int64_t planes = f.channels_last ? 1 : f.y.shape[1];
  for (RowWalk at(begin, f.rows.out, planes); begin < end; ++begin, at.next()) {
    const T* x = f.x.data + at.n * f.x.strides[0] + at.c * f.x.strides[1];
    T* y = f.y.data + at.n * f.y.strides[0] + at.c * f.y.strides[1] + at.row * f.y.strides[2];
    if (f.channels_last)
      mean_channels_of_row(f, w, x, at.row, y, far);
    else
      mean_columns_of_row(team, f, w, x, at.row, scratch, y);
  }
}

}  // namespace ranvier::RANVIER_ISA
