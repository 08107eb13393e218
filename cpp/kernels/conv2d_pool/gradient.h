// The kernels that an ISA level has for the gradients of conv2d_pool, and their arguments. After a max-pool,
// each window passes its gradient to one of its elements; the number of this element in the window, row by
// row, is the offset. After a ReLU it passes none if the maximum was below 0. So the gradients that are not
// zero are listed, and sums run over these lists (PooledSums):
//
//   dw:  a list for each output channel; c is dw of this channel, b the input. Each entry adds its gradient
//        times a patch of the input.
//   dx:  a list for each pooled pixel and offset; c is the patch of dx from which the outputs at this offset
//        were computed, b the weights. Each entry adds its gradient times the filter of an output channel.
#pragma once
#include "base/isa.h"
#include "base/tensor_view.h"

namespace ranvier {

constexpr int kPooledRows = 3, kPooledVectors = 8;  // the largest tile
constexpr int kPooledBits = 32;                     // bits of a mask, one for each output channel

// Lists: list i has the entries [begin[i], end[i]) of value and index.
struct PooledLists {
  float* value;    // of an entry: the gradient
  int32_t* index;  // of an entry: the index in b of what the gradient is multiplied by
  int32_t *begin, *end;
  int32_t* place;  // of a list: the index in c of the sum
};

// For each list i < count, row < rows and column of the tile:
//   c[place[i] * c_step + row * c_row + column] +=
//       sum over entries e of value[e] * b[index[e] * b_step + row * b_row + column]
// A row is `vectors` vectors. Of the last vector `last` lanes are stored; whole vectors of b are readable.
struct PooledSums {
  PooledLists lists;
  int64_t count;
  float* c;
  int64_t c_step, c_row;
  const float* b;
  int64_t b_step, b_row;
  int rows, vectors, last;
};

// Pooled pixels: the gradient of pixel p and channel k is dy[dy_at[p] + k * dy_k], and its offset is
// where[where_at[p] + k].
struct PooledPixels {
  const float* dy;
  const uint8_t* where;
  const int64_t *dy_at, *where_at;
  int64_t dy_k;
  const int32_t* corner;  // for pixel p the index, in the input, of the first element of its window
  int64_t pixels;
  int channels;
  int window_columns, window_elements;  // offsets of window_elements or more are ignored
  int row_step, column_step;            // what a row, and a column, of the window add to an index
};

// Sets dx of a row of pixels: dx[p * dx_w + c] = sum[p * sum_w + c], or 0 if saved[p * saved_w + c * saved_c]
// <= 0. saved may be null.
struct PooledGradientRow {
  const float* sum;
  const float* saved;
  float* dx;
  int64_t sum_w, saved_w, saved_c, dx_w;
  int64_t pixels, channels;
};

// Sums for dw without lists, for windows of at most four elements. A quad is the four inputs that the
// elements of a window meet: quads[4 i + e] is the input for element e of the window that begins at position
// i. For each tap t and output channel k:
//   sum[t][k] += the sum over pooled pixels of dy[k] * the element of the quad at tap[t] that the offset
//   names
// k runs over `vectors` vectors, of the last of which `last` lanes are used. The sum of dy is added to
// bias[k], if bias is not null.
constexpr int kMostQuadTaps = 12;
struct PooledQuads {
  const float* dy;
  const uint8_t* where;
  const float* quads;
  int64_t dy_row, dy_column, where_row, where_column, quads_row, quads_column;
  int64_t rows, columns;
  int elements;  // of a window; offsets of this or more are ignored
  int taps, vectors, last;
  int64_t tap[kMostQuadTaps];  // from the first quad of a pooled pixel to the quad of a tap and input channel
  float* sum[kMostQuadTaps];
  float* bias;
};

// Sums for dx without lists. For each pooled pixel of rows x columns and each offset (i, j) of its window,
// masks[pixel][offset] has the bits of the output channels k whose gradient is there. For these k, dy[k] *
// filters[k][r][s][lane] is added to dx[i + r][j + s][lane], counted from the first pixel of dx that the
// window read.
struct PooledPatches {
  const uint32_t* masks;
  const float* dy;
  int64_t dy_row, dy_column;
  const float* filters;
  int64_t filter;  // elements of a filter
  float* dx;
  int64_t dx_row;
  int64_t rows, columns;
};
using AddPatches = void (*)(const PooledPatches&);

// list_by_channel: appends each gradient that is not zero to the list of its channel k, at end[k], which it
//   moves on. There must be space for a vector more. Adds all gradients to sums[k * lanes + lane] (any
//   lane), if not null.
// mask_offsets: sets in masks[p * window_elements + offset] the bits k - first of the channels k in
//   [first, channels), at most kPooledBits of them, whose gradient of pixel p is there. It needs dy_k = 1.
// list_by_offset: makes a list for each pixel and offset that has any channels k in [first, channels); the
//   index of an entry is k. It begins to fill at entry *entries, which it moves on, and returns the number
//   of lists. masks: those of kPooledBits channels from `first` on, then those of the next kPooledBits. It
//   needs dy_k = 1.
struct PooledGradientKernels {
  int lanes;
  int tile;  // the most rows * vectors of a tile of `sum`
  void (*sum)(const PooledSums&);
  void (*list_by_channel)(const PooledPixels&, const PooledLists&, float* sums);
  int64_t (*list_by_offset)(const PooledPixels&, int first, const uint32_t* masks, const PooledLists&,
                            int64_t* entries);
  int quad_taps, quad_vectors;  // the most taps and vectors of sum_quads()
  // quads[4 i + e] = plane[i + at[e]], i < n; whole vectors are read and written
  void (*make_quads)(const float* plane, const int64_t (&at)[4], int64_t n, float* quads);
  void (*sum_quads)(PooledQuads&);  // may lengthen the lists `tap` and `sum`
  void (*mask_offsets)(const PooledPixels&, int first, uint32_t* masks);
  // The function for filters and windows of these sizes; null where there is none.
  AddPatches (*find_patches)(int64_t taps_r, int64_t taps_s, int64_t window_r, int64_t window_s);
  // to[i] += the sum over p in [1, partials) of to[p * stride + i], i < n
  void (*combine)(float* to, int64_t partials, int64_t stride, int64_t n);
  void (*finish)(const PooledGradientRow&);
};

RANVIER_TABLE(PooledGradientKernels, pooled_gradient_kernels)

}  // namespace ranvier
