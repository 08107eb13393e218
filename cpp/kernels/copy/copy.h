// copy: y = x, from any memory order to any other; also joins of rows, fills, triangles of matrices, and
// casts
//
//   x and y have the same shape. x may have any strides (0 repeats an element). The elements of y overlap
//   neither each other nor x. Where x is contiguous along another dimension than y, as between C order and
//   channels-last, squares of elements are transposed in registers.
//
// `finishes` (program/call_type.h): an interrupt never ends these calls early.
#pragma once
#include <array>  // std::size: <iterator> brings all of the streams
#include <cstddef>

#include "base/half.h"
#include "base/isa.h"
#include "base/tensor_view.h"
#include "base/views.h"

namespace ranvier {

template <class T>  // float, double; BFloat16 for all dtypes of two bytes, uint8_t for those of one
struct Copy {
  RANVIER_CALL("copy", x, y);
  static constexpr bool finishes = true;
  TensorView<const T> x;
  TensorView<T> y;
};

// join_rows: row i of y consists of row i of x[0], row i of x[1], and so on (a concatenation of matrices
// along their rows). Rows are contiguous. One call is faster than a copy for each x: the short rows of all x
// go to cache lines of y that are still in the cache.
constexpr int kJoined = 4;  // the most matrices of one call

template <class T>
struct JoinRows {
  RANVIER_CALL("join_rows", x, y);
  static constexpr bool finishes = true;
  TensorView<const T> x[kJoined];  // (rows, any number of columns); data is null behind the last one
  TensorView<T> y;
};

template <class T>
struct CopyKernels {
  int lanes;
  // y[i * stride_y + j] = x[j * stride_x + i] for i < rows (at most lanes) and j < n.
  void (*transpose_strip)(int rows, int64_t n, const T* x, int64_t stride_x, T* y, int64_t stride_y);
  // join_planes: n pixels of three planes, which are `stride` elements apart, become n pixels of three
  // channels each: y[3 i + channel] = x[channel * stride + i]. part_planes is the inverse.
  void (*join_planes)(int64_t n, const T* x, int64_t stride, T* y);
  void (*part_planes)(int64_t n, const T* x, T* y, int64_t stride);
  // Copies `rows` contiguous rows of n elements.
  void (*copy_rows)(int64_t rows, int64_t n, const T* x, int64_t stride_x, T* y, int64_t stride_y);
  // y[i] = x[-i] for i < n
  void (*reverse)(int64_t n, const T* x, T* y);
  // y[r * n + i] = x[r * stride] for r < rows, i < n. Up to one vector behind the end of y is overwritten.
  void (*repeat_each)(int64_t rows, int64_t n, const T* x, int64_t stride, T* y);
};

RANVIER_TABLES(CopyKernels, copy_kernels)

// fill: sets every element of y to one number; y may have any strides

template <class T>  // float, double, int64_t, int32_t, bool, Float16 or BFloat16
struct Fill {
  RANVIER_CALL("fill", y);
  static constexpr bool finishes = true;
  T value;
  TensorView<T> y;
};

// triangle: the elements of matrices on one side of a diagonal, 0 elsewhere
//
//   y[.., i, j] = x[.., i, j] where j - i <= diagonal (upper: j - i >= diagonal), else 0. Any strides in x; y
//   is in C order.

template <class T>  // T as in Copy
struct Triangle {
  RANVIER_CALL("triangle", x, y);
  static constexpr bool finishes = true;
  bool upper;
  int64_t diagonal;
  TensorView<const T> x;
  TensorView<T> y;
};

// y[i] = first + i step. These are no kernel calls, since in a compiled step the result is a constant.
void progression(double first, double step, int64_t n, float* y);
void progression(double first, double step, int64_t n, double* y);
void progression(int64_t first, int64_t step, int64_t n, int64_t* y);

// cast: y = x in another dtype, converted element by element as C does. To int64, floats lose their fraction;
// to bool, everything except 0 becomes true.
//
//   x and y have the same shape and any strides. `from` is the dtype of x, and From any unsigned type of the
//   size of an element.

// The loops over contiguous arrays: dense[i][j] casts kCastFrom[i] to kCastTo[j], or is null.
constexpr DType kCastFrom[] = {DType::float32, DType::float64, DType::int64, DType::uint8 /* or bool */,
                               DType::float16, DType::bfloat16};
constexpr DType kCastTo[] = {DType::float32, DType::float64, DType::int64,   DType::int32,
                             DType::boolean, DType::float16, DType::bfloat16};
struct CastKernels {
  void (*dense[std::size(kCastFrom)][std::size(kCastTo)])(const void* x, int64_t n, void* y);  // or null
};
RANVIER_TABLE(CastKernels, cast_kernels)

// widen: n contiguous elements that are stored in 16 bits, as `stored` says, become floats. round: the
// inverse.
static inline void widen(Stored stored, const void* x, int64_t n, float* y) {
  const int from = stored == Stored::float16 ? 4 : 5;  // in kCastFrom
  cast_kernels().dense[from][0](x, n, y);
}
static inline void round(const float* x, int64_t n, Stored stored, void* y) {
  const int to = stored == Stored::float16 ? 5 : 6;  // in kCastTo
  cast_kernels().dense[0][to](x, n, y);
}
static_assert(kCastFrom[0] == DType::float32 && kCastFrom[4] == DType::float16 &&
              kCastTo[0] == kCastFrom[0] && kCastTo[5] == kCastFrom[4]);

template <class From, class To>  // From: uint8_t ... uint64_t; To: as in Fill
struct Cast {
  RANVIER_CALL("cast", x, y);
  static constexpr bool finishes = true;
  DType from;
  TensorView<const From> x;
  TensorView<To> y;
};

}  // namespace ranvier
