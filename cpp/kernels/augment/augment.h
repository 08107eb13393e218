// augment: a batch of images moved, cropped, flipped, rotated, covered or mixed
//
//   x (n, c, h, w) of any strides, y likewise. Row i of a small array, drawn by the caller, says what
//   happens to image i. Images of bytes are moved, rotated and covered as they are; fill is then 0 ... 255.
#pragma once
#include <cstddef>

#include "base/isa.h"
#include "base/views.h"

namespace ranvier {

// The pixels beyond an image: `fill`; its last row or column; the image mirrored, the edge not repeated or
// repeated.
enum class Border { constant, edge, reflect, symmetric };
enum class Interpolation { nearest, bilinear };

// y[n, c, i, j] = x[n, c, top + i, left + j], `upside` reverses the rows, `mirrored` the columns of y, which
// has any height and width.
template <class T>
struct MoveImages {
  RANVIER_CALL("move_images", place, x, y);
  Border border;
  double fill;
  TensorView<const int64_t> place;  // (n, 4): top, left, upside, mirrored
  TensorView<const T> x;
  TensorView<T> y;
};

// y[n, c, i, j] = x[n, c] at row m3 j + m4 i + m5 and column m0 j + m1 i + m2, between four pixels or the
// nearest one; pixels outside the image are `fill`.
template <class T>
struct AffineImages {
  RANVIER_CALL("affine_images", matrix, x, y);
  Interpolation interpolation;
  double fill;
  TensorView<const double> matrix;  // (n, 6)
  TensorView<const T> x;
  TensorView<T> y;
};

// y = x outside a box of each image; inside it `fill`, or the same box of image partner[n].
template <class T>
struct EraseImages {
  RANVIER_CALL("erase_images", box, x, y, partner);
  double fill;
  TensorView<const int64_t> box;  // (n, 4): top, left, height, width; what is beyond the image is left out
  TensorView<const int64_t> partner;  // (n,), or no data
  TensorView<const T> x;
  TensorView<T> y;
};

// y[n] = weight[n] x[n] + (1 - weight[n]) x[partner[n]]; x of any shape (n, ...).
template <class T>
struct MixImages {
  RANVIER_CALL("mix_images", partner, weight, x, y);
  TensorView<const int64_t> partner;  // (n,)
  TensorView<const double> weight;    // (n,)
  TensorView<const T> x;
  TensorView<T> y;
};

constexpr int kPixelBlock = 64;  // pixels interpolated at once

// The place in x of a row of pixels of y: between row and row + 1 at `down` in [0, 1), and so the column;
// both are -2 where no pixel of x is near.
template <class T>
struct PixelPlaces {
  alignas(64) int32_t row[kPixelBlock], column[kPixelBlock];
  alignas(64) T down[kPixelBlock], right[kPixelBlock];
};

template <class T>
struct AugmentKernels {
  // The places in x of `count` <= kPixelBlock pixels of row i of y, from j on; `nearest` rounds instead, and
  // leaves down and right at 0.
  void (*locate)(const double (&matrix)[6], bool nearest, double h, double w, double i, double j, int count,
                 PixelPlaces<T>& places);
  // y = a pixel between four: taps[0 ... 3] are the upper left, upper right, lower left and lower right ones;
  // `down` and `right` in [0, 1). `count` pixels, and what is left of the last vector.
  void (*between)(int count, const T (*taps)[kPixelBlock], const T* down, const T* right, T* y);
  // y = weight a + (1 - weight) b, n elements
  void (*mix)(int64_t n, T weight, const T* a, const T* b, T* y);
};

RANVIER_TABLES(AugmentKernels, augment_kernels)

}  // namespace ranvier
