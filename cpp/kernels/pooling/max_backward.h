// The backward loops of max_pool2d, for one ISA level: each window adds its dy to the element of dx that was
// its maximum.
//
// For channels-last images whose windows have few columns, each row of dx is gathered from the windows that
// contain it (max_pool2d_gather). Planes of NCHW images are in max_planes.h. All other cases scatter: window
// after window adds its dy (scatter_rows).
#pragma once
#include "base/interrupt.h"
#include "base/unroll.h"
#include "kernels/pooling/lanes.h"
#include "kernels/pooling/max_planes.h"
#include "kernels/pooling/pooling.h"
#include "kernels/pooling/row_buffer.h"

namespace ranvier::RANVIER_ISA {

// --- Channels-last with offsets of one byte: each row of dx is computed from the windows that contain it,
// column after column, by vectors of channels.

// The `count` rows of windows that contain a row of dx. In row a of windows, the window ow has its dy at
// dy + a * step_dy + ow * column_dy (the same for `where`). Its elements in this row of dx have the offsets
// base - a * step_base + s, s being the column in the window.
template <class T>
struct GradientRow {
  const T* dy;
  const uint8_t* where;
  int64_t count, step_dy, step_where, base, step_base;
  int64_t column_dy, column_where;
  int64_t out, width, padding, channels;  // windows of a row, columns of dx, padding at the left
  // What is prefetched for the next row of dx, or null: the row itself, and the row of windows that is new to
  // it.
  const T *next_dx, *next_dy;
  const uint8_t* next_where;
};

// The addresses at which max_gradient_of_channels() prefetches next. Its windows walk through a row with a
// step of a pixel, which the hardware does not follow where the rows come from memory: 8x192x28x28 by 3x3
// windows took 4.6 ms on a Zen 3, and .8 ms with it.
template <class T>
struct GradientFetch {
  const T *dx, *dy;
  const uint8_t* where;

  // Channels from i on prefetch the part of a dense row that begins with element i * out, or i * width.
  GradientFetch(const GradientRow<T>& row, int64_t i)
      : dx(row.next_dx ? row.next_dx + i * row.width : nullptr),
        dy(row.next_dy ? row.next_dy + i * row.out : nullptr),
        where(row.next_dy ? row.next_where + i * row.out : nullptr) {}

  // To L2, as much as a window of n channels has itself.
  RANVIER_INLINED void window(int n, int stride) {
    if (dx) fetch_run(dx, n * stride);
    if (!dy) return;
    fetch_run(dy, n);
    fetch_run(where, n);
  }

