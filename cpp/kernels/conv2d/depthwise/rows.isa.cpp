// The inner loops of depthwise convolutions: DepthwiseKernels of rows.h, compiled once for each ISA level and
// called by depthwise.cpp, once for each pass over an output row. A tile is Q outputs of a row by one vector
// of channels (a block). slide() and slide_weight() are for taps that are neighbours: they load each vector
// of x once for all taps of a row. gather() and gather_weight() are for any taps. A sum is one chain over the
// taps, row by row, in all of them, so the bits do not depend on which one computes it. The tables kForward,
// kWeight and kPickWeight near the end say which of them are compiled.
#include "kernels/conv2d/depthwise/rows.h"
#include "base/integers.h"
#include "base/unroll.h"
#include "kernels/norm/channel_line.h"
#include "simd/permute.h"
#include "simd/stream.h"
#include "simd/vec.h"

namespace ranvier::RANVIER_ISA {

constexpr int Q = kDepthwisePixels;
// True if a vector is a whole cache line. A line that is streamed in parts, with other lines between them,
// goes to memory once for each part.
template <class T>
constexpr bool kStreams = sizeof(vec<T>) == 64 && sizeof(T) == sizeof(float);

template <class T>
RANVIER_INLINE int64_t first_channel(const DepthwiseRow<T>& d, int64_t block) {
  const int64_t at = block * lanes<T>;
  const int64_t last = d.channels - lanes<T>;
  if (at <= last) return at;
  return last < 0 ? 0 : last;
}

// A mask with the bits [begin, end) set, as far as they are in [0, count).
RANVIER_INLINE uint32_t bits_between(int64_t begin, int64_t end, int64_t count) {
  begin = begin < 0 ? 0 : begin;
  end = end < count ? end : count;
  const auto bits_below = [](int64_t n) { return (uint32_t{1} << n) - 1; };
  return begin < end ? bits_below(end) & ~bits_below(begin) : 0;
}

// Prefetches to L2, for one block, a part of what the next row will read and write (DepthwiseRow::y_next,
// x_next), at the columns of this tile. Where all channels of pixels are used, each block prefetches a run of
// memory, which the hardware's prefetchers then follow; one line of each pixel they would not.
template <class T>
static __attribute__((noinline)) void prefetch_far(const DepthwiseRow<T>& d, int64_t column, int64_t columns,
                                                   int64_t t, int64_t block) {
  asm volatile("");  // GCC leaves out calls that only prefetch
  constexpr int64_t kLine = 64 / sizeof(T);
  const int64_t channel = first_channel(d, block);
  const bool whole = d.first_block == 0 && d.last_block * lanes<T> >= d.channels;
  const bool new_line = channel * sizeof(T) % 64 < sizeof(vec<T>);
  const auto fetch = [&](const T* from, int64_t pixels, int64_t stride) RANVIER_INLINED {
    const bool runs = whole && stride == d.channels;
    const int64_t lines_of_pixels = new_line ? pixels : 0;
    const int64_t step = runs ? kLine : stride;
    int64_t count = runs ? ceil_div(pixels * lanes<T>, kLine) : lines_of_pixels;
    from += runs ? block * lanes<T> * pixels : channel;
    for (; count > 0; --count, from += step) __builtin_prefetch(from, 0, 2);
  };
  const int64_t step = d.pass->out_step * d.y_stride;
  if (d.y_next) fetch(d.y_next + d.pass->first * d.y_stride + t * step, Q, step);
  for (int i = 0; i < d.new_rows; ++i) fetch(d.x_next[i] + column * d.x_stride, columns, d.x_stride);
}

template <class T>
RANVIER_INLINE void prefetch_next(const DepthwiseRow<T>& d, int64_t column, int64_t columns, int64_t t,
                                  int64_t block) {
  if (d.y_next || d.new_rows > 0) prefetch_far(d, column, columns, t, block);
}

// Adds the bias, applies norm and ReLU, and stores those outputs q of a tile whose bit is set in `stored`, at
// y + q * step, channels from `channel` on.
template <class T>
RANVIER_INLINE void finish(const DepthwiseForwardRow<T>& d, int64_t channel, const T* bias, uint32_t stored,
                           T* y, int64_t step, vec<T> (&acc)[Q]) {
  const int n = d.channels < lanes<T> ? static_cast<int>(d.channels) : lanes<T>;
  const vec<T> b = load(bias);
  y += channel;
  RANVIER_UNROLL
  for (int q = 0; q < Q; ++q) acc[q] = acc[q] + b;
  if (d.norm) {
    const ChannelLine<T> line = channel_line(d.norm + channel, d.norm_step, n);
    RANVIER_UNROLL
    for (int q = 0; q < Q; ++q) acc[q] = normalized(acc[q], line);
  }
  if (d.relu) {
    RANVIER_UNROLL
    for (int q = 0; q < Q; ++q) acc[q] = max(acc[q], vec<T>{});
  }
  if (n < lanes<T>) {
    RANVIER_UNROLL
    for (int q = 0; q < Q; ++q, y += step)
      if (stored >> q & 1) store_n(y, acc[q], n);
    return;
  }
  if constexpr (kStreams<T>) {
    if (d.stream) {
      RANVIER_UNROLL
      for (int q = 0; q < Q; ++q, y += step)
        if (stored >> q & 1) stream(y, acc[q]);
      return;
    }
  }
  RANVIER_UNROLL
  for (int q = 0; q < Q; ++q, y += step)
    if (stored >> q & 1) store(y, acc[q]);
}

// Computes the outputs [t, t + Q) of a pass whose kTaps taps are neighbours: each vector of x, column j of
// the tile, is loaded once for a row of taps. Output q and tap s meet at the column j for which j * kPhases +
// kPhases - 1 = q * kStep + s. kEdge: columns outside the image and outputs outside the row are skipped.
template <class T, int kTaps, int kStep, int kPhases, bool kEdge>
static void slide(const DepthwiseForwardRow<T>& d, int64_t t) {
  constexpr int L = lanes<T>;
  constexpr int kColumns = ((Q - 1) * kStep + kTaps - kPhases) / kPhases + 1;  // that the tile's outputs read
  static_assert(kColumns < 32);                                                // `used` has a bit for each
  const DepthwisePass& pass = *d.pass;
  const int64_t column = pass.column + (t - pass.begin) * kStep / kPhases;
  const uint32_t used = kEdge ? bits_between(-column, d.width - column, kColumns) : ~0u;
  const uint32_t stored = kEdge ? bits_between(-t, pass.count - t, Q) : ~0u;
  const DepthwiseRowTap* const rows_end = d.rows + d.row_count;
  const int64_t stride = d.x_stride;
  const int64_t y_step = pass.out_step * d.y_stride;
  const T* image = d.x + column * stride;
  const T* panel = d.w + d.first_block * d.panel;
  const T* bias = d.bias + d.first_block * L;
  T* y = d.y + pass.first * d.y_stride + t * y_step;
  for (int64_t block = d.first_block; block < d.last_block; ++block, panel += d.panel, bias += L) {
    const int64_t channel = first_channel(d, block);
    prefetch_next(d, column, Q * kStep / kPhases, t, block);
    vec<T> acc[Q] = {};
    for (const DepthwiseRowTap* row = d.rows; row != rows_end; ++row) {
      const T* x = image + channel + row->x;
      const T* from = panel + row->w;
      vec<T> w[kTaps];
      RANVIER_UNROLL
      for (int s = 0; s < kTaps; ++s) w[s] = load(from + s * L);
      RANVIER_UNROLL
      for (int j = 0; j < kColumns; ++j, x += stride) {
        if (!(used >> j & 1)) continue;
        const vec<T> v = in_register(load(x));
        RANVIER_UNROLL
        for (int q = 0; q < Q; ++q) {
          const int s = j * kPhases + kPhases - 1 - q * kStep;
          if (s >= 0 && s < kTaps) acc[q] = fma(v, w[s], acc[q]);
        }
      }
    }
    finish<T>(d, channel, bias, stored, y, y_step, acc);
  }
}

// The same for any taps: it loads a vector of x for each product.
template <class T>
static void gather(const DepthwiseForwardRow<T>& d, int64_t t) {
  constexpr int L = lanes<T>;
  const DepthwisePass& pass = *d.pass;
  const int64_t step = d.in_step * d.x_stride;
  const int64_t y_step = pass.out_step * d.y_stride;
  const DepthwiseRowTap* const rows_end = d.rows + d.row_count;
  const DepthwiseTap* const taps_end = pass.taps + pass.tap_count;
  const T* image = d.x + t * step;
  const T* panel = d.w + d.first_block * d.panel;
  const T* bias = d.bias + d.first_block * L;
  T* y = d.y + pass.first * d.y_stride + t * y_step;
  for (int64_t block = d.first_block; block < d.last_block; ++block, panel += d.panel, bias += L) {
    const int64_t channel = first_channel(d, block);
    if (pass.tap_count > 0) prefetch_next(d, pass.column + t * d.in_step, Q * d.in_step, t, block);
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
    finish<T>(d, channel, bias, bits_between(0, pass.count - t, Q), y, y_step, acc);
  }
}

// Loads Q vectors of dy, zeros beyond the row, and adds them to db.
template <class T, bool kEdge>
RANVIER_INLINE void load_dy(const DepthwiseWeightRow<T>& d, int64_t block, int64_t t, vec<T> (&dy)[Q]) {
  const T* from = d.dy + first_channel(d, block) + t * d.y_stride;
  const int64_t count = d.pass->count - t;
  const int64_t stride = d.y_stride;
  RANVIER_UNROLL
  for (int q = 0; q < Q; ++q, from += stride) {
    const bool exists = !kEdge || q < count;
    dy[q] = exists ? load(from) : vec<T>{};
  }
  if (!d.db) return;
  T* sum = d.db + block * lanes<T>;
  store(sum, load(sum) + (((dy[0] + dy[1]) + (dy[2] + dy[3])) + ((dy[4] + dy[5]) + (dy[6] + dy[7]))));
}

// What the outputs of a block are multiplied by: `count` inputs in the vector of x from channel `first` on;
// pick has for each lane the lane of the first of these inputs (DepthwiseWeightRow). sums_step: from the sums
// of a tap to those of the next.
template <class T>
struct Inputs {
  int64_t first, count, sums_step;
  ivec<T> pick;
};
template <class T, bool kPick>
RANVIER_INLINE Inputs<T> inputs_of(const DepthwiseWeightRow<T>& d, int64_t block) {
  if (!kPick) return {first_channel(d, block), 1, lanes<T>, ivec<T>{}};
  Inputs<T> in{d.x_first[block], d.inputs, d.inputs * lanes<T>, ivec<T>{}};
  __builtin_memcpy(&in.pick, static_cast<const char*>(d.pick) + block * sizeof in.pick, sizeof in.pick);
  return in;
}
template <class T, bool kPick>
RANVIER_INLINE vec<T> input(const Inputs<T>& in, const T* x, int64_t c) {
  if constexpr (kPick) return permute(load(x), in.pick + ibroadcast<T>(static_cast<int>(c)));
  return in_register(load(x));
}

// Adds the products of Q outputs from t on to the sums of all taps, for kTaps taps that are neighbours: dy
// and the sums of a row of taps stay in registers.
template <class T, int kTaps, int kStep, bool kEdge, bool kPick = false>
static void slide_weight(const DepthwiseWeightRow<T>& d, int64_t t) {
  constexpr int L = lanes<T>;
  constexpr int kColumns = (Q - 1) * kStep + kTaps;  // that the tile's outputs read
  const DepthwisePass& pass = *d.pass;
  const int64_t column = pass.taps->input + t * kStep;
  const int64_t count = pass.count - t < Q ? pass.count - t : Q;
  const uint32_t used = bits_between(-column, d.width - column, (count - 1) * kStep + kTaps);
  const DepthwiseRowTap* const rows_end = d.rows + d.row_count;
  const int64_t stride = d.x_stride;
  const T* image = d.x + column * stride;
  T* panel = d.dw + d.first_block * d.panel;
  for (int64_t block = d.first_block; block < d.last_block; ++block, panel += d.panel) {
    prefetch_next(d, column, Q * kStep, t, block);
    vec<T> dy[Q];
    load_dy<T, kEdge>(d, block, t, dy);
    const Inputs<T> in = inputs_of<T, kPick>(d, block);
    const int64_t step = in.sums_step;
    const auto add_input = [&](const T* x, T* sum, int64_t c) RANVIER_INLINED {
      vec<T> acc[kTaps];
      RANVIER_UNROLL
      for (int s = 0; s < kTaps; ++s) acc[s] = load(sum + s * step);
      RANVIER_UNROLL
      for (int j = 0; j < kColumns; ++j, x += stride) {
        if (kEdge && !(used >> j & 1)) continue;
        const vec<T> v = input<T, kPick>(in, x, c);
        RANVIER_UNROLL
        for (int s = 0; s < kTaps; ++s) {
          const int q = (j - s) / kStep;
          if (j < s || (j - s) % kStep != 0 || q >= Q) continue;
          if (!kEdge || q < count) acc[s] = fma(v, dy[q], acc[s]);
        }
      }
      RANVIER_UNROLL
      for (int s = 0; s < kTaps; ++s) store(sum + s * step, acc[s]);
    };
    for (const DepthwiseRowTap* row = d.rows; row != rows_end; ++row)
      for (int64_t c = 0; c < in.count; ++c)
        add_input(image + in.first + row->x, panel + pass.taps->tap * step + row->w + c * L, c);
  }
}

// The same for any taps.
template <class T, bool kPick = false>
static void gather_weight(const DepthwiseWeightRow<T>& d, int64_t t) {
  constexpr int L = lanes<T>;
  const DepthwisePass& pass = *d.pass;
  const int64_t step = d.in_step * d.x_stride;
  const DepthwiseRowTap* const rows_end = d.rows + d.row_count;
  const DepthwiseTap* const taps_end = pass.taps + pass.tap_count;
  const T* image = d.x + t * step;
  T* panel = d.dw + d.first_block * d.panel;
  for (int64_t block = d.first_block; block < d.last_block; ++block, panel += d.panel) {
    if (pass.tap_count > 0) prefetch_next(d, pass.column + t * d.in_step, Q * d.in_step, t, block);
    vec<T> dy[Q];
    load_dy<T, true>(d, block, t, dy);
    const Inputs<T> in = inputs_of<T, kPick>(d, block);
    for (const DepthwiseRowTap* row = d.rows; row != rows_end; ++row)
      for (const DepthwiseTap* tap = pass.taps; tap != taps_end; ++tap) {
        const uint32_t used = bits_between(tap->begin - t, tap->end - t, Q);
        T* sum = panel + row->w + tap->tap * in.sums_step;
        for (int64_t c = 0; c < in.count; ++c, sum += L) {
          const T* x = image + in.first + row->x + tap->input * d.x_stride;
          vec<T> acc = load(sum);
          RANVIER_UNROLL
          for (int q = 0; q < Q; ++q, x += step)
            if (used >> q & 1) acc = fma(input<T, kPick>(in, x, c), dy[q], acc);
          store(sum, acc);
        }
      }
  }
}

template <class Row>
using Tile = void (*)(const Row&, int64_t);
template <class T>
constexpr bool kFloat = sizeof(T) == sizeof(float);

// The code for a tile, by the number and distance of its taps: the indices of the tables below. any_taps:
// all; taps3_step2: 3 neighbouring taps at stride 2; taps3_phases: 3 taps, both phases of stride 2 in one
// pass.
enum TileIndex {
  any_taps,
  taps3_step1,
  taps3_step2,
  taps5_step1,
  taps5_step2,
  taps7,
  taps2_step1,
  taps2_step2,
  taps4_step1,
  taps4_step2,
  taps3_phases,
  taps5_phases
};
constexpr int kForwardTiles = 12;
constexpr int kWeightTiles = 10;  // a gradient to the weight has no phases
constexpr int kPickTiles = 4;

// Rare cases, and levels without FMA, use gather(), to have less code. kEdge: true if the tile is at an edge;
// code for edges also computes other tiles.
constexpr bool kWide = RANVIER_HAS_FMA;
template <class T>
constexpr bool kMany = kFloat<T> && kWide;

template <class T, bool kEdge>
struct ForwardTiles {
  using Function = Tile<DepthwiseForwardRow<T>>;
  Function of[kForwardTiles];
  constexpr ForwardTiles() : of{} {
    for (Function& f : of) f = gather<T>;
    of[taps3_step1] = slide < T, 3, 1, 1, kEdge || !kMany < T >> ;
    of[taps3_step2] = slide < T, 3, 2, 1, kEdge || !kMany < T >> ;
    if constexpr (kFloat<T>) {
      of[taps5_step1] = slide<T, 5, 1, 1, true>;
      of[taps5_step2] = slide<T, 5, 2, 1, true>;
    }
    if constexpr (kMany<T>) {
      of[taps2_step1] = slide<T, 2, 1, 1, true>;
      of[taps2_step2] = slide<T, 2, 2, 1, true>;
      of[taps4_step1] = slide<T, 4, 1, 1, true>;
      of[taps4_step2] = slide<T, 4, 2, 1, true>;
      of[taps7] = slide<T, 7, 1, 1, true>;
      of[taps3_phases] = slide<T, 3, 1, 2, kEdge>;
      of[taps5_phases] = slide<T, 5, 1, 2, true>;
    }
  }
};
template <class T, bool kEdge>
constexpr ForwardTiles<T, kEdge> kForward{};

// The same for the gradient to the weight.
template <class T, bool kEdge>
struct WeightTiles {
  using Function = Tile<DepthwiseWeightRow<T>>;
  Function of[kWeightTiles];
  constexpr WeightTiles() : of{} {
    for (Function& f : of) f = gather_weight<T>;
    of[taps3_step1] = slide_weight<T, 3, 1, kEdge>;
    if constexpr (!kEdge || kWide) of[taps3_step2] = slide_weight<T, 3, 2, kEdge>;
    if constexpr (kFloat<T> && (!kEdge || kWide)) of[taps5_step1] = slide_weight<T, 5, 1, kEdge>;
    if constexpr (kFloat<T> && !kEdge) of[taps5_step2] = slide_weight<T, 5, 2, false>;
    if constexpr (kFloat<T> && kWide) {
      of[taps7] = slide_weight<T, 7, 1, kEdge>;
      of[taps2_step1] = slide_weight<T, 2, 1, true>;
      of[taps2_step2] = slide_weight<T, 2, 2, true>;
      of[taps4_step1] = slide_weight<T, 4, 1, true>;
      of[taps4_step2] = slide_weight<T, 4, 2, true>;
    }
  }
};
template <class T, bool kEdge>
constexpr WeightTiles<T, kEdge> kWeight{};

// The same with a pick (DepthwiseWeightRow).
template <class T>
constexpr bool kPicks = has_permute<T>;
template <class T, bool kEdge, bool kPick = kPicks<T>>
struct PickTiles {
  using Function = Tile<DepthwiseWeightRow<T>>;
  Function of[kPickTiles];
  constexpr PickTiles() : of{} {
    for (Function& f : of) f = gather_weight<T, kPick>;
    if constexpr (kFloat<T>) of[taps3_step1] = slide_weight<T, 3, 1, kEdge, kPick>;
    if constexpr (kFloat<T> && !kEdge) {
      of[taps3_step2] = slide_weight<T, 3, 2, false, kPick>;
      of[taps5_step1] = slide_weight<T, 5, 1, false, kPick>;
    }
  }
};
template <class T, bool kEdge>
constexpr PickTiles<T, kEdge> kPickWeight{};

template <class T>
RANVIER_INLINE int tile_of(const DepthwiseRow<T>& d) {
  const int64_t taps = d.pass->slides ? d.pass->tap_count : 0;
  const int64_t step = d.in_step;
  if (d.pass->phases == 2) return taps == 5 ? taps5_phases : taps3_phases;
  if (taps == 7 && step == 1) return taps7;
  if (step > 2) return any_taps;
  if (taps == 3) return step == 1 ? taps3_step1 : taps3_step2;
  if (taps == 5) return step == 1 ? taps5_step1 : taps5_step2;
  if (taps == 2) return step == 1 ? taps2_step1 : taps2_step2;
  if (taps == 4) return step == 1 ? taps4_step1 : taps4_step2;
  return any_taps;
}

// DepthwiseKernels::forward: a pass over a row, Q outputs at a time. The last tile of a row begins earlier
// and overlaps the one before, if all its taps are then inside the image.
template <class T>
static void forward(const DepthwiseForwardRow<T>& d) {
  const DepthwisePass& pass = *d.pass;
  const int tile = tile_of<T>(d);
  const int64_t step = d.in_step;
  const int64_t phases = pass.phases;
  const int64_t columns = ((Q - 1) * step + pass.tap_count - phases) / phases + 1;
  const auto is_inner = [&](int64_t t) {
    const int64_t column = pass.column + (t - pass.begin) * step / phases;
    return t >= 0 && t + Q <= pass.count && column >= 0 && column + columns <= d.width;
  };
  const int64_t last = pass.count - Q;
  const bool overlaps = tile && (last - pass.begin) % phases == 0 && is_inner(last);
  for (int64_t t = pass.begin; t < pass.count; t += Q) {
    if (overlaps && t > last) t = last;
    const auto* tiles = is_inner(t) ? kForward<T, false>.of : kForward<T, true>.of;
    tiles[tile](d, t);
  }
}

// DepthwiseKernels::weight: a row of dy, Q outputs at a time.
template <class T>
static void weight(const DepthwiseWeightRow<T>& d) {
  const DepthwisePass& pass = *d.pass;
  const int tile = tile_of<T>(d);
  for (int64_t t = 0; t < pass.count; t += Q) {
    const bool edge = t < pass.inner_begin || t + Q > pass.inner_end;
    if constexpr (kPicks<T>) {
      if (d.pick) {
        const int pick_tile = tile < kPickTiles ? tile : any_taps;
        const auto* tiles = edge ? kPickWeight<T, true>.of : kPickWeight<T, false>.of;
        tiles[pick_tile](d, t);
        continue;
      }
    }
    const auto* tiles = edge ? kWeight<T, true>.of : kWeight<T, false>.of;
    tiles[tile](d, t);
  }
}

template <class T>
static constexpr DepthwiseKernels<T> kernels() {
  DepthwiseKernels<T> k{};
  k.both_phases = kMany<T> ? 5 : 0;  // the taps of taps5_phases in kForward
  k.streams = kStreams<T>;
  k.forward = forward<T>;
  k.weight = weight<T>;
  k.picks = kPicks<T>;
  return k;
}
extern const DepthwiseKernels<float> depthwise_kernels_float = kernels<float>();
extern const DepthwiseKernels<double> depthwise_kernels_double = kernels<double>();

}  // namespace ranvier::RANVIER_ISA
