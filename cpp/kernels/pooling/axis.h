// How the windows of a pool lie along one axis of the image.
#pragma once
#include <cstddef>
#include <cstdint>

// Called once for each share of the work. (Not `cold`: what leads to a call of a cold function is cold
// itself.)
#define RANVIER_RARE static __attribute__((noinline, unused))

namespace ranvier {

// Window o covers the inputs o * stride - padding + r * dilation, 0 <= r < kernel, as far as they exist.
// kernel = 0: adaptive windows, [floor(o in / out), ceil((o + 1) in / out)).
struct PoolAxis {
  int64_t in, out, kernel, stride, padding, dilation;
};

// The taps [first, last) of window o that lie inside the image; tap 0 is at input `start`.
struct PoolWindow {
  int64_t start, first, last;
};

static __attribute__((noinline, unused)) PoolWindow pool_window(const PoolAxis& a, int64_t o) {
  if (a.kernel == 0) {
    if (a.out == 1) return {0, 0, a.in};  // the whole image
    const int64_t start = o * a.in / a.out;
    return {start, 0, ((o + 1) * a.in + a.out - 1) / a.out - start};
  }
  const int64_t start = o * a.stride - a.padding;
  if (start >= 0 && start + (a.kernel - 1) * a.dilation < a.in) return {start, 0, a.kernel};
  const int64_t d = a.dilation;
  int64_t first = start < 0 ? (-start + d - 1) / d : 0;
  int64_t last = start < a.in ? (a.in - start + d - 1) / d : 0;
  if (first > a.kernel) first = a.kernel;
  if (last > a.kernel) last = a.kernel;
  return {start, first, last > first ? last : first};
}

// By how many elements along this axis an average divides. Padding counts, if asked for, but not what a last
// window covers beyond it (ceil_mode).
static inline int64_t pool_divisor(const PoolAxis& a, const PoolWindow& w, bool count_include_pad) {
  if (a.kernel == 0 || !count_include_pad) return w.last - w.first;
  const int64_t end = w.start + a.kernel, limit = a.in + a.padding;
  return (end < limit ? end : limit) - w.start;
}

// One window, which is the whole image.
static inline bool is_global(const PoolAxis& a) { return a.kernel == 0 && a.out == 1; }

// Every window lies inside the image.
static inline bool all_inside(const PoolAxis& a) {
  return a.kernel > 0 && a.padding == 0 && (a.out - 1) * a.stride + (a.kernel - 1) * a.dilation < a.in;
}

// Rows of images one after another: sample, plane of the sample, row. Divisions only at the start.
struct RowWalk {
  int64_t rows, planes, n, c, row;

  __attribute__((always_inline)) RowWalk(int64_t unit, int64_t rows_, int64_t planes_)
      : rows(rows_), planes(planes_), n(unit / rows / planes), c(unit / rows % planes), row(unit % rows) {}
  __attribute__((always_inline)) void next() {
    if (++row < rows) return;
    row = 0;
    if (++c < planes) return;
    c = 0, ++n;
  }
};

// Which windows an input lies in: entries [starts[i], starts[i + 1]), in ascending order of the window.
struct PoolTable {
  int32_t* starts;
  int32_t* windows;
  int32_t* taps;
};

static inline int64_t pool_longest_window(const PoolAxis& a) {
  const int64_t most = a.kernel ? a.kernel : a.in / (a.out ? a.out : 1) + 2;
  return most < a.in ? most : a.in;
}

// The taps that offsets in a window are counted by: its offset is r * pool_taps(columns) + s.
static inline int64_t pool_taps(const PoolAxis& a) { return a.kernel ? a.kernel : pool_longest_window(a); }

static inline size_t pool_table_bytes(const PoolAxis& a) {
  const size_t bytes = sizeof(int32_t) * (a.in + 2 + 2 * a.out * pool_longest_window(a));
  return (bytes + 63) / 64 * 64;
}

RANVIER_RARE PoolTable make_pool_table(const PoolAxis& a, void* memory) {
  PoolTable t;
  t.starts = static_cast<int32_t*>(memory);
  t.windows = t.starts + a.in + 2;
  t.taps = t.windows + a.out * pool_longest_window(a);
  const int64_t step = a.kernel ? a.dilation : 1;
  for (int64_t i = 0; i < a.in + 2; ++i) t.starts[i] = 0;
  // A counting sort by input: counts land two places on, so that filling leaves starts where they belong.
  for (int64_t o = 0; o < a.out; ++o) {
    const PoolWindow w = pool_window(a, o);
    for (int64_t r = w.first; r < w.last; ++r) ++t.starts[w.start + r * step + 2];
  }
  for (int64_t i = 0; i < a.in; ++i) t.starts[i + 2] += t.starts[i + 1];
  for (int64_t o = 0; o < a.out; ++o) {
    const PoolWindow w = pool_window(a, o);
    for (int64_t r = w.first; r < w.last; ++r) {
      const int32_t place = t.starts[w.start + r * step + 1]++;
      t.windows[place] = static_cast<int32_t>(o);
      t.taps[place] = static_cast<int32_t>(r);
    }
  }
  return t;
}

constexpr int64_t kMostTaps = 256;  // of windows whose offsets are bytes

// The gradient of a maximum, gathered row by row in NCHW: the rows of dy that a row of dx is made of lie in a
// ring, with room around them for windows that do not exist.
static inline bool has_pool_ring(const PoolAxis& rows, const PoolAxis& columns) {
  const int64_t reach = (rows.kernel - 1) * rows.dilation, taps = rows.kernel * columns.kernel;
  return taps > 0 && taps <= 40 && columns.stride <= 2 && reach / rows.stride < 16;
}
static inline int64_t pool_ring_slots(const PoolAxis& rows) {  // a power of two
  const int64_t live = (rows.kernel - 1) * rows.dilation / rows.stride + 2;
  int64_t slots = 1;
  while (slots < live) slots *= 2;
  return slots;
}
static inline int64_t pool_ring_before(const PoolAxis& columns) {
  const int64_t reach = (columns.kernel - 1) * columns.dilation - columns.padding;
  return (reach > 0 ? reach + 15 : 0) / 16 * 16;
}
static inline int64_t pool_ring_row(const PoolAxis& columns) {  // 16: lanes of the widest vectors
  const int64_t taken = columns.in / columns.stride + columns.padding + 48;
  const int64_t longest = taken > columns.out + 16 ? taken : columns.out + 16;
  return (pool_ring_before(columns) + longest + 15) / 16 * 16;
}

}  // namespace ranvier
