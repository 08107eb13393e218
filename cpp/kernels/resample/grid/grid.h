// grid_sample: images sampled at points between their pixels
//
//   forward   y[i, :, p, q] = x[i] at the point grid[i, p, q], whose column and row are in [-1, 1]: the
//             nearest pixel, or the weighted sum of 2 x 2 pixels (bilinear) or 4 x 4 pixels (bicubic: Keys,
//             a = -0.75)
//   backward  dx and dgrid, each if it has data; for `nearest` dgrid is 0
//
//   x, dx (n, c, h, w), y, dy (n, c, p, q): all dense, in this order or channels-last. An image (without
//   channels-last, a channel) has less than 2^31 elements. grid, dgrid (n, p, q, 2) contiguous.
//
// GridPadding says what lies beyond the edge of an image: zeros, the pixels at the border, or the reflected
// image. y is NaN if the point is. One thread computes dx of an image, point after point.
#pragma once
#include <cstddef>

#include "base/isa.h"
#include "base/views.h"

namespace ranvier {

enum class GridMode { bilinear, nearest, bicubic };
enum class GridPadding { zeros, border, reflection };

struct GridSettings {
  GridMode mode;
  GridPadding padding;
  bool align_corners;  // -1 and 1 are the centres of the first and last pixels; else their outer edges
  bool in_pixels;      // points are given in pixels instead, counted from the centre of the first pixel
  bool channels_last;
};

constexpr int64_t kGridPoints = 64;  // points that are computed at a time

template <class T>
struct GridSample {
  RANVIER_CALL("grid_sample", x, grid, y);
  GridSettings settings;
  TensorView<const T> x, grid;
  TensorView<T> y;
};

template <class T>
struct GridSampleBackward {
  RANVIER_CALL("grid_sample_backward", dy, x, grid, dx, dgrid);
  GridSettings settings;
  TensorView<const T> dy, x, grid;
  TensorView<T> dx, dgrid;
};

// Up to kGridPoints points of one image.
template <class T>
struct GridPart {
  GridSettings settings;
  int64_t c, h, w;  // the sizes of x
  int64_t points;   // of the whole grid of the image
  const T* x;       // the image
  const T* grid;    // the first point of the part
  int count;        // points of the part
  T* y;             // for the forward, at the first point
  const T* dy;      // for the backward, at the first point
  T *dx, *dgrid;
};

template <class T>
struct GridKernels {
  void (*forward)(const GridPart<T>&);
  void (*backward)(const GridPart<T>&);
};

RANVIER_TABLES(GridKernels, grid_kernels)

}  // namespace ranvier
