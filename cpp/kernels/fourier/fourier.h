// fourier: discrete Fourier transforms of rows
//
//   fft    y[k] = scale * sum over t < n of x[t] exp(-2 pi i k t / n);  ifft: the same with +
//   rfft   fft of real x, k = 0 ... n/2;  irfft: ifft of the n points that have these conjugates
//
//   Complex numbers are pairs in a last axis of 2. x (..., m) or (..., m, 2), pairs dense, any other
//   strides, rows may overlap; m is at most that of n points, and zeros follow. y contiguous: (..., n),
//   (..., n/2 + 1, 2) or (..., n, 2). window (n), contiguous or none: times the real side, x of rfft or y of
//   irfft. edge: times the frequencies 0 and, of an even n, n/2.
//
//   n has no prime factor above 7. Each lane of a vector has a row, so that all sizes take the same way, and
//   a row's bits do not depend on the others. Real rows of even n are complex ones of n/2 points.
#pragma once
#include <cstddef>

#include "base/isa.h"
#include "base/views.h"

namespace ranvier {

enum class FourierKind { fft, ifft, rfft, irfft };

template <class T>
struct Fourier {
  RANVIER_CALL("fourier", x, window, y);
  size_t workspace_bytes(int threads) const;
  FourierKind kind;
  int64_t n;
  double scale, edge;
  TensorView<const T> x, window;
  TensorView<T> y;
};

// A vector of rows: a row in each lane, at most 16 as in a vector of float of the widest level.
template <class T>
struct FourierRows {
  FourierKind kind;
  int count;
  // columns: the points of a row are `step` apart; else each row is dense. adjacent: the rows begin at
  // neighbouring points.
  bool columns, adjacent;
  int64_t n, length, step;  // length: of x, in points
  T scale, edge;
  const T *rows[16], *window;
  const T* roots;  // exp(-2 pi i t / n), t < n
  T *y, *a, *b;    // a, b: room for n + 1 pairs of vectors, and a square
};

template <class T>
struct FourierKernels {
  int lanes;
  void (*run)(const FourierRows<T>&);
};

RANVIER_TABLES(FourierKernels, fourier_kernels)

}  // namespace ranvier
