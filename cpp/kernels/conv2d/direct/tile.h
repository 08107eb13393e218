// The kernels that an ISA level has for conv2d: one micro-kernel, for forward and both gradients, and the
// changes of layout around it.
#pragma once
#include "base/isa.h"
#include "base/precision.h"
#include "base/tensor_view.h"

namespace ranvier {

constexpr int kMaxConvRows = 14, kPairedRows = 16;  // rows of tiles of whole vectors; of a vector and a half
constexpr int kSharedRows[] = {14, 12}, kSharedTaps = 3;  // rows and taps of shared()
constexpr int kMaxDots = 4;  // output channels of a tile whose vectors are of input channels

// A run of n products: a[i][this->a + t * step_a] and b[this->b + t * step_b + vector], t < n.
struct ConvSegment {
  int64_t a, b, n;
};

// c[i][0, columns) = finish(sum over segments of a[i] * b), i < rows. a[i] is broadcast against vectors of b,
// all of which are readable.
//   forward: rows are output pixels, a[i] their first input value, b a panel of weights, segments the taps
//   to dx:   the same on dy and flipped weights
//   to dw:   rows are taps of the weights, a[i] their places in x, b is dy, segments are runs of pixels
//
// For dots() the lanes are input channels instead: a[i] and b are read in vectors, of b one for each of
// step_b columns, up to kMaxDots; the last of a segment counts n % lanes channels, and b is zero beyond them.
template <class T>
struct ConvTile {
  const T* a[kPairedRows];
  T* c[kPairedRows];
  const T* b;
  const ConvSegment* segments;
  int64_t count;
  int64_t step_a, step_b;
  int64_t row_step = 0;  // a[i + 1] = a[i] + row_step for even i; or 0: they may have any places
  int rows, columns;
  bool consecutive = false;                          // a[i] = a[0] + i
  bool without_first = false, without_last = false;  // shared(): the outermost inputs are padding
  bool accumulate = false;  // c += the sum; else c = activation(norm(the sum + bias))
  bool relu = false;
  bool stream = false;      // c is aligned to vectors, and is stored past the caches
  const T* bias = nullptr;  // `columns` elements, or null
  const T* norm = nullptr;  // m of columns elements, and norm_step further a, then b; or null: none
  int64_t norm_step = 0;
  // grouped(): lane i reads, for the channels of its group, a[pick[i]], a[pick[i] + 1] ...; a has `reach`
  // channels, and pick is of integers of T's size.
  const void* pick;
  int reach;
  const char* fetch = nullptr;  // prefetched meanwhile: what a later tile will read,
  int64_t fetch_step = 0;       // this many bytes for each product
  int64_t ahead = 0;            // dots(): prefetches this many elements after each vector
};

// The weights of one panel: up to `width` output channels o, for each tap t and input channel c.
//   panel[(t * channels + c) * width + o] = w[o * stride_o + c * stride_c + t], zero for o >= columns
// Where flipped, tap taps - 1 - t takes the place of t.
template <class T>
struct ConvPanel {
  const T* w;
  int64_t stride_o, stride_c;  // one of them is taps
  int64_t channels, taps;
  int columns, width;
  bool flipped;
  T* panel;
};

// The way back, for dw: w[o * stride_o + c * taps + t] = sum over partials, in order, of
// partial[p * stride_p + (t * channels + c) * width + o], for the elements [begin, end) of c * taps + t.
template <class T>
struct ConvPartials {
  const T* partial;
  int64_t partials, stride_p;
  int64_t channels, taps;
  int64_t begin, end;
  int columns, width;
  T* w;
  int64_t stride_o;
};

template <class T>
struct ConvKernels {
  int mr, lanes;         // the tile: rows, half its columns
  int narrow_rows;       // rows of a tile of one vector
  int consecutive_rows;  // rows of a tile of one vector, if they are consecutive
  int paired_rows;       // rows of a tile of a vector and a half
  int wide_rows;         // rows of a tile of three vectors; 0: the level has none
  int rows(int64_t columns) const {
    if (columns > lanes && 2 * columns <= 3 * lanes) return paired_rows;
    return columns > 2 * lanes ? wide_rows : columns > lanes ? mr : narrow_rows;
  }
  void (*tile)(ConvTile<T>&);  // may lengthen its lists of rows
  void (*stream_end)();        // to be called after tiles that stream
  int dot_rows[kMaxDots + 1];  // by step_b
  void (*dots)(const ConvTile<T>&);
  int grouped_rows;
  void (*grouped)(ConvTile<T>&);  // null where the level has no instruction for it
  // A tile of one vector and kSharedRows pixels, at a[0] + i * row_step, as far apart as taps (step_a):
  // an input serves all kSharedTaps of a segment that meet it. Null at levels of few registers.
  void (*shared)(const ConvTile<T>&);
  void (*pack_panel)(const ConvPanel<T>&);
  void (*combine)(const ConvPartials<T>&);
  // sum[j] += b[segment.b + t * step_b + j] over segments and t < n, j < columns; whole vectors readable
  void (*sum)(const ConvSegment* segments, int64_t count, const T* b, int64_t step_b, int columns, T* sum);
};

RANVIER_TABLES(ConvKernels, conv_kernels)

#if RANVIER_HAS_V4
namespace v4 {
void conv_pair_tile(ConvTile<float>& t);  // a tile of pairs of bfloat16: see medium/medium.h
extern void (*const conv_amx_tile[2])(ConvTile<float>& t);  // the same by AMX, and emulated
}  // namespace v4
#endif

template <class T>
static inline auto tile_of([[maybe_unused]] bool pairs) {
#if RANVIER_HAS_V4
  if constexpr (sizeof(T) == sizeof(float))
    if (pairs) return has_tiles() ? v4::conv_amx_tile[bfloat16() == Bfloat16::emulated] : &v4::conv_pair_tile;
#endif
  return conv_kernels<T>().tile;
}

}  // namespace ranvier
