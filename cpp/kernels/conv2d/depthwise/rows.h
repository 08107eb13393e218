// The kernels that an ISA level has for depthwise convolutions (depthwise.h): they compute one pass over an
// output row. A vector holds channels of one pixel. A tile is kDepthwisePixels pixels of the row by one
// vector.
#pragma once
#include "base/isa.h"
#include "base/tensor_view.h"

namespace ranvier {

constexpr int kDepthwisePixels = 8;  // outputs of a tile: with the taps of a row they fit 16 registers

// Tap `tap` along w: output t of a pass reads column input + t * in_step of x, which is inside the image for
// begin <= t < end.
struct DepthwiseTap {
  int64_t tap, input, begin, end;
};

// The outputs first + t * out_step of a row, t < count, which use the same taps: in the forward all outputs
// of the row, in the gradient to the input one phase of the stride, or with phases = 2 both phases of
// stride 2.
struct DepthwisePass {
  const DepthwiseTap* taps;
  int64_t tap_count;
  int64_t first, count, out_step;
  int64_t inner_begin, inner_end;  // the range of outputs t whose taps are all inside the image
  bool slides;                     // true if the taps are neighbours, both in the weights and in the image
  int64_t phases;                  // how many phases the pass computes
  int64_t begin, column;           // t of the first tile, at most 0, and the column of x of its first tap
};

// One tap along h: where its row of the image and its row of the weights begin, in elements.
struct DepthwiseRowTap {
  int64_t x, w;
};

// A row of outputs. Block b holds the channels from min(b * lanes, channels - lanes) on: a last block with
// fewer channels overlaps the one before it.
template <class T>
struct DepthwiseRow {
  const DepthwisePass* pass;
  const DepthwiseRowTap* rows;  // the taps along h that are inside the image, row_count of them
  int64_t row_count;
  const T* x;                                 // the image
  int64_t width;                              // of x
  int64_t x_stride, y_stride;                 // the distance of columns in x, and in y (or dy)
  int64_t in_step;                            // see DepthwiseTap
  int64_t channels, first_block, last_block;  // the blocks [first_block, last_block) are computed
  const T* y_next;     // what is prefetched for the next row: this row of y, if not null,
  const T* x_next[2];  // and new_rows of these rows of x
  int new_rows;
  int64_t panel;  // elements of the weights of a block, [tap][lanes]
};

// y = activation(norm(sum over taps of x * w + bias))
template <class T>
struct DepthwiseForwardRow : DepthwiseRow<T> {
  const T *w, *bias;        // [block][tap][lanes], [block][lanes]
  const T* norm = nullptr;  // or null: see ConvTile (direct/tile.h)
  int64_t norm_step = 0;
  T* y;
  bool relu;
  bool stream;  // y is aligned to vectors, and is stored past the caches
};

// dw += the sum over the pixels of the row of x * dy; db += the sum of dy, or db is null. Both have whole
// blocks. If pick is null, output i is multiplied by channel i of x. Else groups have several channels, and
// each output is multiplied by the `inputs` channels of its group: for lane i of block b these are in the
// vector of x from channel x_first[b] on, from lane pick[b * lanes + i] on.
template <class T>
struct DepthwiseWeightRow : DepthwiseRow<T> {
  const T* dy;
  T *dw, *db;  // dw: [tap][input][lanes] of a block
  int64_t inputs;
  const int64_t* x_first;
  const void* pick;  // integers of T's size
};

template <class T>
struct DepthwiseKernels {
  int64_t both_phases;  // `forward` computes both phases of stride 2 for 3, 5 ... up to this many taps; or 0
  bool streams;         // true if `forward` can store past the caches
  void (*forward)(const DepthwiseForwardRow<T>&);
  void (*weight)(const DepthwiseWeightRow<T>&);
  bool picks;  // true if `weight` supports a pick that is not null
};

RANVIER_TABLES(DepthwiseKernels, depthwise_kernels)

}  // namespace ranvier
