// matmul of floats of 16 bits: c = f(a @ b + bias), computed in float32, each element of c rounded once
//
//   a, b, bias and c as in Matmul. A product with up to kHalfRows rows, or columns, and another operand that
//   is contiguous along one of its dimensions reads that one where it is: see LineProduct. Others of bfloat16
//   are multiplied as they are where that pays (stored_pairs.h). Of any other, blocks of a and b become
//   float32, which Matmul multiplies: of bfloat16 with Precision::medium. Both are exact but for subnormal
//   factors, which are 0.
//
// The bits of c depend on the shapes and strides, not on the threads.
#pragma once
#include <cstddef>

#include "base/isa.h"
#include "base/views.h"
#include "kernels/matmul/matmul.h"

namespace ranvier {

constexpr int64_t kHalfRows = 16;  // more take less time in blocks

template <class Half>  // Float16 or BFloat16
struct HalfMatmul {
  RANVIER_CALL("matmul_halves", a, b, bias, c, wide);
  size_t workspace_bytes(int threads) const;
  TensorView<const Half> a, b;  // 3-D
  TensorView<const Half> bias;  // 1-D, or data null
  TensorView<Half> c;           // 3-D, or data null:
  TensorView<float> wide;       // then c without the rounding
  MatmulActivation activation;
};

// sums[i * width + j] = the products of row i of a, of float32, and column j of b, 1 to kHalfRows rows.
struct LineProduct {
  int rows;
  int64_t k, columns;
  const float* a;
  int64_t rs_a;
  const void* b;
  int64_t step_b;  // from one line of b to the next
  float* sums;
  int64_t width;  // at least `columns` and whole vectors
};

struct HalfKernels {
  void (*widen)(int64_t n, const void* x, float* y);
  void (*round)(int64_t n, const float* x, void* y);
  void (*dots)(const LineProduct&);  // lines of b are its columns: a chain in each lane
  void (*rows)(const LineProduct&);  // rows: chains along k
};

struct HalfMatmulKernels {
  HalfKernels of[2];  // Float16, BFloat16
  void (*add)(int64_t n, const float* x, float* y);
};
RANVIER_TABLE(HalfMatmulKernels, half_matmul_kernels)

}  // namespace ranvier
