// The kernels that an ISA level has for the direct sums of conv2d (ConvKernels), and their arguments: one
// micro-kernel, ConvTile, for the forward and both gradients, and functions that pack weights for it.
// direct.isa.cpp defines them for each level; direct.cpp, weight.cpp and winograd.cpp, which set the pointers
// of each tile, call them.
#pragma once
#include "base/isa.h"
#include "base/precision.h"
#include "base/tensor_view.h"

namespace ranvier {

constexpr int kMaxConvRows = 14;  // the most rows of a tile whose columns are whole vectors
constexpr int kPairedRows = 16;   // the most rows of a tile whose columns are a vector and a half
// shared(): the numbers of rows for which there is code, and how many taps of a row share the inputs.
constexpr int kSharedRows[] = {14, 12};
constexpr int kSharedTaps = 3;
constexpr int kMaxDots = 4;  // dots(): the most output channels of a tile, whose lanes are input channels

// A run of n products for row i: of a[i][this->a + t * step_a] and the vectors at b + this->b + t * step_b, t
// < n.
struct ConvSegment {
  int64_t a, b, n;
};

// A sum is divided into chains of whole segments, whose totals are added one after another: so its error
// grows with the length of a chain and with the number of chains. A chain ends with the segment with which it
// has kConvChain products or more. It decides bits, so it is the same at all levels.
constexpr int64_t kConvChain = 192;

// A tile: c[i][j] = finish(the sum over all segments of a[i] times b), for i < rows and j < columns. Elements
// of a[i] are broadcast, b is read as vectors of columns; whole vectors of b are readable.
//
//             rows i                  a[i] points to              b               segments
//   forward   output pixels           their first input, in x     panel of w      taps, channels within
//   dx        pixels of dx            their first input, in dy    flipped panel   taps, channels within
//   dw        taps and channels of w  their first input, in x     dy              runs of pixels
//
// For dots() lanes are input channels instead: a[i] is read as vectors, and b has one vector for each of
// step_b columns, at most kMaxDots. The last vector of a segment has n % lanes channels, and b is zero beyond
// them.
template <class T>
struct ConvTile {
  const T* a[kPairedRows];
  T* c[kPairedRows];
  const T* b;
  const ConvSegment* segments;
  int64_t count;
  int64_t chain = kConvChain;  // the least products of a chain that is not the last one
  int64_t step_a, step_b;
  int64_t row_step = 0;  // a[i + 1] = a[i] + row_step for even i; or 0: a[i] may be anywhere
  int rows, columns;
  bool consecutive = false;                          // true: a[i] = a[0] + i
  bool without_first = false, without_last = false;  // for shared(): the first, or last, input is padding
  bool accumulate = false;  // c += the sum; else c = activation(norm(the sum + bias))
  bool relu = false;
  bool stream = false;      // c is aligned to vectors, and is stored past the caches
  const T* bias = nullptr;  // `columns` elements, or null
  const T* norm = nullptr;  // m of `columns` elements; a is norm_step after it, b after a; or null: no norm
  int64_t norm_step = 0;
  // For grouped(): lane i reads a[pick[i]], a[pick[i] + 1], ... for the channels of its group. pick has
  // integers of the size of T; `reach` elements of a are readable.
  const void* pick;
  int reach;
  const char* fetch = nullptr;  // what is prefetched during the products, for a later tile:
  int64_t fetch_step = 0;       // this many bytes for each product
  int64_t ahead = 0;            // for dots(): prefetches this many elements after each vector
};

// Arguments of pack_panel(): the weights of one panel, up to `width` output channels o, for each tap t and
// input channel c.
//   panel[(t * channels + c) * width + o] = w[o * stride_o + c * stride_c + t], zero for o >= columns
// Where flipped, tap taps - 1 - t takes the place of t.
template <class T>
struct ConvPanel {
  const T* w;
  int64_t stride_o, stride_c;  // one of the two is `taps`
  int64_t channels, taps;
  int columns, width;
  bool flipped;
  T* panel;
};

// Arguments of combine(), the reverse for dw: w[o * stride_o + c * taps + t] = the sum over p < partials, in
// order, of partial[p * stride_p + (t * channels + c) * width + o], for c * taps + t in [begin, end).
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
  int mr;                            // the most rows of a tile of two vectors
  int lanes;                         // elements of a vector
  int narrow_rows;                   // the most rows of a tile of one vector
  int consecutive_rows;              // the same if the rows are consecutive
  int paired_rows;                   // the most rows of a tile of a vector and a half
  int wide_rows;                     // the most rows of a tile of three vectors; 0: there are none
  int rows(int64_t columns) const {  // the most rows of a tile with this many columns
    if (columns > lanes && 2 * columns <= 3 * lanes) return paired_rows;
    if (columns > 2 * lanes) return wide_rows;
    return columns > lanes ? mr : narrow_rows;
  }
  void (*tile)(ConvTile<T>&);  // may fill a and c beyond `rows`, up to the next number that has code
  void (*stream_end)();        // to be called after tiles that stream
  int dot_rows[kMaxDots + 1];  // the most rows of a tile for dots(), by step_b
  void (*dots)(const ConvTile<T>&);
  int grouped_rows;               // the most rows of a tile for grouped()
  void (*grouped)(ConvTile<T>&);  // null if the level cannot permute lanes by `pick`
  // A tile of one vector and kSharedRows pixels. Pixel i is at a[0] + i * row_step, and taps are as far apart
  // (step_a = row_step), so an input serves all kSharedTaps of a segment that meet it. Null at levels with
  // few registers.
  void (*shared)(const ConvTile<T>&);
  void (*pack_panel)(const ConvPanel<T>&);
  void (*combine)(const ConvPartials<T>&);
  // sum[j] += b[segment.b + t * step_b + j] over all segments and t < n, for j < columns. Whole vectors of b
  // are readable.
  void (*sum)(const ConvSegment* segments, int64_t count, const T* b, int64_t step_b, int columns, T* sum);
};

RANVIER_TABLES(ConvKernels, conv_kernels)

#if RANVIER_HAS_v4
namespace v4 {
void conv_pair_tile(ConvTile<float>& t);  // a tile of pairs of bfloat16: see medium/medium.h
extern void (*const conv_amx_tile[2])(ConvTile<float>& t);  // the same by AMX, and emulated
}  // namespace v4
#endif

// The function that runs a tile; pairs: elements are pairs of bfloat16 (medium/).
template <class T>
static inline auto tile_of([[maybe_unused]] bool pairs) {
#if RANVIER_HAS_v4
  if constexpr (sizeof(T) == sizeof(float)) {
    const bool emulated = bfloat16() == Bfloat16::emulated;
    if (pairs) return has_tiles() ? v4::conv_amx_tile[emulated] : &v4::conv_pair_tile;
  }
#endif
  return conv_kernels<T>().tile;
}

}  // namespace ranvier
