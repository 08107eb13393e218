// AffineImages (augment.h): images rotated, scaled and sheared. Each pixel of y is interpolated between four
// pixels of x (the taps), a block of pixels of a row at a time.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <type_traits>

#include "base/parallel.h"
#include "kernels/augment/augment.h"

namespace ranvier {
namespace {

constexpr double kNsPerPixel = 4;  // on one thread, roughly

// The type in which pixels are computed.
template <class T>
using real = std::conditional_t<std::is_same_v<T, uint8_t>, float, T>;

// The places in x of a block of pixels of y, which are the same for all channels.
template <class R>
struct Block : PixelPlaces<R> {
  int count;
  int64_t offset[kPixelBlock];  // the offset of the upper left tap in a channel of x, in elements
  bool inside[kPixelBlock];     // all four taps are in x
};

// One channel of one image.
template <class T>
struct Plane {
  const T* data;
  int64_t h, w, step_row, step_column;
  real<T> fill;

  real<T> at(int64_t row, int64_t column) const {
    const bool has = row >= 0 && row < h && column >= 0 && column < w;
    return has ? real<T>(data[row * step_row + column * step_column]) : fill;
  }
};

// The four taps of each pixel of a block.
template <class T>
void take(const Plane<T>& x, const Block<real<T>>& block, real<T> (*taps)[kPixelBlock]) {
  const int64_t right = x.step_column;
  const int64_t below = x.step_row;
  const int64_t both = right + below;
  for (int k = 0; k < block.count; ++k) {
    const int64_t row = block.row[k];
    const int64_t column = block.column[k];
    if (block.inside[k]) {
      const T* p = x.data + block.offset[k];
      taps[0][k] = real<T>(p[0]);
      taps[1][k] = real<T>(p[right]);
      taps[2][k] = real<T>(p[below]);
      taps[3][k] = real<T>(p[both]);
    } else if (row < -1) {  // no tap is in x
      for (int tap = 0; tap < 4; ++tap) taps[tap][k] = x.fill;
    } else {
      taps[0][k] = x.at(row, column);
      taps[1][k] = x.at(row, column + 1);
      taps[2][k] = x.at(row + 1, column);
      taps[3][k] = x.at(row + 1, column + 1);
    }
  }
}

// The nearest pixel for each pixel of a block.
template <class T>
void take_nearest(const Plane<T>& x, const Block<real<T>>& block, real<T>* pixels) {
  for (int k = 0; k < block.count; ++k)
    pixels[k] = block.inside[k] ? real<T>(x.data[block.offset[k]]) : x.at(block.row[k], block.column[k]);
}

// Finds the places in x of up to kPixelBlock pixels of row i of y, from j on, of image n.
template <class T>
void locate(const AffineImages<T>& call, int64_t n, int64_t i, int64_t j, Block<real<T>>& block) {
  block.count = static_cast<int>(std::min<int64_t>(kPixelBlock, call.y.shape[3] - j));
  double matrix[6];
  for (int k = 0; k < 6; ++k)
    matrix[k] = call.matrix.data[n * call.matrix.strides[0] + k * call.matrix.strides[1]];
  const auto& x = call.x;
  const bool nearest = call.interpolation == Interpolation::nearest;
  const auto h = static_cast<double>(x.shape[2]);
  const auto w = static_cast<double>(x.shape[3]);
  const auto row_of_y = static_cast<double>(i);
  const auto first_column = static_cast<double>(j);
  augment_kernels<real<T>>().locate(matrix, nearest, h, w, row_of_y, first_column, block.count, block);
  for (int k = 0; k < block.count; ++k) {
    const int64_t row = block.row[k];
    const int64_t column = block.column[k];
    block.inside[k] = row >= 0 && row + 1 < x.shape[2] && column >= 0 && column + 1 < x.shape[3];
    block.offset[k] = row * x.strides[2] + column * x.strides[3];
  }
}

// The computed value as a pixel: rounded for uint8.
template <class T>
T pixel_of(real<T> value) {
  if constexpr (std::is_same_v<T, uint8_t>)
    return static_cast<uint8_t>(std::lrint(value));
  else
    return value;
}

// The buffers of one thread. They are set to 0 at first, since vectors read elements behind the last pixel.
template <class R>
struct Room {
  Block<R> block;
  alignas(64) R taps[4][kPixelBlock], pixels[kPixelBlock];
};

// Row i of image n of y, a block of pixels at a time, channel by channel.
template <class T>
void affine_row(const AffineImages<T>& call, int64_t n, int64_t i, Room<real<T>>& room) {
  using R = real<T>;
  const auto& x = call.x;
  const auto& y = call.y;
  auto& [block, taps, pixels] = room;
  for (int64_t j = 0; j < y.shape[3]; j += kPixelBlock) {
    locate(call, n, i, j, block);
    for (int64_t c = 0; c < x.shape[1]; ++c) {
      const T* from = x.data + n * x.strides[0] + c * x.strides[1];
      const Plane<T> plane{from,         x.shape[2],   x.shape[3],
                           x.strides[2], x.strides[3], static_cast<R>(call.fill)};
      if (call.interpolation == Interpolation::nearest) {
        take_nearest(plane, block, pixels);
      } else {
        take(plane, block, taps);
        augment_kernels<R>().between(block.count, taps, block.down, block.right, pixels);
      }
      T* to = y.data + n * y.strides[0] + c * y.strides[1] + i * y.strides[2] + j * y.strides[3];
      if (std::is_same_v<T, R> && y.strides[3] == 1)
        std::memcpy(to, pixels, sizeof(T) * block.count);
      else
        for (int k = 0; k < block.count; ++k) to[k * y.strides[3]] = pixel_of<T>(pixels[k]);
    }
  }
}

}  // namespace

template <class T>
void AffineImages<T>::run(const Team& team, void*) const {
  const int64_t rows = y.shape[2];
  const int64_t all = y.shape[0] * rows;
  team.parallel_for(all, kNsPerPixel * y.shape[1] * y.shape[3] * all, [&](int64_t begin, int64_t end) {
    Room<real<T>> room{};
    for (int64_t r = begin; r < end; ++r) {
      const int64_t image = r / rows;
      affine_row(*this, image, r % rows, room);
    }
  });
}

RANVIER_INSTANTIATE(AffineImages);
template struct AffineImages<uint8_t>;

}  // namespace ranvier
