// fourier: discrete Fourier transforms of rows of n points
//
//   fft    y[k] = scale * sum over t < n of x[t] exp(-2 pi i k t / n),  k < n
//   ifft   the same with exp(+2 pi i k t / n)
//   rfft   the fft of a real row x: its frequencies k = 0 ... n/2
//   irfft  the inverse: a real row y from the frequencies k = 0 ... n/2; the others are their conjugates
//
// Shapes. A complex number is a pair (re, im) in a last axis of size 2, dense in memory.
//   x: (..., m) if it is real (rfft), else (..., m, 2). If m is less than the number of points that the
//      transform reads, zeros follow. The other strides are arbitrary: rows may overlap.
//   y: contiguous; (..., n, 2) of fft and ifft, (..., n/2 + 1, 2) of rfft, (..., n) of irfft.
//   window: (n) or none; multiplies the real side: x of rfft, y of irfft.
//   edge: multiplies the frequencies 0 and, if n is even, n/2 (rfft, irfft).
//
// n has no prime factor above 7. The algorithm is Stockham's, with radices 4, 2, 3, 5, 7: passes between two
// buffers, without a permutation of the points. Each lane of a vector transforms a row of its own, so all n
// use the same code, and the bits of a row do not depend on the other rows. A real row of even n is
// transformed as n/2 complex numbers.
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

// The rows that one vector transforms: row i in lane i. 16 is the number of lanes of the widest level.
template <class T>
struct FourierRows {
  FourierKind kind;
  int count;  // rows; the lanes above repeat the first row, and are not stored
  // columns: the points of a row are `step` elements apart; else they are dense. adjacent: row i begins i
  // points after row 0.
  bool columns, adjacent;
  int64_t n, length, step;  // points of the transform; points of a row of x
  T scale, edge;
  const T *rows[16], *window;
  const T* roots;  // exp(-2 pi i t / n), t < n
  // y: contiguous. a, b: buffers of n + 1 pairs of vectors (re, im), and lanes^2 elements more for
  // transposes.
  T *y, *a, *b;
};

template <class T>
struct FourierKernels {
  int lanes;
  void (*run)(const FourierRows<T>&);
};

RANVIER_TABLES(FourierKernels, fourier_kernels)

}  // namespace ranvier
