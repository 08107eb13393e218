// reduce: y = op over some axes of x
//
//   x of any strides, it and y of floats of any width where there is no center and no root; y and center have
//   x's rank, with size 1 and stride 0 along the reduced axes. y is written only. An empty reduction gives
//   the op's identity (sum 0, max -inf).
//
//   sum      sum of x                        squares  sum of (x - center)^2
//   max, min the extreme, NaN if any is      equals   number of x that equal center, NaN too
//   product  product of x                    absolute sum of |x|
//   exps     sum of exp(x - center), where an infinite center counts as 0
//   then y = total / divisor, and its square root if root is set
//
// Squares that leave the range of float, or are rounded away below it, are summed again in a wider type where
// the result is in the range. `rest`, the mean of x - center, takes n rest^2 off the total: center is
// rounded.
//
// Order of summation: chunks of at most kReduceChunk elements (along contiguous memory: 4 vectors of partial
// sums; across rows: one after another, of up to
// kReduceNarrow dense columns a vector's lanes apart) whose sums are added in pairs, as NumPy's pairwise
// summation: the error grows with the logarithm of the length. Lines of at most kReduceTransposed elements
// are summed element by element. A long reduction is cut into at most kReduceSegments segments of fixed size,
// so that several threads can share it. The order depends on what one result is made of, and of the other
// axes only on those beside it in memory (columns): a row has the same total beside any number of rows.
#pragma once
#include <cstddef>
#include <type_traits>

#include "base/isa.h"
#include "base/views.h"

namespace ranvier {

enum class ReduceOp { sum, max, min, squares, equals, product, absolute, exps, count };

constexpr int64_t kReduceChunk = 4096;  // elements of contiguous memory: what joins them costs some 50 cycles
constexpr int64_t kReduceBlock = 1 << 14;  // the most elements of a call
constexpr int64_t kReduceRows = 32;        // rows of a block that is reduced across
constexpr int64_t kReduceNarrow = 64;      // columns of dense rows that are summed as one run of memory
constexpr int64_t kReducePanel = 512;      // columns of such a block
constexpr int64_t kReduceFew = 1 << 13;    // elements of a wider panel, where few rows are reduced
constexpr int64_t kReduceSegments = 16;
// Lines up to this are transposed, and reduced as the columns of a tile: longer ones take less time one by
// one.
constexpr int64_t kReduceTransposed = 32;
constexpr int64_t kReduceShort = 48;   // the same where places are searched
constexpr int64_t kReduceLanes = 16;   // the most lanes of a tile
constexpr int kReduceTogether = 8;     // lines of several runs each that are read in the order of memory
constexpr int64_t kReduceRun = 64;     // elements of such a run, at least: shorter ones are collected first
constexpr int64_t kArgRows = 1 << 16;  // rows of a column that are searched at once

template <class T>
struct Reduce {
  RANVIER_CALL("reduce", x, center, rest, y);
  size_t workspace_bytes(int threads) const;
  ReduceOp op;
  double divisor;
  bool root;
  bool reduced[kMaxDims];  // which axes of x
  TensorView<const T> x;
  TensorView<const T> center, rest;  // or data null
  TensorView<T> y;
};

// y = index of the first maximum (or minimum, or NaN) along one axis; y as above. The axis is not empty.
template <class T>
struct ArgReduce {
  RANVIER_CALL("arg_reduce", x, y);
  size_t workspace_bytes(int threads) const;
  bool maximum;
  int axis;
  TensorView<const T> x;
  TensorView<int64_t> y;
};

template <class T>
using ArgIndex = std::conditional_t<sizeof(T) == 4, int32_t, int64_t>;

// Loops over elements as they are stored: E is T, or the 16 bits of halves.
template <class T, class E>
struct ReduceLoops {
  // The op over `count` runs of n elements, `stride` apart; at least one run.
  T(*runs[static_cast<int>(ReduceOp::count)])
  (const E* x, int64_t n, int64_t count, int64_t stride, T center);
  // y[i] = op over line i of n elements, 0 < n <= kReduceBlock, of `count` lines that are `stride` apart.
  void (*lines[static_cast<int>(ReduceOp::count)])(const E* x, int64_t n, int64_t count, int64_t stride,
                                                   const T* center, int64_t center_step, T* y);
  // y[j] = op over rows i of x[i * stride + j], for j < width; center[j] where the op has one.
  void (*columns[static_cast<int>(ReduceOp::count)])(const E* x, int64_t stride, int64_t rows, int64_t width,
                                                     const T* center, T* y);
};

template <class T>
struct ReduceKernels : ReduceLoops<T, T> {
  // The loops over float16 and bfloat16; null where blocks are made floats first. Columns: more than
  // kReduceNarrow.
  ReduceLoops<T, uint16_t> halves[2];
  // y[i] = what `runs` gives of x + i * line, for i < lines <= kReduceTogether, kReduceRun <= n <=
  // kReduceChunk and count * n <= kReduceBlock; null where small code matters more.
  void (*beside[static_cast<int>(ReduceOp::count)])(const T* x, int64_t n, int64_t count, int64_t stride,
                                                    int lines, int64_t line, const T* center,
                                                    int64_t center_step, T* y);
  // a[j] = what joins two totals of the op
  void (*join[static_cast<int>(ReduceOp::count)])(int64_t n, T* a, const T* b);
  // The place of the greatest, or else the least, of a line of 1 to kReduceChunk elements: the first of equal
  // ones, the first NaN before all.
  int64_t (*arg_line)(const T* x, int64_t n, bool maximum);
  // The same of each of `width` columns of 1 to kArgRows rows. Writes whole vectors.
  void (*arg[2])(const T* x, int64_t stride, int rows, int64_t width, T* best, ArgIndex<T>* where);
  // Element k of `count` lines, count <= lanes, at tile[k * lanes ...], for k < n <= kReduceShort; the other
  // lanes are 0. tile holds kReduceShort rounded up to lanes.
  int lanes;
  void (*transpose_lines)(T* tile, const T* x, int64_t line, int count, int64_t n);
};

RANVIER_TABLES(ReduceKernels, reduce_kernels)

}  // namespace ranvier
