// The kernels that an ISA level has for depthwise convolutions. Channels are independent: a vector holds
// those of one pixel, and a tile some pixels of one output row, one vector of channels after another.
#pragma once
#include "base/isa.h"
#include "base/tensor_view.h"

namespace ranvier {

constexpr int kDepthwisePixels = 8;  // outputs of a tile: with the taps of a row they fit 16 registers

// One tap along w of a pass: output t of the pass reads column input + t * in_step, which is inside the image
// for begin <= t < end.
struct DepthwiseTap {
  int64_t tap, input, begin, end;
};

// Outputs first, first + out_step, ... of a row, which use the same taps: forward all outputs of a row, in
// the gradient to the input one phase of the stride; or, where `slides`, all phases together.
struct DepthwisePass {
  const DepthwiseTap* taps;
  int64_t tap_count;
  int64_t first, count, out_step;
  int64_t inner_begin, inner_end;  // the outputs t whose taps are all inside
  bool slides;                     // taps follow each other in the weights and in the image
  int64_t phases;                  // together
  int64_t begin, column;           // the first output of the first tile, at most 0, and its column
};

// One tap along h: where its row of the image and its row of the weights begin.
struct DepthwiseRowTap {
  int64_t x, w;
};

// Block b holds the channels from min(b * lanes, channels - lanes) on: a last block with fewer overlaps the
// one before it.
template <class T>
struct DepthwiseRow {
  const DepthwisePass* pass;
  const DepthwiseRowTap* rows;
  int64_t row_count;
  const T* x;                         // the image
  int64_t width, x_stride, y_stride;  // the width of x; the distance of columns in x and y
  int64_t in_step;
  int64_t channels, first_block, last_block;
  const T* y_next;     // or null
  const T* x_next[2];  // what the next row will be the first to use, to be prefetched: y_next if not null,
  int new_rows;        // and this many of x_next, if any
  int64_t panel;       // taps * lanes: from one block's weights, [tap][lanes], to the next
};

// y = activation(norm(sum over taps of x * w + bias))
template <class T>
struct DepthwiseForwardRow : DepthwiseRow<T> {
  const T *w, *bias;        // bias: of whole blocks
  const T* norm = nullptr;  // or null: see ConvTile
  int64_t norm_step = 0;
  T* y;
  bool relu;
  bool stream;  // y is aligned to vectors, and is stored past the caches
};

// dw += sum over the row's pixels of x * dy, db += sum of dy (or db null); both of whole blocks. In groups of
// several channels each output meets `inputs` of them: those of block b are in the vector of x from channel
// x_first[b] on, those of its lane i from lane pick[b * lanes + i] of that vector on. Without groups, pick is
// null: output i meets channel i of x.
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
  int64_t both_phases;  // 3, 5 ... up to this many taps slide over both phases of stride 2; or 0
  bool streams;         // can store past the caches
  void (*forward)(const DepthwiseForwardRow<T>&);
  void (*weight)(const DepthwiseWeightRow<T>&);
  bool picks;  // weight() may have a pick
};

RANVIER_TABLES(DepthwiseKernels, depthwise_kernels)

}  // namespace ranvier
