// The windows of a pool along one axis of the image.
#pragma once
#include <cstddef>
#include <cstdint>

#include "base/congruence.h"

// Called once for each share of the work. (Not `cold`: code that leads to a cold function is cold itself.)
#define RANVIER_RARE static __attribute__((noinline, unused))

namespace ranvier {

// Window o covers the inputs o * stride - padding + r * dilation, 0 <= r < kernel, as far as they exist.
// kernel = 0: adaptive windows, [floor(o in / out), ceil((o + 1) in / out)).
struct PoolAxis {
  int64_t in, out, kernel, stride, padding, dilation;
};

// The taps [first, last) of window o that are inside the image; tap 0 is at input `start`.
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

// The number of elements along this axis that an average divides by. Padding may count, but not what a last
// window covers beyond it (ceil_mode).
static inline int64_t pool_divisor(const PoolAxis& a, const PoolWindow& w, bool count_include_pad) {
  if (a.kernel == 0 || !count_include_pad) return w.last - w.first;
  const int64_t end = w.start + a.kernel, limit = a.in + a.padding;
  return (end < limit ? end : limit) - w.start;
}

// One window, which is the whole image.
static inline bool is_global(const PoolAxis& a) { return a.kernel == 0 && a.out == 1; }

// Every window is inside the image.
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

// The windows that an input is in, `count` of them in ascending order, and its tap in the first of them.
struct PoolEntries {
  int64_t window, tap, count;
};

// The entries of all inputs of an axis. A table: pool_entries() takes 10 ns, a pixel of a row often less, and
// an entry is used in many rows or columns. The k-th window of an input is window + k * window_step, by its
// tap tap - k * tap_step. An adaptive window that is not the input's first begins with it: there the step
// leads below 0, which means tap 0.
struct PoolInputs {
  const PoolEntries* of;
  int64_t window_step, tap_step;

  __attribute__((always_inline)) int64_t window(const PoolEntries& e, int64_t k) const {
    return e.window + k * window_step;
  }
  __attribute__((always_inline)) int64_t tap(const PoolEntries& e, int64_t k) const {
    const int64_t t = e.tap - k * tap_step;
    return t > 0 ? t : 0;
  }
};

// From the first window that ends after i to the last that begins at i or before.
static inline PoolEntries adaptive_entries(const PoolAxis& a, int64_t i) {
  const int64_t first = i * a.out / a.in, end = ((i + 1) * a.out + a.in - 1) / a.in;
  return {first, i - first * a.in / a.out, end - first};
}

// Window o has input i as its tap (i + padding - o stride) / dilation, where that is whole.
static inline PoolEntries pool_entries(const PoolAxis& a, const Congruence& whole, int64_t i) {
  const int64_t at = i + a.padding, before = at - (a.kernel - 1) * a.dilation, step = whole.period;
  const int64_t last = at / a.stride < a.out ? at / a.stride : a.out - 1;
  const int64_t least = before > 0 ? (before + a.stride - 1) / a.stride : 0;
  int64_t o = whole.first(at);
  if (o >= 0 && o < least) o += (least - o + step - 1) / step * step;
  if (o < 0 || o > last) return {0, 0, 0};
  return {o, (at - o * a.stride) / a.dilation, (last - o) / step + 1};
}

static inline size_t pool_inputs_bytes(const PoolAxis& a) {
  return (sizeof(PoolEntries) * a.in + 63) / 64 * 64;
}
static inline size_t pool_counts_bytes(const PoolAxis& a) { return (sizeof(int64_t) * a.out + 63) / 64 * 64; }

RANVIER_RARE PoolInputs list_pool_inputs(const PoolAxis& a, void* memory) {
  PoolEntries* of = static_cast<PoolEntries*>(memory);
  const Congruence whole = congruence(-a.stride, a.dilation);
  for (int64_t i = 0; i < a.in; ++i)
    of[i] = a.out == 0 ? PoolEntries{0, 0, 0} : a.kernel ? pool_entries(a, whole, i) : adaptive_entries(a, i);
  return {of, whole.period, a.kernel ? whole.period * a.stride / a.dilation : a.in};
}

static inline int64_t pool_longest_window(const PoolAxis& a) {
  const int64_t most = a.kernel ? a.kernel : a.in / (a.out ? a.out : 1) + 2;
  return most < a.in ? most : a.in;
}

// The taps that offsets in a window are counted by: its offset is r * pool_taps(columns) + s.
static inline int64_t pool_taps(const PoolAxis& a) { return a.kernel ? a.kernel : pool_longest_window(a); }

constexpr int64_t kMostTaps = 256;  // the most taps of windows whose offsets are bytes

}  // namespace ranvier
