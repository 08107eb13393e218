// matmul of floats of 16 bits: c = f(a @ b + bias), computed in float32; each element of c is rounded once.
// Shapes and strides of a, b, bias and c are as in Matmul (matmul.h). There are three ways:
//
//   - Few rows: one operand has at most kHalfRows rows (a) or columns (b), and the other operand is
//     contiguous along one dimension. The latter is read where it is and converted in registers: see
//     LineProduct.
//   - bfloat16 where stored_pairs.h takes less time: the processor multiplies the numbers as they are.
//   - Any other: blocks of a and b are converted to float32, which Matmul multiplies; blocks of bfloat16 with
//     Precision::medium.
//
// Products of two factors are exact, except that bfloat16 instructions take subnormal factors as 0. The bits
// of c depend on the shapes and strides, not on the number of threads.
#pragma once
#include <cstddef>

#include "base/isa.h"
#include "base/views.h"
#include "kernels/matmul/fetch_order.h"
#include "kernels/matmul/matmul.h"

namespace ranvier {

constexpr int64_t kHalfRows = 16;  // with more rows, blocks of float32 take less time

template <class Half>  // Float16 or BFloat16
struct HalfMatmul {
  RANVIER_CALL("matmul_halves", a, b, bias, c, wide);
  size_t workspace_bytes(int threads) const;
  TensorView<const Half> a, b;  // 3-D
  TensorView<const Half> bias;  // 1-D, or data null
  TensorView<Half> c;           // 3-D; or data null, and c is stored to `wide`
  TensorView<float> wide;       // 3-D: c as float32, not rounded to 16 bits; or data null
  MatmulActivation activation;
};

// A product of few rows: sums[i * width + j] = the sum over p of a[i * rs_a + p] and b[p, j]. a is float32, b
// of 16 bits. A line of b is what is contiguous: a column for HalfKernels::dots, a row for HalfKernels::rows.
struct LineProduct {
  int rows;  // 1 to kHalfRows
  int64_t k, columns;
  const float* a;
  int64_t rs_a;
  const void* b;
  int64_t step_b;  // from one line of b to the next, in elements
  float* sums;
  int64_t width;           // a multiple of 16, at least `columns`
  FetchOrder fetch_order;  // only HalfKernels::dots
};

// The loops for one type of 16 bits.
struct HalfKernels {
  void (*widen)(int64_t n, const void* x, float* y);  // y = x as float32
  void (*round)(int64_t n, const float* x, void* y);  // y = x rounded to 16 bits
  void (*dots)(const LineProduct&);  // one chain in each lane along k, then the sum of the lanes
  void (*rows)(const LineProduct&);  // one chain along k for each element
};

struct HalfMatmulKernels {
  HalfKernels of[2];                                 // of Float16, of BFloat16
  void (*add)(int64_t n, const float* x, float* y);  // y += x
};
RANVIER_TABLE(HalfMatmulKernels, half_matmul_kernels)

}  // namespace ranvier
