// How the windows of a pool lie along one axis of the image.
#pragma once
#include <cstddef>
#include <cstdint>

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

static inline PoolWindow pool_window(const PoolAxis& a, int64_t o) {
  if (a.kernel == 0) {
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
static inline int64_t pool_divisor(const PoolAxis& a, int64_t o, bool count_include_pad) {
  const PoolWindow w = pool_window(a, o);
  if (a.kernel == 0 || !count_include_pad) return w.last - w.first;
  const int64_t end = w.start + a.kernel, limit = a.in + a.padding;
  return (end < limit ? end : limit) - w.start;
}

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

static inline PoolTable make_pool_table(const PoolAxis& a, void* memory) {
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

}  // namespace ranvier
