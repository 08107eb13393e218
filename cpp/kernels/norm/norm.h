// The inner loops of the normalisations, and the structs of numbers that they share.
//
//   y = (x - mean) rstd weight + bias,  rstd = 1 / sqrt(var + eps), mean and var over some of the axes:
//
//   batch_norm.h   one mean for each channel, over the batch and its pixels
//   group_norm.h   one for each sample and group of channels
//   layer_norm.h   one for each line of the last axes; also RMS norm, which has no mean
//
// Statistics are exact to the last bits of float, even if the mean is much larger than the deviation. In a
// block of at most kNormRows rows, differences from the first row are summed; in a chunk of at most
// kNormChunk elements of a line, differences from the chunk's mean. Blocks are joined in double. The
// differences from the first row x0 of n rows lose at most log2(n) bits, whatever the data are, since sum (x
// - x0)^2 <= n sum (x - mean)^2.
//
// A mean is kept in double. Loops take it in two parts: m, the mean rounded to T, and the rest, mean - m. The
// loop computes x - m, which is exact or nearly so; the rest is part of the constant term, b or k below.
#pragma once
#include <cstddef>
#include <cstdint>

#include "base/isa.h"
#include "base/views.h"

namespace ranvier {

constexpr int64_t kNormChunk = 1024;  // elements of a line
constexpr int64_t kNormRows = 64;     // rows whose columns are measured side by side

struct Moments {  // the moments of some elements: m2 = sum (x - mean)^2
  double mean, m2;
};

struct GradientSums {  // with g = dy, or dy weight: dy = sum g, dot = sum g (x - m)
  double dy, dot;
};

template <class T>
struct Normalize {  // y = (x - m) a + b
  T m, a, b;
};

template <class T>
struct NormGradient {  // dx = g a + (x - m) b + k, with g as in GradientSums
  T m, a, b, k;
};

// The first four loops take n contiguous elements of a line; moments and sums take at most kNormChunk. The
// others take rows of `width` contiguous columns, `stride` elements apart, where each column has its own
// numbers. column_moments, column_sums and parameter_sums take at most kNormRows rows, and add to the values
// that their outputs have.
template <class T>
struct NormKernels {
  Moments (*moments)(const T* x, int64_t n);
  // weight, bias: one number for each element, or null
  void (*normalize)(const T* x, int64_t n, Normalize<T> f, const T* weight, const T* bias, T* y);
  GradientSums (*sums)(const T* dy, const T* x, int64_t n, T m, const T* weight);
  void (*gradient)(const T* dy, const T* x, int64_t n, NormGradient<T> f, const T* weight, T* dx);

  // mean and m2 of `seen` rows become those of these and the new rows.
  void (*column_moments)(const T* x, int64_t stride, int64_t rows, int64_t width, int64_t seen, double* mean,
                         double* m2);
  void (*normalize_rows)(const T* x, int64_t stride_x, int64_t rows, int64_t width, const T* m, const T* a,
                         const T* b, T* y, int64_t stride_y);
  void (*column_sums)(const T* dy, int64_t stride_dy, const T* x, int64_t stride_x, int64_t rows,
                      int64_t width, const T* m, double* dy_sums, double* dots);
  void (*gradient_rows)(const T* dy, int64_t stride_dy, const T* x, int64_t stride_x, int64_t rows,
                        int64_t width, const T* m, const T* a, const T* b, const T* k, T* dx,
                        int64_t stride_dx);
  // dweight += dy ((x - m) a + b), where f has the numbers of each row; dbias += dy
  void (*parameter_sums)(const T* dy, int64_t stride_dy, const T* x, int64_t stride_x, int64_t rows,
                         int64_t width, const Normalize<T>* f, double* dweight, double* dbias);
};

RANVIER_TABLES(NormKernels, norm_kernels)

}  // namespace ranvier