 private:
  template <class E>
  RANVIER_INLINED void fetch_run(const E*& from, int n) {
    const char* const line = reinterpret_cast<const char*>(from);
    for (int byte = 0; byte < n * int(sizeof(E)); byte += 64) __builtin_prefetch(line + byte, 0, 2);
    from += n;
  }
};

// Channels [i, i + n) of a row of dx, with kVectors vectors. kWhole: the vectors are whole, else n < lanes.
// Windows are kTaps wide and kStride apart. sum[s] is the sum for the column of tap s of the current window;
// after each window the first kStride columns are complete and are stored, and the others move on. A pixel's
// windows are added column by column, each column from the top.
template <int kTaps, int kStride, int kVectors, bool kWhole, class T>
static void max_gradient_of_channels(const Team& team, const GradientRow<T>& row, int64_t i, int n, T* dx) {
  constexpr int L = lanes<T>;
  const GradientRow<T> x = row;  // by value: a store might change what a reference names
  vec<T> sum[kTaps][kVectors] = {};
  const auto put = [&](const vec<T>(&v)[kVectors], int64_t column) RANVIER_INLINED {
    T* to = dx + column * x.channels + i;
    RANVIER_UNROLL
    for (int k = 0; k < kVectors; ++k) {
      if (kWhole) {
        store(to + k * L, v[k]);
      } else {
        store_n(to, v[k], n);
      }
    }
  };
  const T* dy = x.dy + i;
  const uint8_t* where = x.where + i;
  GradientFetch<T> fetch(x, i);
  int64_t column = -x.padding;
  for (int64_t ow = 0; ow < x.out; ++ow, dy += x.column_dy, where += x.column_where, column += kStride) {
    if ((ow & 1023) == 1023 && interrupted(team)) return;
    fetch.window(kWhole ? kVectors * L : n, kStride);
    for (int64_t a = 0; a < x.count; ++a) {
      const uint8_t base = static_cast<uint8_t>(x.base - a * x.step_base);
      const ByteOffsets<kVectors, kWhole, T> offsets(where + a * x.step_where, base, n);
      const T* p = dy + a * x.step_dy;
      vec<T> v[kVectors];
      RANVIER_UNROLL
      for (int k = 0; k < kVectors; ++k) v[k] = kWhole ? load(p + k * L) : load_n(p, n);
      RANVIER_UNROLL
      for (int tap = 0; tap < kTaps; ++tap) offsets.add(tap, v, sum[tap]);
    }
    RANVIER_UNROLL
    for (int s = 0; s < kStride; ++s)
      // As unsigned numbers, columns before the image are large, too.
      if (static_cast<uint64_t>(column + s) < static_cast<uint64_t>(x.width)) put(sum[s], column + s);
    RANVIER_UNROLL
    for (int tap = 0; tap < kTaps; ++tap) {
      const int later = tap + kStride;
      RANVIER_UNROLL
      for (int k = 0; k < kVectors; ++k) sum[tap][k] = later < kTaps ? sum[later % kTaps][k] : vec<T>{};
    }
  }
  RANVIER_UNROLL
  for (int s = 0; s < kTaps - kStride; ++s, ++column)
    if (static_cast<uint64_t>(column) < static_cast<uint64_t>(x.width)) put(sum[s], column);
  const vec<T> none[kVectors] = {};
  if (column < 0) column = 0;
  for (; column < x.width; ++column) put(none, column);
}

// All channels of a row of dx, four vectors, two or one at a time.
template <int kTaps, int kStride, class T>
static void max_gradient_of_row(const Team& team, const GradientRow<T>& x, T* dx) {
  constexpr int L = lanes<T>;
  const int64_t channels = x.channels;
  int64_t i = 0;
  for (; i + 4 * L <= channels; i += 4 * L)
    max_gradient_of_channels<kTaps, kStride, 4, true>(team, x, i, 4 * L, dx);
  for (; i + 2 * L <= channels; i += 2 * L)
    max_gradient_of_channels<kTaps, kStride, 2, true>(team, x, i, 2 * L, dx);
  if (channels < L)
    max_gradient_of_channels<kTaps, kStride, 1, false>(team, x, 0, static_cast<int>(channels), dx);
  else
    for (; i < channels; i += L) {
      const int64_t j = i > channels - L ? channels - L : i;  // the last vector overlaps the one before it
      max_gradient_of_channels<kTaps, kStride, 1, true>(team, x, j, L, dx);
    }
}

// A row of dx that at most one row of windows contains, whose windows are side by side: each window writes
// its own columns.
template <class T>
static void max_gradient_of_tiles(const GradientRow<T>& x, const PoolAxis& columns, T* dx) {
  constexpr int L = lanes<T>;
  const int64_t channels = x.channels;
  const T* dy = x.dy;
  const T* end = dx + x.width * channels;
  const uint8_t* where = x.where;
  const ivec<T> first = ibroadcast<T>(x.base);
  const int64_t out = x.count ? x.out : 0;  // no row of windows may contain this row
  for (int64_t ow = 0; ow < out; ++ow, dy += x.column_dy, where += x.column_where) {
    for (int64_t i = 0; i < channels; i += L) {
      const int64_t j = i > channels - L ? channels - L : i;  // the last vector overlaps the one before it
      const vec<T> v = load(dy + j);
      ivec<T> tap = widen_bytes(where + j, T{}) - first;
      for (T* to = dx + j; to < dx + columns.kernel * channels; to += channels, tap -= 1)
        store(to, select(tap == 0, v, vec<T>{}));
    }
    dx += columns.kernel * channels;
  }
  for (; dx < end; ++dx) *dx = 0;
}

// The loop for windows of these columns; null where there is none.
template <class T>
static auto max_gradient_loop(const PoolAxis& columns) -> void (*)(const Team&, const GradientRow<T>&, T*) {
  if (columns.kernel == 3 && columns.stride == 2) return max_gradient_of_row<3, 2, T>;
  if (columns.kernel == 3 && columns.stride == 1) return max_gradient_of_row<3, 1, T>;
  if (columns.kernel == 2 && columns.stride == 2) return max_gradient_of_row<2, 2, T>;
  if (columns.kernel == 2 && columns.stride == 1) return max_gradient_of_row<2, 1, T>;
  return nullptr;
}

// Sets what the loop over a row of dx prefetches for the next row of this image, which has the entries
// `next`.
template <class T>
static void set_next_row(const MaxPool2dBackward<T, uint8_t>& f, int64_t image, int64_t window_step,
                         const PoolEntries& now, const PoolEntries& next, const T* dx, GradientRow<T>& x) {
  const auto last_window = [&](const PoolEntries& entries) {
    const int64_t other = entries.window + (entries.count - 1) * window_step;
    return other > entries.window ? other : entries.window;
  };
  x.next_dx = dx + f.dx.strides[2];
  const int64_t window = last_window(next);
  if (next.count == 0 || (now.count > 0 && last_window(now) == window)) return;
  x.next_dy = f.dy.data + image * f.dy.strides[0] + window * f.dy.strides[2];
  x.next_where = f.where.data + image * f.where.strides[0] + window * f.where.strides[2];
}

// Computes rows [begin, end) of a channels-last dx in this way. Returns false, with nothing written, where
// scatter_rows() below is faster, or is needed since channels are not contiguous or windows have another
// form.
template <class T>
static bool max_pool2d_gather(const Team& team, const MaxPool2dBackward<T, uint8_t>& f, int64_t begin,
                              int64_t end, void* scratch) {
  const PoolAxis& rows = f.rows;
  const PoolAxis& columns = f.columns;
  const int64_t channels = f.dx.shape[1];
  const int64_t least = RANVIER_VECTOR_BYTES == 64 ? 8 : lanes<T>;
  if (f.dy.strides[1] != 1 || f.where.strides[1] != 1 || channels < least) return false;
  if (rows.kernel == 0 || columns.kernel == 0 || columns.dilation != 1) return false;
  const bool tiles = columns.stride == columns.kernel && all_inside(columns) && rows.stride >= rows.kernel &&
                     rows.dilation == 1 && channels >= lanes<T>;
  void (*run)(const Team&, const GradientRow<T>&, T*) = nullptr;
  // Other types and levels have no such loop, which keeps the code small.
  if constexpr (RANVIER_VECTOR_BYTES >= 32 && sizeof(T) == 4) run = max_gradient_loop<T>(columns);
  if (!tiles && !run) return false;
  const PoolInputs inputs = list_pool_inputs(rows, scratch);
  GradientRow<T> x{};
  x.step_dy = inputs.window_step * f.dy.strides[2];
  x.step_where = inputs.window_step * f.where.strides[2];
  x.step_base = inputs.tap_step * columns.kernel;
  x.column_dy = f.dy.strides[3];
  x.column_where = f.where.strides[3];
  x.out = columns.out;
  x.width = columns.in;
  x.padding = columns.padding;
  x.channels = channels;
  const bool fetches = run && x.column_dy == channels && x.column_where == channels;
  for (RowWalk at(begin, rows.in, 1); begin < end; ++begin, at.next()) {
    const PoolEntries entries = inputs.of[at.row];
    x.dy = f.dy.data + at.n * f.dy.strides[0] + entries.window * f.dy.strides[2];
    x.where = f.where.data + at.n * f.where.strides[0] + entries.window * f.where.strides[2];
    x.count = entries.count;
    x.base = entries.tap * columns.kernel;
    T* dx = f.dx.data + at.n * f.dx.strides[0] + at.row * f.dx.strides[2];
    x.next_dx = nullptr;
    x.next_dy = nullptr;
    if (fetches && at.row + 1 < rows.in)
      set_next_row(f, at.n, inputs.window_step, entries, inputs.of[at.row + 1], dx, x);
    if (tiles) {
      max_gradient_of_tiles(x, columns, dx);
    } else {
      run(team, x, dx);
    }
    if ((begin & 63) == 63 && interrupted(team)) return true;
  }
  return true;
}

// --- All other cases: window after window adds its dy to dx.

// A row of windows, and the image or plane of dx to which it adds. Lanes are the channels of a pixel, or in
// NCHW one.
template <class T, class Offset>
struct MaxGradient {
  const T* dy;          // the first lane of the first window
  const Offset* where;  // the same
  int64_t row_dy, column_dy, lane_dy, row_where, column_where, lane_where;  // strides in elements
  int64_t lanes;
  T* dx;                // of the image, or in NCHW of the plane
  int64_t row, column;  // strides of dx in elements
};

// Adds the windows [begin, end) of `count` rows of windows. Tap 0 of the first row of windows is in row `top`
// of dx. Taps in rows outside [first, last) or in columns outside the image are ignored. Windows [unchecked,
// checked_again) have no such taps, so that theirs need no comparison. kDense: lanes are contiguous in dy and
// where.
template <bool kDense, class T>
static void scatter(MaxGradient<T, uint8_t> x, const PoolAxis& rows, const PoolAxis& columns,
                    const TapList& taps, int64_t top, int64_t count, int64_t first, int64_t last,
                    int64_t begin, int64_t end, int64_t unchecked, int64_t checked_again) {
  const int64_t stride = columns.stride;
  const int64_t column = x.column;
  const int64_t lanes = x.lanes;
  const int64_t padding = columns.padding;
  const int64_t lane_dy = kDense ? 1 : x.lane_dy;
  const int64_t lane_where = kDense ? 1 : x.lane_where;
  const int64_t column_dy = x.column_dy;
  const int64_t column_where = x.column_where;
  const uint64_t height = last - first;
  const uint64_t width = columns.in;
  const uint64_t tap_count = taps.count;
  for (; count > 0; --count, top += rows.stride, x.dy += x.row_dy, x.where += x.row_where) {
    T* const dx = x.dx + top * x.row;
    const auto add_windows = [&](auto checked, int64_t ow, int64_t end) RANVIER_INLINED {
      const auto add = [&](int64_t left, T* to, uint64_t offset, T v) RANVIER_INLINED {
        if (offset >= tap_count) return;
        if constexpr (checked.value) {
          const uint64_t h = top - first + taps.down[offset];
          const uint64_t w = left + taps.across[offset];
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
    // Windows near the left edge, those inside, and those near the right edge.
    const std::true_type checked;
    const std::false_type not_checked;
    const int64_t left_end = unchecked < end ? unchecked : end;
    const int64_t inner_begin = unchecked > begin ? unchecked : begin;
    const int64_t inner_end = checked_again < end ? checked_again : end;
    const int64_t right_begin = checked_again > begin ? checked_again : begin;
    if (begin < unchecked) add_windows(checked, begin, left_end);
    add_windows(not_checked, inner_begin, inner_end);
    if (end > checked_again) add_windows(checked, right_begin, end);
  }
}

// The same for windows of any size, adaptive ones too: windows [ow, end) of one row of windows, whose tap 0
// is in row `top` of dx. Only rows [first, last) of dx are written. Offsets that lie outside these rows or
// outside the image are ignored.
template <class T, class Offset>
static __attribute__((noinline, cold)) void scatter_any(const MaxGradient<T, Offset>& x, const PoolAxis& rows,
                                                        const PoolAxis& columns, int64_t top, int64_t first,
                                                        int64_t last, int64_t ow, int64_t end) {
  using Unsigned = std::conditional_t<sizeof(Offset) == 1, uint32_t, uint64_t>;
  const uint64_t height = last - first;
  const uint64_t width = columns.in;
  const Unsigned taps = static_cast<Unsigned>(pool_taps(columns));
  const Unsigned all = taps * pool_taps(rows);
  for (; ow < end; ++ow) {
    const int64_t left = pool_window(columns, ow).start;
    for (int64_t i = 0; i < x.lanes; ++i) {
      const Unsigned offset = static_cast<Unsigned>(x.where[ow * x.column_where + i * x.lane_where]);
      if (offset >= all) continue;
      const uint64_t h = top - first + offset / taps * rows.dilation;
      const uint64_t w = left + offset % taps * columns.dilation;
      if (h < height && w < width)
        x.dx[(first + h) * x.row + w * x.column + i] += x.dy[ow * x.column_dy + i * x.lane_dy];
    }
  }
}

// The first window that may contain row h.
static inline int64_t first_window(const PoolAxis& a, int64_t h) {
  if (a.kernel == 0) return h * a.out / a.in;
  const int64_t before = h + a.padding - (a.kernel - 1) * a.dilation;
  return before > 0 ? (before + a.stride - 1) / a.stride : 0;
}

// Computes rows [first, last) of an image or plane of dx. x.dy and x.where point at the first row of windows
// of the image. Rows of dx are set to 0 shortly before the first window that reaches them, so that they stay
// in the L1 cache.
template <class T, class Offset>
static void scatter_rows(const Team& team, const MaxPool2dBackward<T, Offset>& f, MaxGradient<T, Offset> x,
                         const TapList& taps, int64_t first, int64_t last) {
  const PoolAxis& rows = f.rows;
  const PoolAxis& columns = f.columns;
  const T* dy = x.dy;
  const Offset* where = x.where;
  const int64_t reach = (pool_taps(rows) - 1) * rows.dilation;
  const int64_t windows_at_once = kTapsBetweenTests / x.lanes + 1;
  const int64_t rows_at_once =
      16384 / static_cast<int64_t>(sizeof(T)) / x.row + 1;  // rows of dx that stay in L1
  int64_t cleared = first;
  int64_t elements = 0;
  const auto clear_to = [&](int64_t h) {
    if (h <= cleared) return;
    if (h < cleared + rows_at_once) h = cleared + rows_at_once;
    if (h > last) h = last;
    __builtin_memset(x.dx + cleared * x.row, 0, sizeof(T) * (h - cleared) * x.row);
    cleared = h;
  };
  const bool dense = x.lane_dy == 1 && x.lane_where == 1;
  for (int64_t oh = first_window(rows, first), count; oh < rows.out; oh += count) {
    const int64_t top = pool_window(rows, oh).start;
    const int64_t rows_below = last - 1 - reach - top;  // rows before `last`, below this row of windows
    if (top >= last) break;
    const bool inside = top >= first && rows_below >= 0;  // all rows of these windows are in [first, last)
    count = 1;
    if (inside && taps.count > 0 && columns.out < windows_at_once) {
      count = rows_below / rows.stride + 1 < rows_at_once ? rows_below / rows.stride + 1 : rows_at_once;
      if (count > rows.out - oh) count = rows.out - oh;
    }
    clear_to(top + (count - 1) * rows.stride + reach + 1);
    x.dy = dy + oh * x.row_dy;
    x.where = where + oh * x.row_where;
    for (int64_t ow = 0; ow < columns.out; ow += windows_at_once) {
      const int64_t end = columns.out - ow < windows_at_once ? columns.out : ow + windows_at_once;
      if constexpr (sizeof(Offset) == 1) {
        if (taps.count > 0) {
          const auto run = dense ? scatter<true, T> : scatter<false, T>;
          const int64_t unchecked = inside ? taps.first : end;
          const int64_t checked_again = inside ? taps.last : end;
          run(x, rows, columns, taps, top, count, first, last, ow, end, unchecked, checked_again);
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

// MaxPoolKernels::backward: units [begin, end), which are rows (n, h) of a channels-last dx, or planes (n, c)
// in NCHW.
template <class T, class Offset>
static void max_pool2d_backward(const Team& team, const MaxPool2dBackward<T, Offset>& f, int64_t begin,
                                int64_t end, void* scratch) {
  if constexpr (sizeof(Offset) == 1) {
    if (f.channels_last && max_pool2d_gather(team, f, begin, end, scratch)) return;
    if (!f.channels_last && max_pool2d_planes(team, f, begin, end, scratch)) return;
  }
  const int64_t channels = f.dx.shape[1];
  const int64_t height = f.rows.in;
  const int64_t planes = f.channels_last ? height : channels;
  MaxGradient<T, Offset> x{};
  x.row_dy = f.dy.strides[2];
  x.row_where = f.where.strides[2];
  x.column_dy = f.dy.strides[3];
  x.column_where = f.where.strides[3];
  x.lane_dy = f.dy.strides[1];
  x.lane_where = f.where.strides[1];
  x.lanes = f.channels_last ? channels : 1;
  x.column = x.lanes;
  x.row = f.columns.in * x.column;
  TapList taps;
  taps.first = 0;
  taps.last = 0;
  taps.count = 0;
  if (sizeof(Offset) == 1) list_taps(f.rows, f.columns, x.row, x.column, taps);
  while (begin < end) {
    const int64_t n = begin / planes;
    const int64_t c = f.channels_last ? 0 : begin % planes;
    const int64_t first = f.channels_last ? begin % planes : 0;
    // One plane, or rows of one image.
    const int64_t rows_left = height - first < end - begin ? height - first : end - begin;
    const int64_t units = f.channels_last ? rows_left : 1;
    const int64_t last = f.channels_last ? first + units : height;
    x.dy = f.dy.data + n * f.dy.strides[0] + c * x.lane_dy;
    x.where = f.where.data + n * f.where.strides[0] + c * x.lane_where;
    x.dx = f.dx.data + n * f.dx.strides[0] + c * f.dx.strides[1];
    scatter_rows(team, f, x, taps, first, last);
    begin += units;
  }
}

}  // namespace ranvier::RANVIER_ISA
