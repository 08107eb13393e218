// The backward loops of max_pool2d for the planes (n, c) of NCHW images, for one ISA level, with offsets of
// one byte.
//
// There are three ways: 2 x 2 windows side by side, and (with vectors of at least 16 lanes) 3 wide windows
// with padding 1 or 2 wide ones without, at stride 1, compute each element of dx from the windows that
// contain it, a vector at a time; all other windows add their dy to dx one by one (MaxBand). max_backward.h
// takes the calls for which max_pool2d_planes() returns false.
#pragma once
#include "base/interrupt.h"
#include "base/unroll.h"
#include "kernels/pooling/lanes.h"
#include "kernels/pooling/pooling.h"
#include "kernels/pooling/row_buffer.h"

namespace ranvier::RANVIER_ISA {

// One plane of dy, of where and of dx. Rows of dx are dense.
template <class T>
struct MaxPlane {
  const T* dy;
  const uint8_t* where;
  const uint8_t* where_end;   // loads may read up to here
  int64_t row_dy, row_where;  // the strides of rows in elements
  T* dx;
};

// Sets n elements to 0.
template <class T>
static void clear(T* p, int64_t n) {
  __builtin_memset(p, 0, sizeof(T) * n);
}

// Stores n lanes of v at `to`, or all of them if the plane has `room` for so many elements from `to` on: the
// elements behind the first n are written later.
template <class T>
RANVIER_INLINE void store_first(T* to, typename VecOf<T>::type v, int64_t n, int64_t room) {
  if (n >= lanes<T> || room >= lanes<T>) {
    store(to, v);
  } else {
    store_n(to, v, static_cast<int>(n));
  }
}

// 2 x 2 windows that do not overlap, with contiguous rows of dy and where. Each element of dx is written
// once.
template <class T>
static void max_gradient_of_squares(const MaxPlane<T>& x, const PoolAxis& rows, const PoolAxis& columns) {
  constexpr int L = lanes<T>;
  const int64_t out = columns.out;
  const int64_t width = columns.in;
  const int64_t rest = width - 2 * out;
  const int n = lanes_used<T>(out);
  T* dx = x.dx;
  for (int64_t oh = 0; oh < rows.out; ++oh, dx += 2 * width) {
    const T* dy = x.dy + oh * x.row_dy;
    const uint8_t* where = x.where + oh * x.row_where;
    for (int64_t i = 0; i < out; i += L) {
      const int64_t j = i > out - L && out > L ? out - L : i;  // the last vector overlaps the one before it
      const vec<T> v = n == L ? load(dy + j) : load_n(dy + j, n);
      const ivec<T> offset = load_offsets<T>(where + j, x.where_end, n);
#pragma GCC unroll 2
      for (int r = 0; r < 2; ++r) {
        const vec<T> even = select(offset == ibroadcast<T>(2 * r), v, vec<T>{});
        const vec<T> odd = select(offset == ibroadcast<T>(2 * r + 1), v, vec<T>{});
        T* to = dx + r * width + 2 * j;
        // If n < L, one vector makes the whole row of windows, and what lies behind it in the plane is
        // written later.
        const int64_t room = n == L ? 0 : x.dx + rows.in * width - to;
        store_first(to, zip_low(even, odd), 2 * n, room);
        if (2 * n > L) store_first(to + L, zip_high(even, odd), 2 * n - L, room - L);
      }
    }
    if (rest > 0) {
      clear(dx + 2 * out, rest);
      clear(dx + width + 2 * out, rest);
    }
  }
  clear(dx, (rows.in - 2 * rows.out) * width);
}

// For windows kTaps wide at stride 1. before, here and after are three successive vectors of windows; [t] has
// for each window the sum of the dy that go to its tap column t. Returns a vector of columns of dx, the
// columns whose numbers are those of the windows `here`: the sum over taps 0 to `tap`. Column j is tap t of
// window j + kPadding - t, so the vector of each tap is shifted by kPadding - t lanes.
template <int kPadding, int tap, class V, int kTaps>
RANVIER_INLINE V sum_of_taps(const V (&before)[kTaps], const V (&here)[kTaps], const V (&after)[kTaps]) {
  constexpr int shift = kPadding - tap;
  V v = here[tap];
  if constexpr (shift < 0) v = from_lane<lanes_of<V> + shift>(before[tap], here[tap], AllLanes<V>());
  if constexpr (shift > 0) v = from_lane<shift>(here[tap], after[tap], AllLanes<V>());
  if constexpr (tap == 0) return v;
  if constexpr (tap > 0) return v + sum_of_taps<kPadding, tap - 1>(before, here, after);
}

// Windows kTaps wide at stride 1, with any rows. For each row of dx and each tap column, dy is summed by
// window over all rows of windows that contain the row; sum_of_taps() then moves these sums to their columns.
template <int kTaps, int kPadding, class T>
static void max_gradient_of_columns(const MaxPlane<T>& plane, const PoolInputs& inputs, const PoolAxis& rows,
                                    const PoolAxis& columns) {
  constexpr int L = lanes<T>;
  const MaxPlane<T> x = plane;  // by value: a store might change what a reference names
  const PoolInputs windows = inputs;
  const int64_t out = columns.out;
  const int64_t width = columns.in;
  const int64_t height = rows.in;
  T* dx = x.dx;
  for (int64_t h = 0; h < height; ++h, dx += width) {
    const PoolEntries entries = windows.of[h];
    vec<T> before[kTaps] = {}, here[kTaps] = {};  // of the windows from k - 2 L and from k - L on
    // Columns from k - L on need the windows from k on, so there is a step more than vectors of dx.
    for (int64_t k = 0, rest = width + L; rest > 0; k += L, rest -= L) {
      vec<T> after[kTaps] = {};
      const int64_t left = out - k;  // windows from k on; none where the last columns have no windows
      const int n = left > 0 ? lanes_used<T>(left) : 0;
      if (n > 0)
        for (int64_t a = 0; a < entries.count; ++a) {
          const int64_t oh = windows.window(entries, a);
          const vec<T> v = load_lanes(x.dy + oh * x.row_dy + k, 1, n);
          const ivec<T> tap = load_offsets<T>(x.where + oh * x.row_where + k, x.where_end, n) -
                              ibroadcast<T>(windows.tap(entries, a) * kTaps);
          RANVIER_UNROLL
          for (int t = 0; t < kTaps; ++t) after[t] = select(tap == t, after[t] + v, after[t]);
        }
      if (k > 0)
        store_first(dx + k - L, sum_of_taps<kPadding, kTaps - 1>(before, here, after), rest,
                    (height - h) * width - k + L);
      RANVIER_UNROLL
      for (int t = 0; t < kTaps; ++t) {
        before[t] = here[t];
        here[t] = after[t];
      }
    }
  }
}

// Windows of any form are taken one after another, each adding its dy to one element of dx. A band is a
// number of windows for which the distances in dx are listed once: those of some planes, of some rows, or of
// a part of a long row.
struct MaxBand {
  static constexpr int64_t kMost = 512;  // windows of a band
  int32_t start[kMost];                  // elements from tap 0 of the first window to tap 0 of this one
  // Elements from tap 0 to this tap; beyond any plane if the window has no such tap.
  int32_t distance[kMostTaps];
  int64_t planes, rows, windows;  // of the band: planes, rows of windows in each, windows in each row

