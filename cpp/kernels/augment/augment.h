// augment: a batch of images moved, cropped, flipped, rotated, covered or mixed, for data augmentation
//
//   x and y (n, c, h, w) have any strides. Row i of a small array, which the caller draws at random, says
//   what happens to image i. Images of uint8 can be moved, rotated and covered, too; then `fill` is in 0 ...
//   255.
#pragma once
#include <cstddef>

#include "base/isa.h"
#include "base/views.h"

namespace ranvier {

// The pixels beyond the edge of an image. constant: `fill`; edge: the last row or column; reflect and
// symmetric: the image mirrored, without or with a repetition of its last row or column.
enum class Border { constant, edge, reflect, symmetric };
enum class Interpolation { nearest, bilinear };

// y[n, c, i, j] = x[n, c, top + i, left + j]; then `upside` reverses the rows of y, and `mirrored` its
// columns. y may have any height and width.
template <class T>
struct MoveImages {
  RANVIER_CALL("move_images", place, x, y);
  Border border;
  double fill;
  TensorView<const int64_t> place;  // (n, 4): top, left, upside, mirrored
  TensorView<const T> x;
  TensorView<T> y;
};

// y[n, c, i, j] = x[n, c] at row m3 j + m4 i + m5 and column m0 j + m1 i + m2, where m is the row of `matrix`
// for image n: interpolated between four pixels, or the nearest pixel. Pixels outside the image are `fill`.
template <class T>
struct AffineImages {
  RANVIER_CALL("affine_images", matrix, x, y);
  Interpolation interpolation;
  double fill;
  TensorView<const double> matrix;  // (n, 6)
  TensorView<const T> x;
  TensorView<T> y;
};

// y = x, except in a box of each image, where y is `fill`, or if partner has data the same box of image
// partner[n].
template <class T>
struct EraseImages {
  RANVIER_CALL("erase_images", box, x, y, partner);
  double fill;
  TensorView<const int64_t> box;      // (n, 4): top, left, height, width; a box may reach beyond the image
  TensorView<const int64_t> partner;  // (n,), or data null
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

constexpr int kPixelBlock = 64;  // pixels that are interpolated at a time

// The places in x of some pixels of a row of y: `down` in [0, 1) between row and row + 1, and `right` between
// column and column + 1. row and column are -2 if all pixels around the place are outside x.
template <class T>
struct PixelPlaces {
  alignas(64) int32_t row[kPixelBlock], column[kPixelBlock];
  alignas(64) T down[kPixelBlock], right[kPixelBlock];
};

template <class T>
struct AugmentKernels {
  // Computes the places in x (h rows, w columns) of `count` <= kPixelBlock pixels of row i of y, from column
  // j on. nearest: the places are rounded to pixels, and down and right are 0.
  void (*locate)(const double (&matrix)[6], bool nearest, double h, double w, double i, double j, int count,
                 PixelPlaces<T>& places);
  // y[i] = the interpolation between four pixels: taps[0 ... 3] are the upper left, upper right, lower left
  // and lower right ones. `count` pixels, rounded up to whole vectors.
  void (*between)(int count, const T (*taps)[kPixelBlock], const T* down, const T* right, T* y);
  // y = weight a + (1 - weight) b, n elements
  void (*mix)(int64_t n, T weight, const T* a, const T* b, T* y);
};

RANVIER_TABLES(AugmentKernels, augment_kernels)

}  // namespace ranvier
