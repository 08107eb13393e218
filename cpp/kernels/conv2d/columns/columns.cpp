// The gradient to the input of a convolution with few pixels: see columns.h. One matrix product multiplies
// all pixels of dy by all weights; then each row of dx is summed from the products.
#include "kernels/conv2d/columns/columns.h"

#include <cmath>

#include "kernels/matmul/plan.h"

namespace ranvier {
namespace {

// The pixels of dy, of all images.
int64_t pixels(const Conv2dBackwardInput<float>& c) { return c.dy.shape[0] * c.dy.shape[2] * c.dy.shape[3]; }

}  // namespace

// The direct sum has to pack the weights, which takes longer than the products where there are few pixels.
// Reading the weights as they are has its own costs: products with the padding, and columns that are written
// and read, which matters more the fewer channels dy has. Weights of more than kLargest elements come from
// memory, and packing reads them faster. The tiles of the direct sum and of Winograd take pixels from all
// images, but only a few of each image where borders divide a small image into many classes (axis.h). So for
// them, and for this bound, the number of images counts more than their pixels; it counts more for many taps
// and many pixels of dx. The constants are fitted to measured times of 1400 shapes.
bool ColumnsInput::pays(const Conv2dBackwardInput<float>& c) {
  constexpr int64_t kMostPixels = 90, kWayOfColumns = 180, kLeastChannels = 16, kLargest = 1 << 22;
  constexpr double kMostImages = 22, kWayOfTap = 5, kWayOfSum = 4, kStrided = 1.5;
  const Conv2dGeometry& g = c.geometry;
  const int64_t out = c.dy.shape[1];
  const int64_t r = c.w.shape[2];
  const int64_t s = c.w.shape[3];
  const int64_t steps = g.stride[0] * g.stride[1];
  if (g.groups != 1 || steps * r * s == 1 || pixels(c) == 0 || out < kLeastChannels ||
      c.dx.shape[1] < kLeastChannels || numel(c.w) > kLargest)
    return false;
  // The alternative has less work with strides (the direct sum) and with 3 x 3 taps (Winograd).
  const int64_t most = steps == 1 && (r != 3 || s != 3) ? 2 * kMostPixels : kMostPixels;
  if (pixels(c) * (out + kWayOfColumns) > most * out) return false;
  const double image = c.dy.shape[2] * c.dy.shape[3];
  const double sums = c.dx.shape[2] * c.dx.shape[3] / image;
  const double strided = steps > 1 ? kStrided : 1;
  const double images = c.dy.shape[0] * std::sqrt(image) * strided;
  return images * (out + kWayOfTap * r * s + kWayOfSum * sums) <= kMostImages * out;
}

ColumnsInput::ColumnsInput(const Conv2dBackwardInput<float>& c, Carver& carver, int threads)
    : c_(c),
      dy_(c.dy, 0, carver, /*spread=*/false, /*joined=*/true),
      weights_(nullptr),
      column_(c.w.shape[1] * c.w.shape[2] * c.w.shape[3]),
      columns_(carver.take<float>(pixels(c) * column_)),
      taps_(carver.take<const float*>(threads * c.w.shape[2] * c.w.shape[3])),
      product_{} {
  for (int d = 0; d < 2; ++d)
    axes_[d] = axis_geometry(c.geometry, d, c.dx.shape[2 + d], c.dy.shape[2 + d], c.w.shape[2 + d],
                             /*transposed=*/true);
  const int64_t rows = pixels(c);
  const int64_t out = c.dy.shape[1];
  if (!is_contiguous(c.w)) weights_ = carver.take<float>(out * column_);
  const float* const w = is_contiguous(c.w) ? c.w.data : weights_;
  product_.a = as_matrix(dy_.data, rows, out, dy_.stride_w, 1);
  product_.b = as_matrix(w, out, column_, column_, 1);
  product_.c = as_matrix(columns_, rows, column_, column_, 1);
  workspace_ = carver.take<char>(static_cast<int64_t>(product_.plan_bytes(threads)));
}

void ColumnsInput::run(const Team& team) const {
  const double products = static_cast<double>(pixels(c_)) * c_.dy.shape[1] * column_;
  team.region(kMatmulNsPerProduct * products, [&](const OpenTeam& team) {
    dy_.copy_share(team);
    if (!is_contiguous(c_.w)) copy_weights(team);
    team.barrier();
    product_.run(team, workspace_);
    team.barrier();
    const int64_t height = c_.dx.shape[2];
    const Range rows = even_share(team, c_.dx.shape[0] * height);
    for (int64_t row = rows.begin; row < rows.end && !interrupted(team); ++row)
      sum_row(row / height, row % height, taps_ + team.index() * axes_[0].taps * axes_[1].taps);
    team.barrier();
  });
}

// Copies this thread's share of the weights to C-contiguous memory.
void ColumnsInput::copy_weights(const OpenTeam& team) const {
  const int64_t* shape = c_.w.shape;
  const int64_t* st = c_.w.strides;
  const Range share = even_share(team, shape[0]);
  float* to = weights_ + share.begin * column_;
  for (int64_t k = share.begin; k < share.end; ++k)
    for (int64_t c = 0; c < shape[1]; ++c)
      for (int64_t r = 0; r < shape[2]; ++r)
        for (int64_t s = 0; s < shape[3]; ++s) {
          *to = c_.w.data[k * st[0] + c * st[1] + r * st[2] + s * st[3]];
          ++to;
        }
}

// Computes a row of dx: a pixel is the sum, over the taps that met it, of the columns of the pixels of dy.
// taps: memory for the addresses of these columns.
void ColumnsInput::sum_row(int64_t image, int64_t row, const float** taps) const {
  const AxisGeometry& h = axes_[0];
  const AxisGeometry& w = axes_[1];
  const int64_t channels = c_.dx.shape[1];
  const int64_t step = h.taps * w.taps;
  float* to = c_.dx.data + image * c_.dx.strides[0] + row * c_.dx.strides[2];
  for (int64_t x = 0; x < w.out; ++x, to += c_.dx.strides[3]) {
    int64_t count = 0;
    for (int64_t r = 0; r < h.taps; ++r)
      for (int64_t s = 0; s < w.taps; ++s) {
        const int64_t p = h.input(row, r);
        const int64_t q = w.input(x, s);
        if (p < 0 || q < 0) continue;
        const int64_t pixel = (image * h.in + p) * w.in + q;  // of dy
        const int64_t flipped_tap = step - 1 - (r * w.taps + s);
        taps[count] = columns_ + pixel * column_ + flipped_tap;
        ++count;
      }
    for (int64_t c = 0; c < channels; ++c) {
      float sum = 0;
      for (int64_t i = 0; i < count; ++i) sum += taps[i][c * step];
      to[c] = sum;
    }
  }
}

}  // namespace ranvier