  // Fills the lists. Returns false if a window may have no tap inside the image, since its offset would then
  // name an element outside, or if planes are too large for int32.
  bool list(const PoolAxis& down, const PoolAxis& across) {
    for (const PoolAxis* a : {&down, &across}) {
      const bool first_is_padding = a->kernel <= a->padding;
      const bool last_is_padding = (a->out - 1) * a->stride - a->padding >= a->in;
      if (!all_inside(*a) && (first_is_padding || last_is_padding || a->dilation > 1)) return false;
    }
    constexpr int64_t most = 1 << 29;  // a start plus a distance, at most 2^30, then fits in int32
    if (down.in * across.in >= most || down.kernel * down.dilation * across.in >= most) return false;
    windows = across.out < kMost ? across.out : kMost;
    rows = kMost / windows;
    if (rows > down.out) rows = down.out;
    const int32_t width = static_cast<int32_t>(across.in);
    const int32_t step = static_cast<int32_t>(across.dilation);
    const int64_t size = down.in * across.in;
    const int64_t fit_in_int32 = most / size;
    const int64_t fit_in_band = kMost / (rows * windows);
    planes = fit_in_band < fit_in_int32 ? fit_in_band : fit_in_int32;
    if (rows < down.out) planes = 1;
    int64_t k = 0;
    int64_t taps = 0;
    for (int64_t p = 0; p < planes; ++p)
      for (int64_t r = 0; r < rows; ++r)
        for (int64_t w = 0; w < windows; ++w) {
          start[k] = static_cast<int32_t>(p * size + r * down.stride * across.in + w * across.stride);
          ++k;
        }
    for (int32_t r = 0; r < down.kernel; ++r)
      for (int32_t s = 0; s < across.kernel; ++s) {
        distance[taps] = r * static_cast<int32_t>(down.dilation) * width + s * step;
        ++taps;
      }
    for (; taps < kMostTaps; ++taps) distance[taps] = 1 << 30;
    return true;
  }
};

// Adds the dy of n windows of a band to their maxima in dx, which has `size` elements. first: the index in dx
// of tap 0 of the first window, modulo 2^32 (with padding it is negative). Loads and stores take the time, so
// eight offsets are read in one load.
template <class T>
static __attribute__((noinline)) void add_band(T* dx, uint32_t size, uint32_t first, const MaxBand& band,
                                               const T* dy, const uint8_t* where, int64_t n) {
  const int32_t* start = band.start;
  const int32_t* distance = band.distance;
  const auto add = [&](int64_t i, uint64_t offset) RANVIER_INLINED {
    const uint32_t at = first + static_cast<uint32_t>(start[i]) + static_cast<uint32_t>(distance[offset]);
    if (at < size) dx[at] += dy[i];
  };
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) {
    uint64_t offsets;
    __builtin_memcpy(&offsets, where + i, 8);
    RANVIER_UNROLL
    for (int k = 0; k < 8; ++k, offsets >>= 8) add(i + k, offsets & 255);
  }
  for (; i < n; ++i) add(i, where[i]);
}

