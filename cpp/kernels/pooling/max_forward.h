// The forward loops of max_pool2d over rows of y, for one ISA level.
//
// A channels-last row is computed pixel by pixel, with vectors along the channels. A row in NCHW is computed
// in two steps: the maximum of each column of the image over the rows of the windows goes into a row buffer
// (row_buffer.h), then the maximum of each window over its columns is taken. Offsets go along with the
// maxima.
#pragma once
#include "kernels/pooling/lanes.h"
#include "kernels/pooling/pooling.h"
#include "kernels/pooling/row_buffer.h"

namespace ranvier::RANVIER_ISA {

// A row of windows, which makes one row of y.
template <class T, class Offset>
struct MaxRow {
  const T* x;                 // the first element of the image, or in NCHW of the plane
  int64_t row, column, lane;  // the strides of x in elements: of rows, columns and channels
  int64_t top;                // the row of the image at which tap row 0 is
  int64_t r0, r1;             // tap rows [r0, r1) are inside the image
  int64_t kernel_w;           // pool_taps(columns)
  T* y;                       // the row of y
  Offset* where;              // the row of `where`
};

// Whether to prefetch; other cases keep the code small.
template <class Offset>
constexpr bool kFetches = RANVIER_HAS_FMA && sizeof(Offset) == 1;

// True in the lanes where v replaces the maximum so far, `best`: it is larger, or a NaN.
template <class V>
RANVIER_INLINE auto beats(V v, V best) {
  return (v > best) | (v != v);
}

// Channels [i, i + n) of one pixel of y, for a window of any kind. across: the columns of the window.
template <class T, class Offset>
__attribute__((noinline)) static void max_of_window(const MaxRow<T, Offset>& w, const PoolWindow& across,
                                                    int64_t dilation_h, int64_t dilation_w, int64_t i,
                                                    int n) {
  vec<T> best = broadcast<T>(-__builtin_inf());
  const bool empty = w.r0 >= w.r1 || across.first >= across.last;
  const int64_t first = empty ? 0 : w.r0 * w.kernel_w + across.first;  // the offset of the first tap inside
  ivec<T> offset = ibroadcast<T>(static_cast<int_of<T>>(first));
  for (int64_t r = w.r0; r < w.r1; ++r)
    for (int64_t s = across.first; s < across.last; ++s) {
      const int64_t h = w.top + r * dilation_h;
      const int64_t column = across.start + s * dilation_w;
      const vec<T> v = load_lanes(w.x + h * w.row + column * w.column + i * w.lane, w.lane, n);
      const ivec<T> better = beats(v, best);
      best = select(better, v, best);
      offset = select(better, ibroadcast<T>(static_cast<int_of<T>>(r * w.kernel_w + s)), offset);
    }
  store_lanes(w.y + i, best, n);
  store_offsets<T>(w.where + i, offset, n);
}

// `pixels` windows in a row that are inside the image, over contiguous channels; the windows are `step`
// elements apart in x. Tap k of a window has the offset first + k and is taps[k] elements from the window's
// first element. There are kTaps taps, or if kTaps is 0 `count`. kWhole: whole vectors are read and written.
// Then the last vector of a pixel overlaps the one before it, and with fewer channels than lanes a vector
// reaches into the next pixels, which are written later.
template <int kTaps, bool kWhole, class T>
static void max_of_pixels(const T* x, int64_t step, int64_t pixels, const int64_t* taps, int64_t count,
                          int64_t first, int64_t channels, T* y, uint8_t* where) {
  constexpr int L = lanes<T>;
  const int n = kWhole ? L : static_cast<int>(channels);
  const int64_t last = channels > L ? channels - L : 0;
  // Where the number of taps is known, their distances are kept in registers.
  int64_t known[kTaps + 1];
  for (int k = 0; k < kTaps; ++k) known[k] = taps[k];
  const int64_t tap_count = kTaps ? kTaps : count;
  for (; pixels > 0; --pixels, x += step, y += channels, where += channels)
    for (int64_t i = 0; i < channels; i += L) {
      const int64_t j = i < last ? i : last;
      const auto tap = [&](int64_t k) {
        if constexpr (kTaps > 0) return x + j + known[k];
        return x + j + taps[k];
      };
      vec<T> best = kWhole ? load(tap(0)) : load_n(tap(0), n);
      ivec<T> offset = ibroadcast<T>(static_cast<int_of<T>>(first));
      for (int64_t k = 1; k < tap_count; ++k) {
        const vec<T> v = kWhole ? load(tap(k)) : load_n(tap(k), n);
        const ivec<T> better = beats(v, best);
        best = select(better, v, best);
        offset = select(better, ibroadcast<T>(static_cast<int_of<T>>(first + k)), offset);
      }
      store_lanes(y + j, best, n);
      store_offsets<T>(where + j, offset, n);
    }
}

// The windows [taps.first, taps.last) of a row, which are inside the image. x_end: loads may read up to here.
// far: whether to prefetch (pool_is_far in pooling.h).
template <class T>
static void max_of_run(const MaxPool2dForward<T, uint8_t>& f, const MaxRow<T, uint8_t>& w,
                       const TapList& taps, const T* x_end, bool far) {
  constexpr int L = lanes<T>;
  const int64_t channels = f.y.shape[1];
  const int64_t kernel = f.columns.kernel;
  const int64_t step = f.columns.stride * w.column;
  const int64_t count = (w.r1 - w.r0) * kernel;
  const int64_t from = w.r0 * kernel;
  const int64_t pixels = taps.last - taps.first;
  const int64_t* distance = taps.distance + from;
  const T* x = w.x + w.top * w.row + taps.first * step - f.columns.padding * w.column;
  T* y = w.y + taps.first * channels;
  uint8_t* where = w.where + taps.first * channels;
  int64_t whole = pixels;  // pixels that may be computed by whole vectors
  if (channels < L) {      // such a vector must end within the row of y, and within the array x
    const int64_t space = x_end - x - distance[count - 1] - L;  // in x, behind the vector of the first pixel
    const int64_t fit_in_y = (pixels * channels - L) / channels + 1;
    const bool none_fits = pixels * channels < L || space < 0 || step <= 0;
    whole = none_fits ? 0 : fit_in_y;
    if (whole > 0 && space / step + 1 < whole) whole = space / step + 1;
  }
  const auto run = count == 4 ? max_of_pixels<4, true, T> : max_of_pixels<0, true, T>;
  constexpr int64_t kAtOnce = 512 / sizeof(T);  // elements to prefetch at once: more would delay other loads
  const int64_t at_once = far ? kAtOnce / step + 1 : whole;
  for (int64_t i = 0, n; i < whole; i += n) {
    n = whole - i < at_once ? whole - i : at_once;
    if (far) pool_fetch_below(f.rows, x + i * step, w.row, n * step, sizeof(T));
    run(x + i * step, step, n, distance, count, from, channels, y + i * channels, where + i * channels);
  }
  if (whole < pixels)
    max_of_pixels<0, false, T>(x + whole * step, step, pixels - whole, distance, count, from, channels,
                               y + whole * channels, where + whole * channels);
}

// A row (n, oh) of a channels-last y, pixel by pixel.
template <class T, class Offset>
static void max_channels_of_row(const MaxPool2dForward<T, Offset>& f, MaxRow<T, Offset> w,
                                const TapList& taps, const T* x_end, bool far) {
  const int64_t channels = f.y.shape[1];
  for (int64_t ow = 0; ow < f.columns.out;) {
    if constexpr (sizeof(Offset) == 1)
      if (ow == taps.first && taps.first < taps.last && w.r0 < w.r1) {
        max_of_run(f, w, taps, x_end, far);
        ow = taps.last;
        continue;
      }
    const PoolWindow across = pool_window(f.columns, ow);
    MaxRow<T, Offset> pixel = w;
    pixel.y += ow * channels;
    pixel.where += ow * channels;
    for (int64_t i = 0; i < channels; i += lanes<T>)
      max_of_window(pixel, across, f.rows.dilation, f.columns.dilation, i, lanes_used<T>(channels - i));
    ++ow;
  }
}

// The offset of padding, larger than any other; half of the range, since the tap's column is added to it.
constexpr int32_t kNoOffset = INT32_MAX / 2;

// For columns [j, j + n) of the image: the maximum over the rows of the windows, and its offset r * kernel_w.
// (The second step adds the tap's column s.) Offsets are stored as the bits of T.
template <class T, class Offset>
RANVIER_INLINE void max_down_column(const MaxRow<T, Offset>& w, int64_t dilation, int64_t j, int n, T* values,
                                    T* offsets) {
  vec<T> best = broadcast<T>(-__builtin_inf());
  const int64_t first = w.r0 < w.r1 ? w.r0 * w.kernel_w : kNoOffset;
  ivec<T> offset = ibroadcast<T>(static_cast<int_of<T>>(first));
  const T* p = w.x + (w.top + w.r0 * dilation) * w.row + j * w.column;
  for (int64_t r = w.r0; r < w.r1; ++r, p += dilation * w.row) {
    const vec<T> v = load_lanes(p, w.column, n);
    const ivec<T> better = beats(v, best);
    best = select(better, v, best);
    offset = select(better, ibroadcast<T>(static_cast<int_of<T>>(r * w.kernel_w)), offset);
  }
  if (n < lanes<T>) {  // behind the last column lies padding
    const ivec<T> inside = iota<T>() < broadcast(T(n));
    best = select(inside, best, broadcast<T>(-__builtin_inf()));
    offset = select(inside, offset, ibroadcast<T>(kNoOffset));
  }
  store(values + j, best);  // a whole vector, since a masked store would delay later loads of these elements
  store(offsets + j, from_bits(offset));
}

// The second step for window ow: the maximum of `taps` columns, whose values and offsets max_down_column()
// has stored from element `at` on, `dilation` apart. Of equal values the one with the smaller offset counts,
// which is the first in the window; of several NaN the last.
template <class T, class Offset>
static void max_of_taps(const MaxRow<T, Offset>& w, int64_t ow, int64_t at, int64_t taps, int64_t dilation,
                        const T* values, const T* offsets) {
  T best = values[at];
  int_of<T> offset;
  __builtin_memcpy(&offset, offsets + at, sizeof offset);
  for (int64_t s = 1; s < taps; ++s) {
    const T v = values[at + s * dilation];
    int_of<T> o;
    __builtin_memcpy(&o, offsets + at + s * dilation, sizeof o);
    o += static_cast<int_of<T>>(s);
    const bool better = v > best || (v == best && o < offset) || (v != v && (best == best || o > offset));
    best = better ? v : best;
    offset = better ? o : offset;
  }
  w.y[ow] = best;
  const int_of<T> found = offset < kNoOffset ? offset : 0;  // 0 for a window of padding only
  w.where[ow] = static_cast<Offset>(found);
}

// The same for all windows of a row, a vector of windows at a time. kStride: as for load_every() in lanes.h.
template <int kStride, class T, class Offset>
static void max_across(const MaxRow<T, Offset>& w, const PoolAxis& columns, const T* values,
                       const T* offsets) {
  const Every<T> every(columns.stride);
  for (int64_t ow = 0; ow < columns.out; ow += lanes<T>) {
    const int64_t at = ow * columns.stride;
    const int n = columns.out - ow >= lanes<T> ? lanes<T> : static_cast<int>(columns.out - ow);
    if (kStride == 0 && n == 1)
      return max_of_taps(w, ow, at, columns.kernel, columns.dilation, values, offsets);
    vec<T> best = load_every<kStride>(values + at, every, n);
    ivec<T> offset = bits(load_every<kStride>(offsets + at, every, n));
    for (int64_t s = 1; s < columns.kernel; ++s) {
      const int64_t tap = at + s * columns.dilation;
      const vec<T> v = load_every<kStride>(values + tap, every, n);
      const ivec<T> o = bits(load_every<kStride>(offsets + tap, every, n)) + static_cast<int_of<T>>(s);
      const ivec<T> later = (best == best) | (o > offset);
      const ivec<T> better = (v > best) | ((v == best) & (o < offset)) | ((v != v) & later);
      best = select(better, v, best);
      offset = select(better, o, offset);
    }
    offset = select(offset < ibroadcast<T>(kNoOffset), offset, ivec<T>{});  // 0 for a window of padding only
    store_lanes(w.y + ow, best, n);
    store_offsets<T>(w.where + ow, offset, n);
  }
}

// The same for adaptive windows, whose lengths differ.
template <class T, class Offset>
static void max_across_adaptive(const MaxRow<T, Offset>& w, const PoolAxis& columns, const T* values,
                                const T* offsets) {
  for (int64_t ow = 0; ow < columns.out; ++ow) {
    const PoolWindow across = pool_window(columns, ow);
    max_of_taps(w, ow, across.start, across.last, 1, values, offsets);
  }
}

// The same for a long row, in pieces of `piece` windows, with a test for an interrupt after each.
template <class T, class Offset>
static __attribute__((noinline)) void max_across_in_pieces(const Team& team, MaxRow<T, Offset> w,
                                                           PoolAxis columns, const T* values,
                                                           const T* offsets, int64_t piece) {
  for (int64_t left = columns.out; left > 0; left -= piece) {
    columns.out = left < piece ? left : piece;
    if (sizeof(Offset) == 1 && columns.stride == 1)
      max_across<1>(w, columns, values, offsets);
    else if (sizeof(Offset) == 1 && columns.stride == 2)
      max_across<2>(w, columns, values, offsets);
    else
      max_across<0>(w, columns, values, offsets);
    if (interrupted(team)) return;
    w.y += piece;
    w.where += piece;
    values += piece * columns.stride;
    offsets += piece * columns.stride;
  }
}

// A row of 2 x 2 windows that do not overlap, on two rows of contiguous pixels. No row buffer is needed: even
// and odd columns are separated by shuffles.
template <class T, class Offset>
static void max_of_squares(const T* upper, const T* lower, int64_t out, T* y, Offset* where) {
  constexpr int L = lanes<T>;
  for (int64_t i = 0; i < out; i += L) {
    const int64_t j = i > out - L && out > L ? out - L : i;  // the last vector overlaps the one before it
    const int n = static_cast<int>(out < L ? out : L);
    // The even and odd columns of a row of pixels from p on: 2 n columns, in one or two vectors. As one
    // expression, since a call takes .97 of the time that it takes with branches.
    const auto pair = [&](const T* p, vec<T>& even, vec<T>& odd) {
      const vec<T> low = n == L ? load(p) : load_n(p, 2 * n < L ? 2 * n : L);
      const vec<T> high = n == L ? load(p + L) : 2 * n > L ? load_n(p + L, 2 * n - L) : vec<T>{};
      even = even_lanes(low, high);
      odd = odd_lanes(low, high);
    };
    vec<T> tap[4];
    pair(upper + 2 * j, tap[0], tap[1]);
    pair(lower + 2 * j, tap[2], tap[3]);
    vec<T> best = tap[0];
    ivec<T> offset{};
    for (int k = 1; k < 4; ++k) {
      const ivec<T> better = beats(tap[k], best);
      best = select(better, tap[k], best);
      offset = select(better, ibroadcast<T>(k), offset);
    }
    store_lanes(y + j, best, n);
    store_offsets<T>(where + j, offset, n);
  }
}

// The windows [begin, end) of a row with one tap row, which are inside the image, on contiguous pixels from x
// on, the first pixel behind the padding. No row buffer is needed. kWhole: there are at least as many windows
// as lanes, and the last vector overlaps the one before it; else there is one vector.
template <int kStride, bool kWhole, class T>
static void max_of_signal(const MaxRow<T, uint8_t>& w, const PoolAxis& columns, const T* x, int64_t begin,
                          int64_t end) {
  constexpr int L = lanes<T>;
  const Every<T> every(kStride);
  const int n = kWhole ? L : static_cast<int>(end - begin);
  const auto read = [&](const T* p) RANVIER_INLINED {
    if constexpr (kWhole) return load_every<kStride>(p, every, n);
    return load_lanes(p, kStride, n);
  };
  const int64_t taps = columns.kernel;
  const int64_t dilation = columns.dilation;
  for (int64_t i = begin; i < end; i += L) {
    const int64_t ow = kWhole && i > end - L ? end - L : i;
    const T* p = x + ow * kStride - columns.padding;
    vec<T> best = read(p);
    ivec<T> offset{};
    for (int64_t s = 1; s < taps; ++s) {
      const vec<T> v = read(p + s * dilation);
      const ivec<T> better = beats(v, best);
      best = select(better, v, best);
      offset = select(better, ibroadcast<T>(static_cast<int_of<T>>(s)), offset);
    }
    store_lanes(w.y + ow, best, n);
    store_offsets<T>(w.where + ow, offset, n);
  }
}

// A row of windows with one tap row, as signals have, on contiguous pixels; kStride is the stride.
template <int kStride, class T>
static void max_of_signal_row(const Team& team, const MaxRow<T, uint8_t>& w, const PoolAxis& rows,
                              const PoolAxis& columns) {
  constexpr int L = lanes<T>;
  const T* x = w.x + (w.top + w.r0 * rows.dilation) * w.row;
  // windows [begin, end) are inside the image
  const int64_t begin = (columns.padding + kStride - 1) / kStride;
  const int64_t space = columns.in + columns.padding - (columns.kernel - 1) * columns.dilation - 1;
  int64_t end = space < 0 ? 0 : space / kStride + 1;
  end = end < columns.out ? end : columns.out;
  end = end > begin ? end : begin;
  const auto one_by_one = [&](int64_t from, int64_t to) {
    for (int64_t ow = from; ow < to; ++ow) {
      MaxRow<T, uint8_t> window = w;
      window.y += ow;
      window.where += ow;
      max_of_window(window, pool_window(columns, ow), rows.dilation, columns.dilation, 0, 1);
    }
  };
  one_by_one(0, begin < columns.out ? begin : columns.out);
  if (begin < end && end - begin < L) max_of_signal<kStride, false>(w, columns, x, begin, end);
  constexpr int64_t kPiece = 1 << 16;  // windows between two tests for an interrupt
  for (int64_t from = begin; from < end && end - begin >= L; from += kPiece) {
    const int64_t to = end - from < kPiece ? end : from + kPiece;
    max_of_signal<kStride, true>(w, columns, x, to - from < L ? to - L : from, to);
    if (interrupted(team)) return;
  }
  one_by_one(end, columns.out);
}

// A row (n, c, oh) of y in NCHW. values, offsets: row buffers, whose padding is already filled. piece: the
// windows of a piece of a long row.
template <class T, class Offset>
static void max_columns_of_row(const Team& team, const MaxRow<T, Offset>& w, const PoolAxis& rows,
                               const PoolAxis& columns, T* values, T* offsets, int64_t piece) {
  if constexpr (sizeof(Offset) == 1) {
    const bool apart = columns.kernel == 2 && columns.stride == 2 && columns.dilation == 1;
    if (apart && rows.kernel == 2 && w.r1 - w.r0 == 2 && w.column == 1 && all_inside(columns)) {
      const T* upper = w.x + w.top * w.row;
      return max_of_squares(upper, upper + rows.dilation * w.row, columns.out, w.y, w.where);
    }
    const bool is_signal = rows.kernel == 1 && w.r1 - w.r0 == 1 && w.column == 1;
    if (is_signal && columns.kernel > 0 && columns.stride == 1)
      return max_of_signal_row<1>(team, w, rows, columns);
    if (is_signal && columns.kernel > 0 && columns.stride == 2)
      return max_of_signal_row<2>(team, w, rows, columns);
  }
  T* inside = values + columns.padding;
  T* inside_offsets = offsets + columns.padding;
  for (int64_t j = 0; j < columns.in; j += lanes<T>) {
    const int64_t rest = columns.in - j;
    const int n = lanes_used<T>(rest);
    max_down_column(w, rows.dilation, j, n, inside, inside_offsets);
  }
  if (columns.kernel == 0) return max_across_adaptive(w, columns, values, offsets);
  if (piece <= columns.out) return max_across_in_pieces(team, w, columns, values, offsets, piece);
  if constexpr (sizeof(Offset) == 1) {
    if (columns.stride == 1) return max_across<1>(w, columns, values, offsets);
    if (columns.stride == 2) return max_across<2>(w, columns, values, offsets);
  }
  max_across<0>(w, columns, values, offsets);
}

// MaxPoolKernels::forward: rows [begin, end) of y.
template <class T, class Offset>
static void max_pool2d_forward(const Team& team, const MaxPool2dForward<T, Offset>& f, int64_t begin,
                               int64_t end, void* scratch) {
  T* values = static_cast<T*>(scratch);
  T* offsets = values + row_buffer_size<T>(f.columns);
  TapList taps;
  taps.first = taps.last = 0;
  if (!f.channels_last) {  // padding: -inf, with an offset larger than any other
    fill(values, row_buffer_size<T>(f.columns), broadcast<T>(-__builtin_inf()));
    fill(offsets, row_buffer_size<T>(f.columns), from_bits(ibroadcast<T>(kNoOffset)));
  } else if (sizeof(Offset) == 1 && f.x.strides[1] == 1) {
    list_taps(f.rows, f.columns, f.x.strides[2], f.x.strides[3], taps);
  }
  const int64_t piece = windows_at_once(f.columns, f.columns.kernel);
  const T* x_end = end_of(f.x);
  MaxRow<T, Offset> w;
  w.row = f.x.strides[2];
  w.column = f.x.strides[3];
  w.lane = f.x.strides[1];
  w.kernel_w = pool_taps(f.columns);
  const bool far = kFetches<Offset> && pool_is_far(f.x.shape, w.column, sizeof(T));
  const int64_t planes = f.channels_last ? 1 : f.y.shape[1];
  for (RowWalk at(begin, f.rows.out, planes); begin < end; ++begin, at.next()) {
    const PoolWindow down = pool_window(f.rows, at.row);
    w.top = down.start;
    w.r0 = down.first;
    w.r1 = down.last;
    w.x = f.x.data + at.n * f.x.strides[0] + at.c * f.x.strides[1];
    w.y = f.y.data + at.n * f.y.strides[0] + at.c * f.y.strides[1] + at.row * f.y.strides[2];
    w.where = f.where.data + (w.y - f.y.data);
    if (f.channels_last)
      max_channels_of_row(f, w, taps, x_end, far);
    else
      max_columns_of_row(team, w, f.rows, f.columns, values, offsets, piece);
  }
}

}  // namespace ranvier::RANVIER_ISA
