// max_pool2d backward over channels, for one ISA level.
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

// dx of n channels from i on: the dy of windows whose maximum this pixel was. kDense: kVectors whole vectors
// of contiguous channels.
template <bool kDense, int kVectors, class T, class Offset>
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
        const vec<T> v = kDense ? load(p + k * lanes<T>) : load_any(p, x.lane_dy, n);
        const ivec<T> offset =
            kDense ? load_offsets<T>(q + k * lanes<T>, 1, lanes<T>) : load_offsets<T>(q, x.lane_where, n);
        sum[k] = sum[k] + select(offset == mine, v, vec<T>{});
      }
    }
#pragma GCC unroll 2
  for (int k = 0; k < kVectors; ++k)
    if (kDense)
      store(dx + i + k * lanes<T>, sum[k]);
    else
      store_some(dx + i, sum[k], n);
}

// The same where windows do not overlap: a pixel in one window only.
template <class T, class Offset>
RANVIER_INLINE void max_gradient_of_one_window(const MaxPixel<T, Offset>& x, int64_t channels, T* dx) {
  const int64_t oh = x.row_windows[x.a0], ow = x.column_windows[x.b0];
  const T* dy = x.dy + oh * x.row_dy + ow * x.column_dy;
  const Offset* where = x.where + oh * x.row_where + ow * x.column_where;
  const ivec<T> mine = ibroadcast<T>(x.row_taps[x.a0] * x.kernel_w + x.column_taps[x.b0]);
  for (int64_t i = 0; i < channels; i += lanes<T>) {
    const int64_t j = i > channels - lanes<T> ? channels - lanes<T> : i;  // the last overlaps the one before
    const ivec<T> offset = load_offsets<T>(where + j, 1, lanes<T>);
    store(dx + j, select(offset == mine, load(dy + j), vec<T>{}));
  }
}

template <bool kDense, class T, class Offset>
static void max_gradient_of_row(MaxPixel<T, Offset> x, const PoolTable& columns, int64_t width,
                                int64_t channels, T* dx) {
  constexpr int L = lanes<T>;
  const int32_t* starts = columns.starts;
  for (int64_t w = 0; w < width; ++w, dx += channels) {
    x.b0 = starts[w], x.b1 = starts[w + 1];
    int64_t i = 0;
    if constexpr (kDense) {
      if (x.a1 - x.a0 == 1 && x.b1 - x.b0 == 1) {
        max_gradient_of_one_window(x, channels, dx);
        continue;
      }
      for (; i + 2 * L <= channels; i += 2 * L) max_gradient_of_lanes<true, 2>(x, i, L, dx);
      for (; i < channels; i += L)
        max_gradient_of_lanes<true, 1>(x, i > channels - L ? channels - L : i, L, dx);
    } else {
      for (; i < channels; i += L)
        max_gradient_of_lanes<false, 1>(x, i, static_cast<int>(channels - i < L ? channels - i : L), dx);
    }
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
  const bool dense = x.lane_dy == 1 && x.lane_where == 1 && channels >= lanes<T>;
  for (RowWalk at(begin, f.rows.in, 1); begin < end; ++begin, at.next()) {
    x.dy = f.dy.data + at.n * f.dy.strides[0];
    x.where = f.where.data + at.n * f.where.strides[0];
    x.a0 = rows.starts[at.row], x.a1 = rows.starts[at.row + 1];
    T* dx = f.dx.data + at.n * f.dx.strides[0] + at.row * f.dx.strides[2];
    if constexpr (sizeof(Offset) == 1)
      if (dense) {
        max_gradient_of_row<true>(x, columns, f.columns.in, channels, dx);
        continue;
      }
    max_gradient_of_row<false>(x, columns, f.columns.in, channels, dx);
  }
}

}  // namespace ranvier::RANVIER_ISA
