// The inner loops of the normalisations, and the values that they take.
//
//   y = (x - mean) rstd weight + bias,  rstd = 1 / sqrt(var + eps), mean and var over some of the axes:
//
//   batch_norm.h   one mean for each channel, over the batch and its pixels
//   group_norm.h   one for each sample and group of channels
//   layer_norm.h   one for each line of the last axes; also RMS norm, which has no mean
//
// Statistics are exact to the last bits of float also where the mean is much larger than the deviation: a
// block of at most kNormRows rows (kNormChunk elements of a line) is measured as it differs from its first
// row (its own mean), the blocks are joined in double. A difference from the first of n rows loses at most
// log2(n) bits, whatever the data: sum (x - x0)^2 <= n sum (x - mean)^2.
//
// A mean is kept in double. Loops take it in two parts, the nearest T and what is missing: x - m is then
// (nearly) exact, and the rest goes into the constant term.
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

struct GradientSums {  // g = dy, or dy weight: sum g, sum g (x - m)
  double dy, dot;
};

template <class T>
struct Normalize {  // y = (x - m) a + b
  T m, a, b;
};

template <class T>
struct NormGradient {  // dx = g a + (x - m) b + k, g as above
  T m, a, b, k;
};

// The loops over lines take contiguous elements, n of them (<= kNormChunk where they sum). Those over rows
// take `width` columns, each with its own numbers, of rows that are `stride` elements apart; sums go over
// at most kNormRows rows and are added to what is there.
template <class T>
struct NormKernels {
  Moments (*moments)(const T* x, int64_t n);
  // weight and bias of each element, or null
  void (*normalize)(const T* x, int64_t n, Normalize<T> f, const T* weight, const T* bias, T* y);
  GradientSums (*sums)(const T* dy, const T* x, int64_t n, T m, const T* weight);
  void (*gradient)(const T* dy, const T* x, int64_t n, NormGradient<T> f, const T* weight, T* dx);

  // mean and m2 of `seen` rows become those of seen + rows
  void (*column_moments)(const T* x, int64_t stride, int64_t rows, int64_t width, int64_t seen, double* mean,
                         double* m2);
  void (*normalize_rows)(const T* x, int64_t stride_x, int64_t rows, int64_t width, const T* m, const T* a,
                         const T* b, T* y, int64_t stride_y);
  void (*column_sums)(const T* dy, int64_t stride_dy, const T* x, int64_t stride_x, int64_t rows,
                      int64_t width, const T* m, double* dy_sums, double* dots);
  void (*gradient_rows)(const T* dy, int64_t stride_dy, const T* x, int64_t stride_x, int64_t rows,
                        int64_t width, const T* m, const T* a, const T* b, const T* k, T* dx,
                        int64_t stride_dx);
  // dweight += dy (x - m) a + b with the numbers of each row; dbias += dy
  void (*parameter_sums)(const T* dy, int64_t stride_dy, const T* x, int64_t stride_x, int64_t rows,
                         int64_t width, const Normalize<T>* f, double* dweight, double* dbias);
};

RANVIER_TABLES(NormKernels, norm_kernels)

}  // namespace ranvier
