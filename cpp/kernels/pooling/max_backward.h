// max_pool2d backward, for one ISA level: each window adds its dy to the element that was its maximum, in the
// order of the windows.
#pragma once
#include "base/interrupt.h"
#include "kernels/pooling/max_gather.h"
#include "kernels/pooling/max_planes.h"
#include "kernels/pooling/row_buffer.h"
#include "kernels/pooling/tap_list.h"

namespace ranvier::RANVIER_ISA {

// A row of windows: its dy and offsets, at their first lane. Lanes are the channels of a pixel, or one in
// NCHW.
template <class T, class Offset>
struct MaxGradient {
  const T* dy;
  const Offset* where;
  int64_t row_dy, column_dy, lane_dy, row_where, column_where, lane_where;
  int64_t lanes;
  T* dx;  // of the image or plane
  int64_t row, column;
};

// `count` rows of windows, of which tap 0 of the first is in row `top` of dx, and of each the windows
// [begin, end). Taps in rows outside [first, last) and beside the image are ignored; the windows [unchecked,
// checked_again) have none, so their taps are not compared with these bounds. kDense: lanes, or in NCHW
// columns, are contiguous in dy and where.
template <bool kDense, class T>
static void scatter(MaxGradient<T, uint8_t> x, const PoolAxis& rows, const PoolAxis& columns,
                    const TapList& taps, int64_t top, int64_t count, int64_t first, int64_t last,
                    int64_t begin, int64_t end, int64_t unchecked, int64_t checked_again) {
  const int64_t stride = columns.stride, column = x.column, lanes = x.lanes, padding = columns.padding;
  const int64_t lane_dy = kDense ? 1 : x.lane_dy, lane_where = kDense ? 1 : x.lane_where;
  const int64_t column_dy = x.column_dy, column_where = x.column_where;
  const uint64_t height = last - first, width = columns.in, tap_count = taps.count;
  for (; count > 0; --count, top += rows.stride, x.dy += x.row_dy, x.where += x.row_where) {
    T* const dx = x.dx + top * x.row;
    const auto add_windows = [&](auto checked, int64_t ow, int64_t end) RANVIER_INLINED {
      const auto add = [&](int64_t left, T* to, uint64_t offset, T v) RANVIER_INLINED {
        if (offset >= tap_count) return;
        if constexpr (checked.value) {
          const uint64_t h = top - first + taps.down[offset], w = left + taps.across[offset];
          if (h >= height || w >= width) return;
        }
        to[taps.distance[offset]] += v;
      };
      const T* dy = x.dy + ow * column_dy;
      const uint8_t* where = x.where + ow * column_where;
      int64_t left = ow * stride - padding;
      T* to = dx + left * column;
      for (; ow < end; ++ow, left += stride, to += stride * column, dy += column_dy, where += column_where)
        for (int64_t i = 0; i < lanes; ++i) add(left, to + i, where[i * lane_where], dy[i * lane_dy]);
    };
    if (begin < unchecked) add_windows(std::true_type(), begin, unchecked < end ? unchecked : end);
    add_windows(std::false_type(), unchecked > begin ? unchecked : begin,
                checked_again < end ? checked_again : end);
    if (end > checked_again)
      add_windows(std::true_type(), checked_again > begin ? checked_again : begin, end);
  }
}

// The same for windows of any size: windows [ow, end) of a row of windows whose tap 0 is in row `top`. Only
// rows [first, last) of dx are written; offsets outside them or outside the image are ignored.
template <class T, class Offset>
static __attribute__((noinline, cold)) void scatter_any(const MaxGradient<T, Offset>& x, const PoolAxis& rows,
                                                        const PoolAxis& columns, int64_t top, int64_t first,
                                                        int64_t last, int64_t ow, int64_t end) {
  using Unsigned = std::conditional_t<sizeof(Offset) == 1, uint32_t, uint64_t>;
  const uint64_t height = last - first, width = columns.in;
  const Unsigned taps = static_cast<Unsigned>(pool_taps(columns)), all = taps * pool_taps(rows);
  for (; ow < end; ++ow) {
    const int64_t left = pool_window(columns, ow).start;
    for (int64_t i = 0; i < x.lanes; ++i) {
      const Unsigned offset = static_cast<Unsigned>(x.where[ow * x.column_where + i * x.lane_where]);
      if (offset >= all) continue;
      const uint64_t h = top - first + offset / taps * rows.dilation,
                     w = left + offset % taps * columns.dilation;
      if (h < height && w < width)
        x.dx[(first + h) * x.row + w * x.column + i] += x.dy[ow * x.column_dy + i * x.lane_dy];
    }
  }
}

// The first window that may reach row h.
static inline int64_t first_window(const PoolAxis& a, int64_t h) {
  if (a.kernel == 0) return h * a.out / a.in;
  const int64_t before = h + a.padding - (a.kernel - 1) * a.dilation;
  return before > 0 ? (before + a.stride - 1) / a.stride : 0;
}

// Rows [first, last) of an image or plane of dx. x.dy and x.where: those of its windows.
template <class T, class Offset>
static void scatter_rows(const Team& team, const MaxPool2dBackward<T, Offset>& f, MaxGradient<T, Offset> x,
                         const TapList& taps, int64_t first, int64_t last) {
  const PoolAxis &rows = f.rows, &columns = f.columns;
  const T* dy = x.dy;
  const Offset* where = x.where;
  const int64_t reach = (pool_taps(rows) - 1) * rows.dilation;
  const int64_t windows_at_once = kTapsBetweenTests / x.lanes + 1;
  const int64_t rows_at_once =
      16384 / static_cast<int64_t>(sizeof(T)) / x.row + 1;  // of dx, which stay in L1
  int64_t cleared = first, elements = 0;
  const auto clear_to = [&](int64_t h) {
    if (h <= cleared) return;
    if (h < cleared + rows_at_once) h = cleared + rows_at_once;
    if (h > last) h = last;
    __builtin_memset(x.dx + cleared * x.row, 0, sizeof(T) * (h - cleared) * x.row);
    cleared = h;
  };
  const bool dense = x.lane_dy == 1 && x.lane_where == 1;
  for (int64_t oh = first_window(rows, first), count; oh < rows.out; oh += count) {
    const int64_t top = pool_window(rows, oh).start, rows_below = last - 1 - reach - top;
    if (top >= last) break;
    const bool inside = top >= first && rows_below >= 0;  // all rows of these windows
    count = 1;
    if (inside && taps.count > 0 && columns.out < windows_at_once) {
      count = rows_below / rows.stride + 1 < rows_at_once ? rows_below / rows.stride + 1 : rows_at_once;
      if (count > rows.out - oh) count = rows.out - oh;
    }
    clear_to(top + (count - 1) * rows.stride + reach + 1);
    x.dy = dy + oh * x.row_dy, x.where = where + oh * x.row_where;
    for (int64_t ow = 0; ow < columns.out; ow += windows_at_once) {
      const int64_t end = columns.out - ow < windows_at_once ? columns.out : ow + windows_at_once;
      if constexpr (sizeof(Offset) == 1) {
        if (taps.count > 0) {
          const auto run = dense ? scatter<true, T> : scatter<false, T>;
          run(x, rows, columns, taps, top, count, first, last, ow, end, inside ? taps.first : end,
              inside ? taps.last : end);
          continue;
        }
      }
      scatter_any(x, rows, columns, top, first, last, ow, end);
    }
    elements += columns.out * x.lanes * count;
    if (elements < kTapsBetweenTests) continue;
    elements = 0;
    if (interrupted(team)) return;
  }
  clear_to(last);
}

// Units: rows (n, h) of a channels-last dx, planes (n, c) in NCHW.
template <class T, class Offset>
static void max_pool2d_backward(const Team& team, const MaxPool2dBackward<T, Offset>& f, int64_t begin,
                                int64_t end, void* scratch) {
  if constexpr (sizeof(Offset) == 1)
    if (f.channels_last ? max_pool2d_gather(team, f, begin, end, scratch)
                        : max_pool2d_planes(team, f, begin, end, scratch))
      return;
  const int64_t channels = f.dx.shape[1], height = f.rows.in, planes = f.channels_last ? height : channels;
  MaxGradient<T, Offset> x{};
  x.row_dy = f.dy.strides[2], x.row_where = f.where.strides[2];
  x.column_dy = f.dy.strides[3], x.column_where = f.where.strides[3];
  x.lane_dy = f.dy.strides[1], x.lane_where = f.where.strides[1];
  x.lanes = x.column = f.channels_last ? channels : 1;
  x.row = f.columns.in * x.column;
  TapList taps;
  taps.first = taps.last = taps.count = 0;
  if (sizeof(Offset) == 1) list_taps(f.rows, f.columns, x.row, x.column, taps);
  while (begin < end) {
    const int64_t n = begin / planes, c = f.channels_last ? 0 : begin % planes;
    const int64_t first = f.channels_last ? begin % planes : 0;
    const int64_t units = !f.channels_last ? 1 : height - first < end - begin ? height - first : end - begin;
    x.dy = f.dy.data + n * f.dy.strides[0] + c * x.lane_dy;
    x.where = f.where.data + n * f.where.strides[0] + c * x.lane_where;
    x.dx = f.dx.data + n * f.dx.strides[0] + c * f.dx.strides[1];
    scatter_rows(team, f, x, taps, first, f.channels_last ? first + units : height);
    begin += units;
  }
}

}  // namespace ranvier::RANVIER_ISA
