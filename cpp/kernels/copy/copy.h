// copy: y = x, from any memory order to any other
//
//   x and y have one shape; x of any strides (0 for repeated elements), y's elements do not overlap each
//   other or x. Between C order and channels-last squares of elements are transposed in registers.
#pragma once
#include <array>  // std::size: <iterator> brings all of the streams
#include <cstddef>

#include "base/half.h"
#include "base/isa.h"
#include "base/tensor_view.h"
#include "base/views.h"

namespace ranvier {

template <class T>  // float, double; BFloat16 and uint8_t for all dtypes of two bytes and of one
struct Copy {
  RANVIER_CALL("copy", x, y);
  static constexpr bool finishes = true;
  TensorView<const T> x;
  TensorView<T> y;
};

// join_rows: row i of y is row i of x[0], then that of x[1], ...; rows are contiguous. What is short lands in
// lines of cache that are still at hand, where a copy for each x would fetch all of y again.
constexpr int kJoined = 4;

template <class T>
struct JoinRows {
  RANVIER_CALL("join_rows", x, y);
  static constexpr bool finishes = true;
  TensorView<const T> x[kJoined];  // rows x n; data null after the last
  TensorView<T> y;
};

template <class T>
struct CopyKernels {
  int lanes;
  // y[i * stride_y + j] = x[j * stride_x + i] for i < rows (at most lanes) and j < n.
  void (*transpose_strip)(int rows, int64_t n, const T* x, int64_t stride_x, T* y, int64_t stride_y);
  // n pixels of three planes, `stride` apart, to pixels of three channels, and back
  void (*join_planes)(int64_t n, const T* x, int64_t stride, T* y);
  void (*part_planes)(int64_t n, const T* x, T* y, int64_t stride);
  // `rows` rows of n elements
  void (*copy_rows)(int64_t rows, int64_t n, const T* x, int64_t stride_x, T* y, int64_t stride_y);
  // y[i] = x[-i]
  void (*reverse)(int64_t n, const T* x, T* y);
  // n copies of each of `rows` elements, `stride` apart; up to a vector more is written
  void (*repeat_each)(int64_t rows, int64_t n, const T* x, int64_t stride, T* y);
};

RANVIER_TABLES(CopyKernels, copy_kernels)

// fill: every element of y becomes one number; any strides

template <class T>  // float, double, int64_t, int32_t, bool, Float16 or BFloat16
struct Fill {
  RANVIER_CALL("fill", y);
  static constexpr bool finishes = true;
  T value;
  TensorView<T> y;
};

// triangle: the elements of matrices on one side of a diagonal, 0 elsewhere
//
//   y[.., i, j] = x[.., i, j] where j - i <= diagonal (upper: >=), else 0. x of any strides; y is in C order.

template <class T>  // T as in Copy
struct Triangle {
  RANVIER_CALL("triangle", x, y);
  static constexpr bool finishes = true;
  bool upper;
  int64_t diagonal;
  TensorView<const T> x;
  TensorView<T> y;
};

// y[i] = first + i step. Not a kernel call: of a compiled step these are constants.
void progression(double first, double step, int64_t n, float* y);
void progression(double first, double step, int64_t n, double* y);
void progression(int64_t first, int64_t step, int64_t n, int64_t* y);

// cast: y = x in another dtype, element by element, as C converts: as int64 floats lose their
// fraction, as bool everything but 0 is true
//
//   x and y have one shape and any strides; From is an unsigned type of the size of x's elements, `from`
//   says what they are.

// The loops of dense arrays, by the places of their dtypes in kCastFrom and kCastTo.
constexpr DType kCastFrom[] = {DType::float32, DType::float64, DType::int64, DType::uint8 /* or bool */,
                               DType::float16, DType::bfloat16};
constexpr DType kCastTo[] = {DType::float32, DType::float64, DType::int64,   DType::int32,
                             DType::boolean, DType::float16, DType::bfloat16};
struct CastKernels {
  void (*dense[std::size(kCastFrom)][std::size(kCastTo)])(const void* x, int64_t n, void* y);  // or null
};
RANVIER_TABLE(CastKernels, cast_kernels)

// n elements in a line that are stored in 16 bits, as floats, and back.
static inline void widen(Stored stored, const void* x, int64_t n, float* y) {
  cast_kernels().dense[stored == Stored::float16 ? 4 : 5][0](x, n, y);
}
static inline void round(const float* x, int64_t n, Stored stored, void* y) {
  cast_kernels().dense[0][stored == Stored::float16 ? 5 : 6](x, n, y);
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
