// The windows of a pool along one axis of the image (its rows or its columns): which inputs a window covers,
// and which windows contain an input. A tap is a place in a window; along one axis taps count 0, 1, 2, ...
#pragma once
#include <cstddef>
#include <cstdint>

#include "base/congruence.h"

// For functions that run once for each thread's share of the work. They are not marked `cold`, since GCC
// would then treat the code that calls them as cold, too.
#define RANVIER_RARE static __attribute__((noinline, unused))

namespace ranvier {

// `in` inputs and `out` windows. Window o covers the inputs o * stride - padding + r * dilation for 0 <= r <
// kernel, as far as they exist. kernel = 0 means adaptive windows: window o covers [floor(o in / out),
// ceil((o + 1) in / out)).
struct PoolAxis {
  int64_t in, out, kernel, stride, padding, dilation;
};

// The taps [first, last) of a window that are inside the image. Tap 0 is at input `start`, which may be
// negative.
struct PoolWindow {
  int64_t start, first, last;
};

static __attribute__((noinline, unused)) PoolWindow pool_window(const PoolAxis& a, int64_t o) {
  if (a.kernel == 0) {
    if (a.out == 1) return {0, 0, a.in};  // the whole image
    const int64_t start = o * a.in / a.out;
    const int64_t end = ((o + 1) * a.in + a.out - 1) / a.out;
    return {start, 0, end - start};
  }
  const int64_t start = o * a.stride - a.padding;
  if (start >= 0 && start + (a.kernel - 1) * a.dilation < a.in) return {start, 0, a.kernel};
  // Tap t is inside if 0 <= start + t d < in.
  const int64_t d = a.dilation;
  int64_t first = start < 0 ? (-start + d - 1) / d : 0;
  int64_t last = start < a.in ? (a.in - start + d - 1) / d : 0;
  if (first > a.kernel) first = a.kernel;
  if (last > a.kernel) last = a.kernel;
  if (last < first) last = first;
  return {start, first, last};
}

// The number of elements along this axis by which an average divides. With count_include_pad the padding
// counts, but not what the last window covers beyond the padding (PyTorch's ceil_mode makes such windows).
static inline int64_t pool_divisor(const PoolAxis& a, const PoolWindow& w, bool count_include_pad) {
  if (a.kernel == 0 || !count_include_pad) return w.last - w.first;
  const int64_t end = w.start + a.kernel;
  const int64_t limit = a.in + a.padding;
  const int64_t counted_end = end < limit ? end : limit;
  return counted_end - w.start;
}

// True if there is one window, which covers the whole axis.
static inline bool is_global(const PoolAxis& a) { return a.kernel == 0 && a.out == 1; }

// True if every window is wholly inside the image.
static inline bool all_inside(const PoolAxis& a) {
  return a.kernel > 0 && a.padding == 0 && (a.out - 1) * a.stride + (a.kernel - 1) * a.dilation < a.in;
}

// Walks over the rows of images, which are numbered by `unit` in the order (sample n, plane c, row). It
// divides at the start only.
struct RowWalk {
  int64_t rows, planes, n, c, row;

  __attribute__((always_inline)) RowWalk(int64_t unit, int64_t rows_, int64_t planes_)
      : rows(rows_), planes(planes_), n(unit / rows / planes), c(unit / rows % planes), row(unit % rows) {}
  __attribute__((always_inline)) void next() {
    if (++row < rows) return;
    row = 0;
    if (++c < planes) return;
    c = 0;
    ++n;
  }
};

// The windows that contain an input: their number, the first of them, and the input's tap in that first
// window.
struct PoolEntries {
  int64_t window, tap, count;
};

// A table of the PoolEntries of all inputs of an axis. Each entry is used for many rows or columns, and
// computing one takes 10 ns, often longer than the work for a pixel. The k-th window of an input, from 0 on,
// is entry.window + k * window_step, and contains the input as its tap entry.tap - k * tap_step. Of the
// adaptive windows that contain an input, all except the first begin at this input, which is then tap 0: the
// formula gives a value of at most 0.
struct PoolInputs {
  const PoolEntries* of;  // by input
  int64_t window_step, tap_step;

  __attribute__((always_inline)) int64_t window(const PoolEntries& e, int64_t k) const {
    return e.window + k * window_step;
  }
  __attribute__((always_inline)) int64_t tap(const PoolEntries& e, int64_t k) const {
    const int64_t t = e.tap - k * tap_step;
    return t > 0 ? t : 0;
  }
};

// The adaptive windows that contain input i.
static inline PoolEntries adaptive_entries(const PoolAxis& a, int64_t i) {
  const int64_t first = i * a.out / a.in;
  const int64_t end = ((i + 1) * a.out + a.in - 1) / a.in;
  return {first, i - first * a.in / a.out, end - first};
}

// The windows that contain input i: those for which the tap (i + padding - o stride) / dilation is a whole
// number from 0 to kernel - 1. whole: the windows o with a whole number, as a congruence; they are `period`
// apart.
static inline PoolEntries pool_entries(const PoolAxis& a, const Congruence& whole, int64_t i) {
  const int64_t at = i + a.padding;
  const int64_t before = at - (a.kernel - 1) * a.dilation;
  const int64_t step = whole.period;
  // The tap is at least 0 up to window `last`, and below `kernel` from window `least` on.
  const int64_t last = at / a.stride < a.out ? at / a.stride : a.out - 1;
  const int64_t least = before > 0 ? (before + a.stride - 1) / a.stride : 0;
  int64_t o = whole.first(at);
  if (o >= 0 && o < least) o += (least - o + step - 1) / step * step;
  if (o < 0 || o > last) return {0, 0, 0};
  return {o, (at - o * a.stride) / a.dilation, (last - o) / step + 1};
}

// Bytes of tables in a thread's workspace: of PoolInputs, and of one number for each window.
static inline size_t pool_inputs_bytes(const PoolAxis& a) {
  return (sizeof(PoolEntries) * a.in + 63) / 64 * 64;
}
static inline size_t pool_counts_bytes(const PoolAxis& a) { return (sizeof(int64_t) * a.out + 63) / 64 * 64; }

// Fills the table in `memory`, of pool_inputs_bytes(a).
RANVIER_RARE PoolInputs list_pool_inputs(const PoolAxis& a, void* memory) {
  PoolEntries* of = static_cast<PoolEntries*>(memory);
  const Congruence whole = congruence(-a.stride, a.dilation);
  for (int64_t i = 0; i < a.in; ++i) {
    if (a.out == 0)
      of[i] = {0, 0, 0};
    else if (a.kernel == 0)
      of[i] = adaptive_entries(a, i);
    else
      of[i] = pool_entries(a, whole, i);
  }
  // Adaptive windows after the first begin at the input: a step of all inputs gives a tap below 0, that is 0.
  const int64_t tap_step = a.kernel ? whole.period * a.stride / a.dilation : a.in;
  return {of, whole.period, tap_step};
}

// At least the number of taps of the longest window that are inside the image.
static inline int64_t pool_longest_window(const PoolAxis& a) {
  const int64_t windows = a.out ? a.out : 1;
  const int64_t most = a.kernel ? a.kernel : a.in / windows + 2;
  return most < a.in ? most : a.in;
}

// The width of a window in offsets: tap (r, s) has the offset r * pool_taps(columns) + s (`where` in
// pooling.h).
static inline int64_t pool_taps(const PoolAxis& a) { return a.kernel ? a.kernel : pool_longest_window(a); }

constexpr int64_t kMostTaps = 256;  // the most taps of a two-dimensional window whose offsets are bytes

}  // namespace ranvier
