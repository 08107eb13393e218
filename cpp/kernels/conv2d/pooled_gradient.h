// What the gradients of conv2d_pool ask of an ISA level: lists of the gradients that are not zero, and sums
// over such lists. Both gradients are the same sums:
//
//   to the weight: a list for each output channel; c is dw of that channel, b the input, a patch of which
//                  each entry of the list meets
//   to the input:  a list for each pooled pixel and offset in its window; c is the patch of dx that this
//                  offset's outputs came from, b the weights, a filter of which each entry meets
#pragma once
#include "base/isa.h"
#include "base/tensor_view.h"

namespace ranvier {

constexpr int kPooledRows = 3, kPooledVectors = 8;  // of a tile, at most

// Lists one after another or apart: list i is of the entries [begin[i], end[i]) of value and index.
struct PooledLists {
  float* value;    // the gradient
  int32_t* index;  // of what it is to be multiplied with
  int32_t *begin, *end;
  int32_t* place;  // of its sum
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

// Pooled pixels: the gradient of pixel p and channel k is dy[dy_at[p] + k * dy_k], its offset lies likewise.
struct PooledPixels {
  const float* dy;
  const uint8_t* where;
  const int64_t *dy_at, *where_at;
  int64_t dy_k, where_k;
  const int32_t* corner;  // of pixel p: the index of its window's first element
  int64_t pixels;
  int channels;
  int window_columns, window_elements;  // offsets beyond are ignored
  int row_step, column_step;            // of an index, for a row and a column of the window
};

// dx of a row of pixels: of pixel p and channel c, sum[p * sum_w + c], or 0 unless saved, which may be null,
// is positive at p * saved_w + c * saved_c.
struct PooledGradientRow {
  const float* sum;
  const float* saved;
  float* dx;
  int64_t sum_w, saved_w, saved_c, dx_w;
  int64_t pixels, channels;
};

// list_by_channel: entries are appended to the list of their channel, of which end[k] is the length so far;
// there must be room for a vector more. sums[k * lanes + lane], or null, gets sums of all gradients.
// list_by_offset: for each pixel and offset that has any, the channels [first, channels), which become the
// index; returns the number of lists and begins to fill at `end` entries. dy_k is 1.
struct PooledGradientKernels {
  int lanes;
  int tile;  // vectors in rows together, at most
  void (*sum)(const PooledSums&);
  void (*list_by_channel)(const PooledPixels&, const PooledLists&, float* sums);
  int64_t (*list_by_offset)(const PooledPixels&, int first, const PooledLists&, int64_t* entries);
  // to[i] += the sum over p in [1, partials) of to[p * stride + i], i < n
  void (*combine)(float* to, int64_t partials, int64_t stride, int64_t n);
  void (*finish)(const PooledGradientRow&);
};

#define RANVIER_X(level)                                      \
  namespace level {                                           \
  extern const PooledGradientKernels pooled_gradient_kernels; \
  }
RANVIER_FOR_EACH_LEVEL(RANVIER_X)
#undef RANVIER_X

}  // namespace ranvier
