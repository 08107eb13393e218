// The kernels that an ISA level has for the gradients of conv2d_pool. After a max-pool each window passes its
// gradient to one of its elements, whose place in the window is its offset, and after a ReLU to none if it
// was below 0. So the gradients that are not zero are listed, and sums run over lists. Both gradients are
// such sums:
//
//   to the weight: a list for each output channel; c is dw of that channel, b the input, a patch of which
//                  each entry of the list meets
//   to the input:  a list for each pooled pixel and offset in its window; c is the patch of dx that this
//                  offset's outputs came from, b the weights, a filter of which each entry meets
#pragma once
#include "base/isa.h"
#include "base/tensor_view.h"

namespace ranvier {

constexpr int kPooledRows = 3, kPooledVectors = 8;  // the largest tile
constexpr int kPooledBits = 32;                     // bits of a mask: output channels

// Lists: list i has the entries [begin[i], end[i]) of value and index.
struct PooledLists {
  float* value;    // the gradient
  int32_t* index;  // the index of what it is multiplied with
  int32_t *begin, *end;
  int32_t* place;  // the place of its sum
};

// For each list i < count, row < rows and column of the tile:
//   c[place[i] * c_step + row * c_row + column] +=
//       sum over entries e of value[e] * b[index[e] * b_step + row * b_row + column]
// A row is `vectors` vectors, of the last of which `last` lanes are stored; all of b's are readable.
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
  const int32_t* corner;  // for pixel p the index of its window's first element
  int64_t pixels;
  int channels;
  int window_columns, window_elements;  // offsets beyond are ignored
  int row_step, column_step;            // what a row and a column of the window add to an index
};

// dx of a row of pixels: of pixel p and channel c, sum[p * sum_w + c], or 0 where saved, which may be null,
// is not above 0 at p * saved_w + c * saved_c; a NaN there changes nothing.
struct PooledGradientRow {
  const float* sum;
  const float* saved;
  float* dx;
  int64_t sum_w, saved_w, saved_c, dx_w;
  int64_t pixels, channels;
};

// Sums for windows of at most four elements, without lists: quads[4 i + e] is element e of the window that
// begins at position i of the input. For each tap t and output channel k:
//   sum[t][k] += sum over pooled pixels of dy[k] * the element, named by the pixel's offset, of the quad at
//   tap[t]
// k runs over `vectors` vectors, of the last of which `last` lanes are used. bias[k], or null, gets the sum
// of dy.
constexpr int kMostQuadTaps = 12;
struct PooledQuads {
  const float* dy;
  const uint8_t* where;
  const float* quads;
  int64_t dy_row, dy_column, where_row, where_column, quads_row, quads_column;
  int64_t rows, columns;
  int elements;  // elements of a window: offsets beyond are ignored
  int taps, vectors, last;
  int64_t tap[kMostQuadTaps];
  float* sum[kMostQuadTaps];
  float* bias;
};

// For each pooled pixel of rows x columns and each offset of its window, masks[pixel][offset] has the bits of
// the output channels k whose gradient is there, and dx[y][x][lane] of the patch gets the sum of dy[k]
// * filters[k][r][s][lane]; the patch of offset (i, j) begins at row i and column j of the pixel's.
struct PooledPatches {
  const uint32_t* masks;
  const float* dy;
  int64_t dy_row, dy_column;
  const float* filters;
  int64_t filter;  // elements
  float* dx;
  int64_t dx_row;
  int64_t rows, columns;
};
using AddPatches = void (*)(const PooledPatches&);

// list_by_channel: entries are appended to the list of their channel, of which end[k] is the length so far;
// there must be space for a vector more. sums[k * lanes + lane], or null, gets sums of all gradients.
// mask_offsets: masks[p * window_elements + offset] has the bits k - first of the channels k in [first,
// channels), at most kPooledBits. dy_k is 1.
// list_by_offset: for each pixel and offset that has any, the channels [first, channels), which become the
// index; returns the number of lists and begins to fill at `end` entries. `masks` are those of kPooledBits
// channels from `first` on, then those of the next. dy_k is 1.
struct PooledGradientKernels {
  int lanes;
  int tile;  // vectors in rows together, at most
  void (*sum)(const PooledSums&);
  void (*list_by_channel)(const PooledPixels&, const PooledLists&, float* sums);
  int64_t (*list_by_offset)(const PooledPixels&, int first, const uint32_t* masks, const PooledLists&,
                            int64_t* entries);
  int quad_taps, quad_vectors;
  // quads[4 i + e] = plane[i + at[e]], i < n; whole vectors are read and written
  void (*make_quads)(const float* plane, const int64_t (&at)[4], int64_t n, float* quads);
  void (*sum_quads)(PooledQuads&);  // may lengthen its lists of taps
  void (*mask_offsets)(const PooledPixels&, int first, uint32_t* masks);
  // For filters and windows of that size; null where there is none.
  AddPatches (*find_patches)(int64_t taps_r, int64_t taps_s, int64_t window_r, int64_t window_s);
  // to[i] += the sum over p in [1, partials) of to[p * stride + i], i < n
  void (*combine)(float* to, int64_t partials, int64_t stride, int64_t n);
  void (*finish)(const PooledGradientRow&);
};

RANVIER_TABLE(PooledGradientKernels, pooled_gradient_kernels)

}  // namespace ranvier
