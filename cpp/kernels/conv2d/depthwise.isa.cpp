// The inner loops of depthwise convolutions, compiled once for each ISA level.
#include "base/unroll.h"
#include "kernels/conv2d/depthwise_tile.h"
#include "kernels/norm/channel_line.h"
#include "simd/vec.h"

namespace ranvier::RANVIER_ISA {

constexpr int Q = kDepthwisePixels;

template <class T>
RANVIER_INLINE int64_t first_channel(const DepthwiseRow<T>& d, int64_t block) {
  const int64_t at = block * lanes<T>, last = d.channels - lanes<T>;
  return at <= last ? at : last < 0 ? 0 : last;
}

// Bits [begin, end), as far as they are in [0, count).
RANVIER_INLINE uint32_t bits_between(int64_t begin, int64_t end, int64_t count) {
  begin = begin < 0 ? 0 : begin;
  end = end < count ? end : count;
  return begin < end ? ((uint32_t{1} << end) - 1) & ~((uint32_t{1} << begin) - 1) : 0;
}

// Prefetches to L2 the pixels of the next row's tile that no row before it has read. Hardware prefetchers do
// not predict their distance.
template <class T>
RANVIER_INLINE void prefetch_next(const DepthwiseRow<T>& d, int64_t column, int64_t t, int64_t channel) {
  if (!d.y_next) return;
  const T* y = d.y_next + channel + (d.pass->first + t * d.out_step) * d.y_stride;
  for (int q = 0; q < Q; ++q, y += d.out_step * d.y_stride) __builtin_prefetch(y, 0, 2);
  for (int i = 0; i < d.new_rows; ++i) {
    const T* x = d.x_next[i] + channel + column * d.x_stride;
    for (int64_t q = 0; q < Q * d.in_step; ++q, x += d.x_stride) __builtin_prefetch(x, 0, 2);
  }
}

// To outputs [0, count) of a tile at y, channels from `channel` on.
template <class T>
RANVIER_INLINE void finish(const DepthwiseForwardRow<T>& d, int64_t channel, const T* bias, int64_t count,
                           T* y, int64_t step, vec<T> (&acc)[Q]) {
  const vec<T> b = load(bias);
  y += channel;
  RANVIER_UNROLL
  for (int q = 0; q < Q; ++q) acc[q] = acc[q] + b;
  if (d.norm) {
    const int n = d.channels < lanes<T> ? static_cast<int>(d.channels) : lanes<T>;
    const ChannelLine<T> line = channel_line(d.norm + channel, d.norm_step, n);
    RANVIER_UNROLL
    for (int q = 0; q < Q; ++q) acc[q] = normalized(acc[q], line);
  }
  if (d.relu) {
    RANVIER_UNROLL
    for (int q = 0; q < Q; ++q) acc[q] = max(acc[q], vec<T>{});
  }
  if (d.channels < lanes<T>) {
    const int n = static_cast<int>(d.channels);
    RANVIER_UNROLL
    for (int q = 0; q < Q; ++q, y += step)
      if (q < count) store_n(y, acc[q], n);
    return;
  }
  RANVIER_UNROLL
  for (int q = 0; q < Q; ++q, y += step)
    if (q < count) store(y, acc[q]);
}

// Outputs [t, t + Q) of a pass whose kTaps taps are side by side: each vector of x is loaded once for a row
// of taps. Columns outside the image or the row are skipped.
template <class T, int kTaps, int kStep>
static void slide(const DepthwiseForwardRow<T>& d, int64_t t) {
  constexpr int L = lanes<T>, kColumns = (Q - 1) * kStep + kTaps;
  static_assert(kColumns < 32);
  const DepthwisePass& pass = *d.pass;
  const int64_t column = pass.taps->input + t * kStep, count = pass.count - t < Q ? pass.count - t : Q;
  const uint32_t used = bits_between(-column, d.width - column, (count - 1) * kStep + kTaps);
  const DepthwiseRowTap* const rows_end = d.rows + d.row_count;
  const int64_t stride = d.x_stride, y_step = d.out_step * d.y_stride;
  const T *image = d.x + column * stride, *panel = d.w + pass.taps->tap * L + d.first_block * d.panel;
  const T* bias = d.bias + d.first_block * L;
  T* y = d.y + pass.first * d.y_stride + t * y_step;
  for (int64_t block = d.first_block; block < d.last_block; ++block, panel += d.panel, bias += L) {
    const int64_t channel = first_channel(d, block);
    prefetch_next(d, column, t, channel);
    vec<T> acc[Q] = {};
    for (const DepthwiseRowTap* row = d.rows; row != rows_end; ++row) {
      const T *x = image + channel + row->x, *from = panel + row->w;
      vec<T> w[kTaps];
      RANVIER_UNROLL
      for (int s = 0; s < kTaps; ++s) w[s] = load(from + s * L);
      RANVIER_UNROLL
      for (int j = 0; j < kColumns; ++j, x += stride) {
        if (!(used >> j & 1)) continue;
        const vec<T> v = in_register(load(x));
        RANVIER_UNROLL
        for (int s = 0; s < kTaps; ++s) {
          const int q = (j - s) / kStep;
          if (j >= s && (j - s) % kStep == 0 && q < Q) acc[q] = fma(v, w[s], acc[q]);
        }
      }
    }
    finish<T>(d, channel, bias, count, y, y_step, acc);
  }
}

// The same for any taps: a load for each product.
template <class T>
static void gather(const DepthwiseForwardRow<T>& d, int64_t t) {
  constexpr int L = lanes<T>;
  const DepthwisePass& pass = *d.pass;
  const int64_t step = d.in_step * d.x_stride, y_step = d.out_step * d.y_stride;
  const DepthwiseRowTap* const rows_end = d.rows + d.row_count;
  const DepthwiseTap* const taps_end = pass.taps + pass.tap_count;
  const T *image = d.x + t * step, *panel = d.w + d.first_block * d.panel, *bias = d.bias + d.first_block * L;
  T* y = d.y + pass.first * d.y_stride + t * y_step;
  for (int64_t block = d.first_block; block < d.last_block; ++block, panel += d.panel, bias += L) {
    const int64_t channel = first_channel(d, block);
    if (pass.tap_count > 0) prefetch_next(d, pass.taps->input + t * d.in_step, t, channel);
    vec<T> acc[Q] = {};
    for (const DepthwiseRowTap* row = d.rows; row != rows_end; ++row)
      for (const DepthwiseTap* tap = pass.taps; tap != taps_end; ++tap) {
        const uint32_t used = bits_between(tap->begin - t, tap->end - t, Q);
        const T* x = image + channel + row->x + tap->input * d.x_stride;
        const vec<T> w = load(panel + row->w + tap->tap * L);
        RANVIER_UNROLL
        for (int q = 0; q < Q; ++q, x += step)
          if (used >> q & 1) acc[q] = fma(load(x), w, acc[q]);
      }
    finish<T>(d, channel, bias, pass.count - t, y, y_step, acc);
  }
}

template <class T, bool kEdge>
RANVIER_INLINE void load_dy(const DepthwiseWeightRow<T>& d, int64_t block, int64_t t, vec<T> (&dy)[Q]) {
  const T* from = d.dy + first_channel(d, block) + t * d.y_stride;
  const int64_t count = d.pass->count - t, stride = d.y_stride;
  RANVIER_UNROLL
  for (int q = 0; q < Q; ++q, from += stride) dy[q] = !kEdge || q < count ? load(from) : vec<T>{};
  if (!d.db) return;
  T* sum = d.db + block * lanes<T>;
  store(sum, load(sum) + (((dy[0] + dy[1]) + (dy[2] + dy[3])) + ((dy[4] + dy[5]) + (dy[6] + dy[7]))));
}

// dy stays in registers, the sums of a row of taps too.
template <class T, int kTaps, int kStep, bool kEdge>
static void slide_weight(const DepthwiseWeightRow<T>& d, int64_t t) {
  constexpr int L = lanes<T>, kColumns = (Q - 1) * kStep + kTaps;
  const DepthwisePass& pass = *d.pass;
  const int64_t column = pass.taps->input + t * kStep, count = pass.count - t < Q ? pass.count - t : Q;
  const uint32_t used = bits_between(-column, d.width - column, (count - 1) * kStep + kTaps);
  const DepthwiseRowTap* const rows_end = d.rows + d.row_count;
  const int64_t stride = d.x_stride;
  const T* image = d.x + column * stride;
  T* panel = d.dw + pass.taps->tap * L + d.first_block * d.panel;
  for (int64_t block = d.first_block; block < d.last_block; ++block, panel += d.panel) {
    vec<T> dy[Q];
    load_dy<T, kEdge>(d, block, t, dy);
    prefetch_next(d, column, t, first_channel(d, block));
    for (const DepthwiseRowTap* row = d.rows; row != rows_end; ++row) {
      const T* x = image + first_channel(d, block) + row->x;
      T* sum = panel + row->w;
      vec<T> acc[kTaps];
      RANVIER_UNROLL
      for (int s = 0; s < kTaps; ++s) acc[s] = load(sum + s * L);
      RANVIER_UNROLL
      for (int j = 0; j < kColumns; ++j, x += stride) {
        if (kEdge && !(used >> j & 1)) continue;
        const vec<T> v = in_register(load(x));
        RANVIER_UNROLL
        for (int s = 0; s < kTaps; ++s) {
          const int q = (j - s) / kStep;
          if (j < s || (j - s) % kStep != 0 || q >= Q) continue;
          if (!kEdge || q < count) acc[s] = fma(v, dy[q], acc[s]);
        }
      }
      RANVIER_UNROLL
      for (int s = 0; s < kTaps; ++s) store(sum + s * L, acc[s]);
    }
  }
}

template <class T>
static void gather_weight(const DepthwiseWeightRow<T>& d, int64_t t) {
  constexpr int L = lanes<T>;
  const DepthwisePass& pass = *d.pass;
  const int64_t step = d.in_step * d.x_stride;
  const DepthwiseRowTap* const rows_end = d.rows + d.row_count;
  const DepthwiseTap* const taps_end = pass.taps + pass.tap_count;
  const T* image = d.x + t * step;
  T* panel = d.dw + d.first_block * d.panel;
  for (int64_t block = d.first_block; block < d.last_block; ++block, panel += d.panel) {
    const int64_t channel = first_channel(d, block);
    vec<T> dy[Q];
    load_dy<T, true>(d, block, t, dy);
    if (pass.tap_count > 0) prefetch_next(d, pass.taps->input + t * d.in_step, t, channel);
    for (const DepthwiseRowTap* row = d.rows; row != rows_end; ++row)
      for (const DepthwiseTap* tap = pass.taps; tap != taps_end; ++tap) {
        const uint32_t used = bits_between(tap->begin - t, tap->end - t, Q);
        const T* x = image + channel + row->x + tap->input * d.x_stride;
        T* sum = panel + row->w + tap->tap * L;
        vec<T> acc = load(sum);
        RANVIER_UNROLL
        for (int q = 0; q < Q; ++q, x += step)
          if (used >> q & 1) acc = fma(load(x), dy[q], acc);
        store(sum, acc);
      }
  }
}

template <class Row>
using Tile = void (*)(const Row&, int64_t);
template <class T>
constexpr bool kFloat = sizeof(T) == sizeof(float);

// Tiles for any taps, for 3 and 5 at stride 1 and 2, for 7 at stride 1. Rare cases use the first, and old
// CPUs, for which less code is compiled.
constexpr bool kWide = RANVIER_HAS_FMA;
template <class T>
constexpr Tile<DepthwiseForwardRow<T>> kForward[] = {gather<T>,
                                                     slide<T, 3, 1>,
                                                     slide<T, 3, 2>,
                                                     kFloat<T> ? slide<T, 5, 1> : gather<T>,
                                                     kFloat<T> ? slide<T, 5, 2> : gather<T>,
                                                     kFloat<T>&& kWide ? slide<T, 7, 1> : gather<T>};
// [is a tile at an edge]
template <class T>
constexpr Tile<DepthwiseWeightRow<T>> kWeight[2][6] = {
    {gather_weight<T>, slide_weight<T, 3, 1, false>, slide_weight<T, 3, 2, false>,
     kFloat<T> ? slide_weight<T, 5, 1, false> : gather_weight<T>,
     kFloat<T> ? slide_weight<T, 5, 2, false> : gather_weight<T>,
     kFloat<T>&& kWide ? slide_weight<T, 7, 1, false> : gather_weight<T>},
    {gather_weight<T>, slide_weight<T, 3, 1, true>, kWide ? slide_weight<T, 3, 2, true> : gather_weight<T>,
     kFloat<T>&& kWide ? slide_weight<T, 5, 1, true> : gather_weight<T>, gather_weight<T>,
     kFloat<T>&& kWide ? slide_weight<T, 7, 1, true> : gather_weight<T>}};

template <class T>
RANVIER_INLINE int tile_of(const DepthwiseRow<T>& d) {
  const int64_t taps = d.pass->adjacent ? d.pass->tap_count : 0, step = d.in_step;
  if (taps == 7 && step == 1) return 5;
  if ((taps != 3 && taps != 5) || step > 2) return 0;
  return static_cast<int>(taps - 3 + step);
}

template <class T>
static void forward(const DepthwiseForwardRow<T>& d) {
  const auto tile = kForward<T>[tile_of<T>(d)];
  for (int64_t t = 0; t < d.pass->count; t += Q) tile(d, t);
}

template <class T>
static void weight(const DepthwiseWeightRow<T>& d) {
  const DepthwisePass& pass = *d.pass;
  const int tile = tile_of<T>(d);
  for (int64_t t = 0; t < pass.count; t += Q)
    kWeight<T>[t < pass.inner_begin || t + Q > pass.inner_end][tile](d, t);
}

extern const DepthwiseKernels<float> depthwise_kernels_float = {forward<float>, weight<float>};
extern const DepthwiseKernels<double> depthwise_kernels_double = {forward<double>, weight<double>};

}  // namespace ranvier::RANVIER_ISA