// One plane, band after band; returns false if the call is interrupted. dx is set to 0 just before the first
// window that can reach it.
template <class T>
static bool max_gradient_of_bands(const Team& team, const MaxPlane<T>& x, const MaxBand& band,
                                  const PoolAxis& rows, const PoolAxis& columns) {
  const int64_t width = columns.in;
  const int64_t size = rows.in * width;
  const int64_t most = x.row_dy == columns.out && x.row_where == columns.out ? band.rows : 1;
  int64_t cleared = 0;
  int64_t elements = 0;
  for (int64_t oh = 0, count; oh < rows.out; oh += count) {
    count = rows.out - oh < most ? rows.out - oh : most;
    const int64_t top = oh * rows.stride - rows.padding;
    int64_t end = (top + (count - 1) * rows.stride + (rows.kernel - 1) * rows.dilation + 1) * width;
    if (end > size || oh + count == rows.out) end = size;
    if (end > cleared) {
      clear(x.dx + cleared, end - cleared);
      cleared = end;
    }
    for (int64_t ow = 0; ow < columns.out; ow += band.windows) {
      const int64_t rest = columns.out - ow;
      const int64_t n = rest < band.windows ? rest : count * band.windows;
      const int64_t first = top * width + ow * columns.stride - columns.padding;
      add_band(x.dx, static_cast<uint32_t>(size), static_cast<uint32_t>(first), band,
               x.dy + oh * x.row_dy + ow, x.where + oh * x.row_where + ow, n);
    }
    elements += count * columns.out;
    if (elements < kTapsBetweenTests) continue;
    elements = 0;
    if (interrupted(team)) return false;
  }
  return true;
}

