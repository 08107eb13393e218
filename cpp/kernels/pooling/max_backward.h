// max_pool2d backward over channels, for one ISA level.
#pragma once
#include "base/interrupt.h"
#include "kernels/pooling/lanes.h"
#include "kernels/pooling/pooling.h"

namespace ranvier::RANVIER_ISA {

// The windows of one pixel: entries of its row by entries of its column.
template <class T, class Offset>
struct MaxPixel {
  const T* dy;  // of the image
  const Offset* where;
  const Offset* where_end;  // up to here any load is inside the array
  int64_t row_dy, column_dy, lane_dy, row_where, column_where, lane_where;
  PoolInputs rows, columns;
  PoolEntries row, column;
  int64_t kernel_w;
};

// Channels: contiguous whole vectors of them, contiguous but fewer than a vector, or at any distance.
enum class Channels { whole, few, any };

// dx of n channels from i on: the dy of the windows whose maximum this pixel was. room: elements up to the
// end of the row of dx.
template <Channels kind, int kVectors, class T, class Offset>
RANVIER_INLINE void max_gradient_of_lanes(const MaxPixel<T, Offset>& x, int64_t i, int n, int64_t room,
                                          T* dx) {
  vec<T> sum[kVectors] = {};
  for (int64_t a = 0; a < x.row.count; ++a)
    for (int64_t b = 0; b < x.column.count; ++b) {
      const int64_t oh = x.rows.window(x.row, a), ow = x.columns.window(x.column, b);
      const T* p = x.dy + oh * x.row_dy + ow * x.column_dy + i * x.lane_dy;
      const Offset* q = x.where + oh * x.row_where + ow * x.column_where + i * x.lane_where;
      const ivec<T> mine = ibroadcast<T>(x.rows.tap(x.row, a) * x.kernel_w + x.columns.tap(x.column, b));
#pragma GCC unroll 2
      for (int k = 0; k < kVectors; ++k) {
        const vec<T> v = kind == Channels::whole ? load(p + k * lanes<T>)
                         : kind == Channels::few ? load_n(p, n)
                                                 : load_lanes(p, x.lane_dy, n);
        const ivec<T> offset = kind == Channels::whole ? load_offsets<T>(q + k * lanes<T>, 1, lanes<T>)
                               : kind == Channels::few ? load_contiguous_offsets<T>(q, x.where_end, n)
                                                       : load_offsets<T>(q, x.lane_where, n);
        sum[k] = sum[k] + select(offset == mine, v, vec<T>{});
      }
    }
#pragma GCC unroll 2
  for (int k = 0; k < kVectors; ++k)
    if (kind == Channels::whole || (kind == Channels::few && room >= lanes<T>))  // the next pixel overwrites
      store(dx + i + k * lanes<T>, sum[k]);
    else
      store_lanes(dx + i, sum[k], n);
}

// A row of dx in one row of windows, which are side by side: each window writes its own columns. Fewer
// channels than a vector are stored as a whole vector; the next pixel overwrites its end.
template <class T, class Offset>
static void max_gradient_of_tiles(const MaxPixel<T, Offset>& x, const PoolAxis& columns, int64_t channels,
                                  T* dx) {
  constexpr int L = lanes<T>;
  const int n = static_cast<int>(channels < L ? channels : L);
  const T *dy = x.dy + x.row.window * x.row_dy, *end = dx + columns.in * channels;
  const Offset* where = x.where + x.row.window * x.row_where;
  const ivec<T> first = ibroadcast<T>(x.row.tap * x.kernel_w);
  for (int64_t ow = 0; ow < columns.out; ++ow, dy += x.column_dy, where += x.column_where) {
    for (int64_t i = 0; i < channels; i += L) {
      const int64_t j = i > channels - n ? channels - n : i;  // the last overlaps the one before
      const vec<T> v = n == L ? load(dy + j) : load_n(dy + j, n);
      ivec<T> tap = load_contiguous_offsets<T>(where + j, x.where_end, n) - first;
      for (T* to = dx + j; to < dx + columns.kernel * channels; to += channels, tap -= 1)
        store_lanes(to, select(tap == 0, v, vec<T>{}), end - to >= L ? L : n);
    }
    dx += columns.kernel * channels;
  }
  for (; dx < end; ++dx) *dx = 0;
}

template <Channels kind, class T, class Offset>
static void max_gradient_of_row(const Team& team, MaxPixel<T, Offset> x, int64_t width, int64_t channels,
                                T* dx) {
  constexpr int L = lanes<T>;
  for (int64_t w = 0; w < width; ++w, dx += channels) {
    if ((w & 1023) == 1023 && interrupted(team)) return;
    x.column = x.columns.of[w];
    const int64_t room = (width - w) * channels;
    int64_t i = 0;
    if constexpr (kind == Channels::few) {
      max_gradient_of_lanes<kind, 1>(x, 0, static_cast<int>(channels), room, dx);
    } else if constexpr (kind == Channels::whole) {
      for (; i + 2 * L <= channels; i += 2 * L) max_gradient_of_lanes<kind, 2>(x, i, L, room, dx);
      for (; i < channels; i += L)
        max_gradient_of_lanes<kind, 1>(x, i > channels - L ? channels - L : i, L, room, dx);
    } else {
      for (; i < channels; i += L)
        max_gradient_of_lanes<kind, 1>(x, i, static_cast<int>(channels - i < L ? channels - i : L), room, dx);
    }
  }
}

// Rows (n, h) of a channels-last dx: each pixel gathers from its windows.
template <class T, class Offset>
static void max_pool2d_gather(const Team& team, const MaxPool2dBackward<T, Offset>& f, int64_t begin,
                              int64_t end, void* scratch) {
  MaxPixel<T, Offset> x{};
  x.rows = list_pool_inputs(f.rows, scratch);
  x.columns = list_pool_inputs(f.columns, static_cast<char*>(scratch) + pool_inputs_bytes(f.rows));
  x.row_dy = f.dy.strides[2], x.column_dy = f.dy.strides[3], x.lane_dy = f.dy.strides[1];
  x.row_where = f.where.strides[2], x.column_where = f.where.strides[3], x.lane_where = f.where.strides[1];
  x.kernel_w = pool_taps(f.columns);
  const int64_t channels = f.dx.shape[1];
  const bool dense = x.lane_dy == 1 && x.lane_where == 1;
  const bool tiles =
      dense && f.columns.stride == f.columns.kernel && f.columns.dilation == 1 && all_inside(f.columns);
  x.where_end = end_of(f.where);
  for (RowWalk at(begin, f.rows.in, 1); begin < end; ++begin, at.next()) {
    x.dy = f.dy.data + at.n * f.dy.strides[0];
    x.where = f.where.data + at.n * f.where.strides[0];
    x.row = x.rows.of[at.row];
    T* dx = f.dx.data + at.n * f.dx.strides[0] + at.row * f.dx.strides[2];
    if constexpr (sizeof(Offset) == 1)
      if (dense) {
        tiles&& x.row.count == 1 ? max_gradient_of_tiles(x, f.columns, channels, dx)
        : channels >= lanes<T>   ? max_gradient_of_row<Channels::whole>(team, x, f.columns.in, channels, dx)
                                 : max_gradient_of_row<Channels::few>(team, x, f.columns.in, channels, dx);
        continue;
      }
    max_gradient_of_row<Channels::any>(team, x, f.columns.in, channels, dx);
  }
}

}  // namespace ranvier::RANVIER_ISA
