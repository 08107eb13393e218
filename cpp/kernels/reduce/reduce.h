// reduce: y = op over some axes of x
//
//   x may have any strides. x and y may be stored in 16 bits if there is no center and no root. y, center and
//   rest have as many dimensions as x, with size 1 and stride 0 along the reduced axes. y is written only. A
//   reduction of no elements gives the identity of the op (sum 0, product 1, max -inf ...).
//
//   sum      sum of x                        squares  sum of (x - center)^2
//   max, min the extreme; NaN if any x is    equals   the number of x that equal center; NaN equals NaN
//   product  product of x                    absolute sum of |x|
//   exps     sum of exp(x - center), where an infinite center counts as 0
//   numbers  sum of the x that are not NaN
//   then y = total / divisor, and its square root if root is set
//
// If a total of squares overflows, or is so small that its terms lost bits, the squares are summed again in a
// wider type. center is the mean of x rounded to T. `rest` is the mean of x - center, what the rounding has
// lost; n rest^2 is subtracted from the total, which corrects it to the exact mean.
//
// Order of summation: chunks of at most kReduceChunk elements are summed, and their sums are added in pairs,
// as in NumPy's pairwise summation, so that the error grows with the logarithm of the length. In a chunk,
// contiguous memory is summed in 4 vectors of partial sums, and columns row after row (columns()), in blocks
// of rows that are joined in pairs, too. Lines of at most kReduceTransposed elements are summed element by
// element. A long reduction is cut into at most kReduceSegments segments, so that several threads can share
// it. The order depends on the elements of one result and on its neighbours in memory (columns), but not on
// other rows: a row has the same total beside any number of rows.
#pragma once
#include <cstddef>
#include <type_traits>

#include "base/isa.h"
#include "base/views.h"

namespace ranvier {

// squares and deviations are the same sum of (x - center)^2; for variances, deviations of floats are added up
// in double.
enum class ReduceOp { sum, max, min, squares, equals, product, absolute, exps, deviations, numbers, count };

// Contiguous elements of a chunk: long enough that the 50 cycles or so of joining two chunks do not matter.
constexpr int64_t kReduceChunk = 4096;
constexpr int64_t kReduceBlock = 1 << 14;  // the most elements of one call of a loop along memory
constexpr int64_t kReduceRows = 32;        // rows of a block in which columns are reduced
constexpr int64_t kReducePanel = 512;      // columns of such a block
constexpr int64_t kReduceFew = 1 << 13;    // elements of a block of all rows, if they are at most kReduceRows
constexpr int64_t kReduceNarrow = 64;    // up to so many columns, dense rows are summed as one run of memory
constexpr int64_t kReduceSegments = 16;  // the most segments of a long reduction
// Lines of up to so many elements are transposed, and reduced as the columns of a tile. Longer lines are
// faster one by one.
constexpr int64_t kReduceTransposed = 32;
constexpr int64_t kReduceShort = 48;   // the same limit for arg_reduce
constexpr int64_t kReduceLanes = 16;   // the most lanes of a vector
constexpr int kReduceTogether = 8;     // lines that ReduceKernels::beside takes at once
constexpr int64_t kReduceRun = 64;     // shorter runs of contiguous elements are collected in a buffer first
constexpr int64_t kArgRows = 1 << 16;  // the most rows of a call of ReduceKernels::arg

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

// y = the index of the first maximum (or minimum) along one axis; the first NaN, if there is one. y is shaped
// as in Reduce. The axis is not empty.
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

// The loops over elements as they are stored: E is T, or uint16_t for the bits of float16 or bfloat16
// ("halves"). Each is an array indexed by the op; `center` is the op's center, where it has one.
template <class T, class E>
struct ReduceLoops {
  // Returns the op over `count` runs of n contiguous elements; the runs are `stride` apart, and count is at
  // least 1.
  T(*runs[static_cast<int>(ReduceOp::count)])
  (const E* x, int64_t n, int64_t count, int64_t stride, T center);
  // y[i] = op over line i, of `count` lines that are `stride` apart, with n contiguous elements, 0 < n <=
  // kReduceBlock.
  void (*lines[static_cast<int>(ReduceOp::count)])(const E* x, int64_t n, int64_t count, int64_t stride,
                                                   const T* center, int64_t center_step, T* y);
  // y[j] = op over rows i of x[i * stride + j], for j < width, with center[j].
  void (*columns[static_cast<int>(ReduceOp::count)])(const E* x, int64_t stride, int64_t rows, int64_t width,
                                                     const T* center, T* y);
};

template <class T>
struct ReduceKernels : ReduceLoops<T, T> {
  // The loops over float16 and over bfloat16. Where one is null, blocks are converted to floats first.
  // `columns` takes more than kReduceNarrow columns.
  ReduceLoops<T, uint16_t> halves[2];
  // y[i] = runs(x + i * line, n, count, stride, center[i * center_step]) for i < lines. At most
  // kReduceTogether lines, kReduceRun <= n <= kReduceChunk, count * n <= kReduceBlock. Null for ops that are
  // rarely used, to keep the code small.
  void (*beside[static_cast<int>(ReduceOp::count)])(const T* x, int64_t n, int64_t count, int64_t stride,
                                                    int lines, int64_t line, const T* center,
                                                    int64_t center_step, T* y);
  // a[j] = the total of the two totals a[j] and b[j], for j < n
  void (*join[static_cast<int>(ReduceOp::count)])(int64_t n, T* a, const T* b);
  // The index of the greatest (`maximum`) or least of 1 to kReduceChunk contiguous elements: the first of
  // equal ones; the first NaN, if there is one.
  int64_t (*arg_line)(const T* x, int64_t n, bool maximum);
  // arg[maximum]: the same for each of `width` columns of 1 to kArgRows rows: the value and its row. Writes
  // whole vectors.
  void (*arg[2])(const T* x, int64_t stride, int rows, int64_t width, T* best, ArgIndex<T>* where);
  // tile[k * lanes + i] = element k of line i, for i < count <= lanes and k < n <= kReduceShort; 0 in the
  // other lanes. tile has room for kReduceShort rows, rounded up to a multiple of lanes.
  int lanes;
  void (*transpose_lines)(T* tile, const T* x, int64_t line, int count, int64_t n);
};

RANVIER_TABLES(ReduceKernels, reduce_kernels)

}  // namespace ranvier