static inline bool is_square_pool(const PoolAxis& a) {
  return a.kernel == 2 && a.stride == 2 && a.dilation == 1 && all_inside(a);
}

// Planes [begin, end). Returns false, with nothing written, if max_backward.h has to compute them.
template <class T>
static bool max_pool2d_planes(const Team& team, const MaxPool2dBackward<T, uint8_t>& f, int64_t begin,
                              int64_t end, [[maybe_unused]] void* scratch) {
  const PoolAxis& rows = f.rows;
  const PoolAxis& columns = f.columns;
  if (f.dy.strides[3] != 1 || f.where.strides[3] != 1 || numel(f.dy) == 0) return false;
  MaxPlane<T> x{nullptr, nullptr, end_of(f.where), f.dy.strides[2], f.where.strides[2], nullptr};
  const auto each = [&](const auto& plane) {
    for (RowWalk at(begin, f.dx.shape[1], 1); begin < end; ++begin, at.next()) {
      x.dy = f.dy.data + at.n * f.dy.strides[0] + at.row * f.dy.strides[1];
      x.where = f.where.data + at.n * f.where.strides[0] + at.row * f.where.strides[1];
      x.dx = f.dx.data + at.n * f.dx.strides[0] + at.row * f.dx.strides[1];
      if (!plane()) break;
    }
    return true;
  };
  if (is_square_pool(rows) && is_square_pool(columns))
    return each([&] {
      max_gradient_of_squares(x, rows, columns);
      return true;
    });
  if (rows.kernel == 0 || columns.kernel == 0) return false;
  if constexpr (lanes<T> >= 16)
    if (columns.stride == 1 && columns.dilation == 1) {
      const auto is = [&](int taps, int padding) {
        return columns.kernel == taps && columns.padding == padding;
      };
      void (*run)(const MaxPlane<T>&, const PoolInputs&, const PoolAxis&, const PoolAxis&) = nullptr;
      if (is(3, 1)) run = max_gradient_of_columns<3, 1, T>;
      if (is(2, 0)) run = max_gradient_of_columns<2, 0, T>;
      if (run) {
        const PoolInputs inputs = list_pool_inputs(rows, scratch);
        return each([&] {
          run(x, inputs, rows, columns);
          return true;
        });
      }
    }
  MaxBand band;
  if (!band.list(rows, columns)) return false;
  const int64_t size = rows.in * columns.in;
  const int64_t windows = rows.out * columns.out;
  const int64_t channels = f.dx.shape[1];
  // True if all planes of v, of `plane` elements each, lie one after another without gaps.
  const auto joined = [&](const auto& v, int64_t plane) {
    return v.strides[1] == plane && v.strides[0] == channels * plane && v.strides[2] * v.shape[2] == plane;
  };
  if (band.planes == 1 || !joined(f.dy, windows) || !joined(f.where, windows) || !joined(f.dx, size))
    return each([&] { return max_gradient_of_bands(team, x, band, rows, columns); });
  for (int64_t count; begin < end && !interrupted(team); begin += count) {
    count = end - begin < band.planes ? end - begin : band.planes;
    T* dx = f.dx.data + begin * size;
    clear(dx, count * size);
    const int64_t first = -rows.padding * columns.in - columns.padding;
    add_band(dx, static_cast<uint32_t>(count * size), static_cast<uint32_t>(first), band,
             f.dy.data + begin * windows, f.where.data + begin * windows, count * windows);
  }
  return true;
}

}  // namespace ranvier::RANVIER_ISA
