// grid_sample: images read between their pixels
//
//   forward   y[i, :, p, q] = x[i] at the point grid[i, p, q], a column and a row from -1 to 1: the nearest
//             pixel, or the weighted sum of 2 x 2 (bilinear) or 4 x 4 of them (bicubic: Keys, a = -0.75)
//   backward  dx, dgrid, each where it has data; nearest: dgrid is 0
//
//   x, dx (n, c, h, w), y, dy (n, c, p, q), all of them dense, in this order or channels-last; an image, or
//   without channels-last a channel, has less than 2^31 elements. grid, dgrid (n, p, q, 2) contiguous. Beyond
//   the edge: zeros; the border; reflection. NaN where a point is NaN. An image's dx is one thread's work,
//   point after point.
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
  bool align_corners;  // -1 and 1 are the centres of the outer pixels, else their outer edges
  bool in_pixels;      // instead, points are given in pixels, from the centre of the first
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
  int64_t c, h, w, points;  // the sizes of x, and the points of the whole grid
  const T *x, *grid;
  int count;
  T* y;         // forward, at the first point
  const T* dy;  // backward, likewise
  T *dx, *dgrid;
};

template <class T>
struct GridKernels {
  void (*forward)(const GridPart<T>&);
  void (*backward)(const GridPart<T>&);
};

RANVIER_TABLES(GridKernels, grid_kernels)

}  // namespace ranvier
