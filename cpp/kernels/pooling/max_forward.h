// max_pool2d over rows of y, for one ISA level.
#pragma once
#include "kernels/pooling/lanes.h"
#include "kernels/pooling/pooling.h"
#include "kernels/pooling/row_buffer.h"

namespace ranvier::RANVIER_ISA {

// One window for each channel of a pixel; channels are `lane` elements apart in x and contiguous in y.
template <class T, class Offset>
struct MaxWindow {
  const T* x;  // the image's first element
  int64_t row, column, lane;
  int64_t top, left, dilation_h, dilation_w;
  int64_t r0, r1, s0, s1;  // the taps inside the image
  int64_t kernel_h, kernel_w;
  T* y;
  Offset* where;
};

// R, S: the window's size where all of it is inside and the size is worth a copy of the code; 0, 0: any.
template <int kStride, int R, int S, bool kWhole, class T, class Offset>
RANVIER_INLINE void max_of_lanes(const MaxWindow<T, Offset>& w, int64_t i, int n) {
  vec<T> best = broadcast<T>(-__builtin_inf());
  const int64_t r0 = R ? 0 : w.r0, r1 = R ? R : w.r1, s0 = S ? 0 : w.s0, s1 = S ? S : w.s1;
  const int64_t width = S ? S : w.kernel_w;
  ivec<T> offset = ibroadcast<T>(r0 < r1 && s0 < s1 ? static_cast<int_of<T>>(r0 * width + s0) : 0);
#pragma GCC unroll 2
  for (int64_t r = r0; r < r1; ++r) {
    const T* p = w.x + i * w.lane + (w.top + r * w.dilation_h) * w.row + w.left * w.column;
#pragma GCC unroll 2
    for (int64_t s = s0; s < s1; ++s) {
      const T* q = p + s * w.dilation_w * w.column;
      const vec<T> v = kWhole ? load_lanes<kStride>(q, w.lane) : load_lanes_n<kStride>(q, w.lane, n);
      const ivec<T> better = (v > best) | (v != v);
      best = select(better, v, best);
      offset = select(better, ibroadcast<T>(static_cast<int_of<T>>(r * width + s)), offset);
    }
  }
  if (kWhole)
    store(w.y + i, best);
  else
    store_n(w.y + i, best, n);
  store_offsets<T>(w.where + i, offset, n);
}

template <int kStride, int R, int S, class T, class Offset>
RANVIER_INLINE void max_of_channels(const MaxWindow<T, Offset>& w, int64_t count) {
  int64_t i = 0;
  for (; i + lanes<T> <= count; i += lanes<T>) max_of_lanes<kStride, R, S, true>(w, i, lanes<T>);
  if (i < count) max_of_lanes<kStride, R, S, false>(w, i, static_cast<int>(count - i));
}

// A row (n, oh) of a channels-last y: all channels of one pixel after another.
template <int kStride, class T, class Offset>
static void max_channels_of_row(MaxWindow<T, Offset> w, const PoolAxis& columns, int64_t channels) {
  for (int64_t ow = 0; ow < columns.out; ++ow, w.y += channels, w.where += channels) {
    const PoolWindow across = pool_window(columns, ow);
    w.left = across.start, w.s0 = across.first, w.s1 = across.last;
    if (w.kernel_h == 2 && w.kernel_w == 2 && w.r1 - w.r0 == 2 && w.s1 - w.s0 == 2)
      max_of_channels<kStride, 2, 2>(w, channels);
    else
      max_of_channels<kStride, 0, 0>(w, channels);
  }
}

// The maximum over the rows of the windows, for each column of the image, and its offset at tap s = 0.
template <int kStride, bool kWhole, class T, class Offset>
RANVIER_INLINE void max_down_column(const MaxWindow<T, Offset>& w, int64_t j, int n, T* values, T* offsets) {
  vec<T> best = broadcast<T>(-__builtin_inf());
  ivec<T> offset = ibroadcast<T>(static_cast<int_of<T>>(w.r0 * w.kernel_w));
  for (int64_t r = w.r0; r < w.r1; ++r) {
    const T* p = w.x + (w.top + r * w.dilation_h) * w.row + j * w.column;
    const vec<T> v = kWhole ? load_lanes<kStride>(p, w.column) : load_lanes_n<kStride>(p, w.column, n);
    const ivec<T> better = (v > best) | (v != v);
    best = select(better, v, best);
    offset = select(better, ibroadcast<T>(static_cast<int_of<T>>(r * w.kernel_w)), offset);
  }
  if (kWhole) {
    store(values + j, best), store(offsets + j, from_bits(offset));
  } else {
    store_n(values + j, best, n), store_n(offsets + j, from_bits(offset), n);
  }
}

// ... and over its columns: of equal maxima the one of the smaller offset, which is the first in the window.
template <int kStride, class T, class Offset>
RANVIER_INLINE void max_across(const MaxWindow<T, Offset>& w, const PoolAxis& columns, const T* values,
                               const T* offsets) {
  for (int64_t ow = 0; ow < columns.out; ow += lanes<T>) {
    const int64_t at = ow * columns.stride;
    vec<T> best = load_lanes<kStride>(values + at, columns.stride);
    ivec<T> offset = bits(load_lanes<kStride>(offsets + at, columns.stride));
    for (int64_t s = 1; s < columns.kernel; ++s) {
      const int64_t tap = at + s * columns.dilation;
      const vec<T> v = load_lanes<kStride>(values + tap, columns.stride);
      const ivec<T> o = bits(load_lanes<kStride>(offsets + tap, columns.stride)) + static_cast<int_of<T>>(s);
      const ivec<T> better = (v > best) | (v != v) | ((v == best) & (o < offset));
      best = select(better, v, best);
      offset = select(better, o, offset);
    }
    const bool whole = columns.out - ow >= lanes<T>;
    const int n = whole ? lanes<T> : static_cast<int>(columns.out - ow);
    if (whole)
      store(w.y + ow, best);
    else
      store_n(w.y + ow, best, n);
    store_offsets<T>(w.where + ow, offset, n);
  }
}

// The same for adaptive windows, each of its own length.
template <class T, class Offset>
static void max_across_adaptive(const MaxWindow<T, Offset>& w, const PoolAxis& columns, const T* values,
                                const T* offsets) {
  for (int64_t ow = 0; ow < columns.out; ++ow) {
    const PoolWindow across = pool_window(columns, ow);
    T best = values[across.start];
    int_of<T> offset;
    __builtin_memcpy(&offset, offsets + across.start, sizeof offset);
    for (int64_t s = 1; s < across.last; ++s) {
      const T v = values[across.start + s];
      int_of<T> o;
      __builtin_memcpy(&o, offsets + across.start + s, sizeof o);
      o += static_cast<int_of<T>>(s);
      const bool better = v > best || v != v || (v == best && o < offset);
      best = better ? v : best;
      offset = better ? o : offset;
    }
    w.y[ow] = best;
    w.where[ow] = static_cast<Offset>(offset);
  }
}

// A row (n, c, oh) of y in NCHW.
template <class T, class Offset>
static void max_columns_of_row(const MaxWindow<T, Offset>& w, const PoolAxis& columns, T* values,
                               T* offsets) {
  T *inside = values + columns.padding, *inside_offsets = offsets + columns.padding;
  int64_t j = 0;
  if (w.column == 1)
    for (; j + lanes<T> <= columns.in; j += lanes<T>)
      max_down_column<1, true>(w, j, lanes<T>, inside, inside_offsets);
  for (; j < columns.in; j += lanes<T>) {
    const int64_t rest = columns.in - j;
    const int n = static_cast<int>(rest < lanes<T> ? rest : lanes<T>);
    if (w.column == 1)
      max_down_column<1, false>(w, j, n, inside, inside_offsets);
    else
      max_down_column<0, false>(w, j, n, inside, inside_offsets);
  }
  if (columns.kernel == 0)
    max_across_adaptive(w, columns, values, offsets);
  else if (columns.stride == 1)
    max_across<1>(w, columns, values, offsets);
  else if (columns.stride == 2)
    max_across<2>(w, columns, values, offsets);
  else
    max_across<0>(w, columns, values, offsets);
}

// Rows [begin, end) of y: (n, oh) channels-last, (n, c, oh) in NCHW.
template <class T, class Offset>
static void max_pool2d_forward(const MaxPool2dForward<T, Offset>& f, int64_t begin, int64_t end,
                               void* scratch) {
  const int64_t channels = f.y.shape[1], out_h = f.rows.out;
  T* values = static_cast<T*>(scratch);
  T* offsets = values + row_buffer_size<T>(f.columns);
  if (!f.channels_last) {  // outside the image there is -inf, and no offset is smaller than that
    fill(values, row_buffer_size<T>(f.columns), broadcast<T>(-__builtin_inf()));
    fill(offsets, row_buffer_size<T>(f.columns), from_bits(ibroadcast<T>(INT32_MAX / 2)));
  }
  MaxWindow<T, Offset> w;
  w.row = f.x.strides[2], w.column = f.x.strides[3], w.lane = f.x.strides[1];
  w.dilation_h = f.rows.dilation, w.dilation_w = f.columns.dilation;
  w.kernel_h = pool_taps(f.rows), w.kernel_w = pool_taps(f.columns);
  for (int64_t unit = begin; unit < end; ++unit) {
    const int64_t oh = unit % out_h, image = unit / out_h;
    const int64_t n = f.channels_last ? image : image / channels, c = f.channels_last ? 0 : image % channels;
    const PoolWindow down = pool_window(f.rows, oh);
    w.top = down.start, w.r0 = down.first, w.r1 = down.last;
    w.x = f.x.data + n * f.x.strides[0] + c * f.x.strides[1];
    w.y = f.y.data + n * f.y.strides[0] + c * f.y.strides[1] + oh * f.y.strides[2];
    w.where = f.where.data + (w.y - f.y.data);
    if (!f.channels_last)
      max_columns_of_row(w, f.columns, values, offsets);
    else if (w.lane == 1)
      max_channels_of_row<1>(w, f.columns, channels);
    else
      max_channels_of_row<0>(w, f.columns, channels);
  }
}

}  // namespace ranvier::RANVIER_ISA
