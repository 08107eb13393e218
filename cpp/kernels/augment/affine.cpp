// Images turned, scaled and sheared: each pixel of y lies between four of x.
#include <algorithm>
#include <cmath>
#include <type_traits>

#include "base/parallel.h"
#include "kernels/augment/augment.h"

namespace ranvier {
namespace {

constexpr double kNsPerPixel = 4;

template <class T>
using real = std::conditional_t<std::is_same_v<T, uint8_t>, float, T>;

// Where the pixels of a block are seen in x: the row and column of the upper left tap, -2 beyond all taps.
template <class R>
struct Block {
  int64_t row[kPixelBlock], column[kPixelBlock];
  alignas(64) R down[kPixelBlock], right[kPixelBlock];
};

// Pixels j ... j + count of row i. In double and without FMA, so that every ISA level sees the same taps.
template <class R>
void locate(const double* m, int64_t step, bool nearest, int64_t h, int64_t w, int64_t i, int64_t j,
            int count, Block<R>& block) {
  const double row_at = m[4 * step] * i + m[5 * step], column_at = m[step] * i + m[2 * step];
  const double half = nearest ? 0.5 : 0;
  for (int k = 0; k < count; ++k) {
    const double row = m[3 * step] * (j + k) + row_at + half, column = m[0] * (j + k) + column_at + half;
    const bool touched = row > -1 && row < h && column > -1 && column < w;  // false for NaN
    const double up = std::floor(row), left = std::floor(column);
    block.row[k] = touched ? static_cast<int64_t>(up) : -2;
    block.column[k] = touched ? static_cast<int64_t>(left) : -2;
    block.down[k] = touched && !nearest ? static_cast<R>(row - up) : R(0);
    block.right[k] = touched && !nearest ? static_cast<R>(column - left) : R(0);
  }
}

// One channel of one image.
template <class T>
struct Plane {
  const T* data;
  int64_t h, w, step_row, step_column;
  real<T> fill;

  bool has(int64_t row, int64_t column) const { return row >= 0 && row < h && column >= 0 && column < w; }
  real<T> at(int64_t row, int64_t column) const {
    return has(row, column) ? real<T>(data[row * step_row + column * step_column]) : fill;
  }
};

template <class T>
void take(const Plane<T>& x, const Block<real<T>>& block, int count, real<T> (*taps)[kPixelBlock]) {
  for (int k = 0; k < count; ++k) {
    const int64_t row = block.row[k], column = block.column[k];
    if (row >= 0 && row + 1 < x.h && column >= 0 && column + 1 < x.w) {
      const T* p = x.data + row * x.step_row + column * x.step_column;
      taps[0][k] = real<T>(p[0]), taps[1][k] = real<T>(p[x.step_column]);
      taps[2][k] = real<T>(p[x.step_row]), taps[3][k] = real<T>(p[x.step_row + x.step_column]);
    } else {
      taps[0][k] = x.at(row, column), taps[1][k] = x.at(row, column + 1);
      taps[2][k] = x.at(row + 1, column), taps[3][k] = x.at(row + 1, column + 1);
    }
  }
}

template <class T>
T pixel_of(real<T> value) {
  if constexpr (std::is_same_v<T, uint8_t>)
    return static_cast<uint8_t>(std::lrint(value));
  else
    return value;
}

template <class T>
void turn_row(const AffineImages<T>& call, int64_t n, int64_t i) {
  using R = real<T>;
  const auto &x = call.x, &y = call.y;
  const bool nearest = call.interpolation == Interpolation::nearest;
  Block<R> block;
  alignas(64) R taps[4][kPixelBlock] = {}, pixels[kPixelBlock];
  for (int64_t j = 0; j < y.shape[3]; j += kPixelBlock) {
    const int count = static_cast<int>(std::min<int64_t>(kPixelBlock, y.shape[3] - j));
    std::fill(block.down, block.down + kPixelBlock, R(0));
    std::fill(block.right, block.right + kPixelBlock, R(0));
    locate(call.matrix.data + n * call.matrix.strides[0], call.matrix.strides[1], nearest, x.shape[2],
           x.shape[3], i, j, count, block);
    for (int64_t c = 0; c < x.shape[1]; ++c) {
      const Plane<T> plane{x.data + n * x.strides[0] + c * x.strides[1],
                           x.shape[2],
                           x.shape[3],
                           x.strides[2],
                           x.strides[3],
                           static_cast<R>(call.fill)};
      if (nearest) {
        for (int k = 0; k < count; ++k) pixels[k] = plane.at(block.row[k], block.column[k]);
      } else {
        take(plane, block, count, taps);
        augment_kernels<R>().between(taps, block.down, block.right, pixels);
      }
      T* to = y.data + n * y.strides[0] + c * y.strides[1] + i * y.strides[2] + j * y.strides[3];
      for (int k = 0; k < count; ++k) to[k * y.strides[3]] = pixel_of<T>(pixels[k]);
    }
  }
}

}  // namespace

template <class T>
void AffineImages<T>::run(void*) const {
  const int64_t rows = y.shape[2], all = y.shape[0] * rows;
  parallel_for(all, kNsPerPixel * y.shape[1] * y.shape[3] * all, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) turn_row(*this, r / rows, r % rows);
  });
}

template struct AffineImages<float>;
template struct AffineImages<double>;
template struct AffineImages<uint8_t>;

}  // namespace ranvier
