// 1x1 convolutions as matrix products (pointwise.h): makes calls of Matmul for them, and runs these.
#include "kernels/conv2d/pointwise/pointwise.h"

#include <algorithm>
#include <cstring>

#include "base/caches.h"
#include "base/carve.h"
#include "kernels/conv2d/share.h"
#include "kernels/matmul/plan.h"

namespace ranvier {
namespace {

constexpr int64_t kLeastChannels = 16;  // the fewest channels and pixels: fewer do not fill a tile

template <class T>
int64_t pixels(const TensorView<T>& x) {
  return x.shape[0] * x.shape[2] * x.shape[3];
}

// True if r x s taps on x give each pixel of dy from the pixel at the same place.
template <class Dy, class X>
bool is_pointwise(const Conv2dGeometry& g, int64_t r, int64_t s, const Dy& dy, const X& x) {
  return g.keeps_pixels(r, s, x.shape, dy.shape) && g.groups == 1 && pixels(dy) >= kLeastChannels &&
         dy.shape[1] >= kLeastChannels && x.shape[1] >= kLeastChannels;
}

// The same call with a view of x that has only the pixels which a filter with a stride reads.
template <class T>
Conv2dBackwardWeight<T> without_skipped(Conv2dBackwardWeight<T> c) {
  skip_pixels(c.taps[0], c.taps[1], c.dy.shape + 2, c.geometry, c.x);
  return c;
}

template <class T>
double cost(const Matmul<T>& m) {
  return kMatmulNsPerProduct * numel(m.c) * m.a.shape[2] * (sizeof(T) / 4);
}

// True if the direct sum takes less time because it stores a large y past the caches, which matrix products
// do not do: with few inputs, or where vectors are whole cache lines. Both algorithms give the same bits
// here, so the condition may depend on the machine.
template <class T>
bool is_bound_by_stores(const Correlation<T>& p) {
  // The limits of inputs were measured on one thread of an EPYC at AVX-512 and AVX2.
  constexpr int64_t line = 64 / sizeof(T), kFewInputs = 12, kMostInputs = 256;
  const int64_t in = p.x.shape[1];
  const int64_t out = p.y.shape[1];
  const bool whole_lines = sizeof(T) == sizeof(double) || conv_kernels<T>().lanes == line;
  return pixels(p.y) > kDotRows && out > 2 * line && out % line == 0 &&
         numel(p.y) >= caches.l3 / 2 / static_cast<int64_t>(sizeof(T)) &&
         in <= (whole_lines ? kMostInputs : kFewInputs);
}

}  // namespace

// The direct sum takes longer, since its tiles have a pointer for each pixel, it packs the weights, and reads
// pixels from L2 several times.
template <class T>
bool Pointwise<T>::pays(const Correlation<T>& p) {
  constexpr int64_t kLeastProducts = 8;
  return keeps_pixels(p) && p.geometry.groups == 1 && is_joined(p.y) &&
         p.x.shape[1] * p.y.shape[1] >= kLeastProducts && !is_bound_by_stores(p);
}

namespace {

// x is not channels-last, but (n, c, h, w) with planes. True if each image is a separate product that reads
// these planes as they are: it packs some pixels at a time, which stay in cache, while a copy of all of x
// goes to memory and back. But each product packs the weights again; and with many outputs the products take
// so long that the copy hardly matters.
// The limits: vectors of outputs, and pixels of an image. With more than kDotRows outputs there are no dot
// products (matmul.h), so the bits do not depend on the layout of x.
template <class T>
bool reads_planes(const Correlation<T>& p) {
  constexpr int64_t kFewVectors = 2, kSomeVectors = 6, kLeastPixels = 7 * 7;
  const int64_t* size = p.x.shape;
  const int64_t* step = p.x.strides;
  const int64_t in = size[1];
  const int64_t out = p.y.shape[1];
  const int64_t vectors = ceil_div(out, conv_kernels<T>().lanes);
  const bool pays = (vectors <= kFewVectors && in >= out) || (vectors <= kSomeVectors && in >= 4 * out);
  return pays && in > 1 && step[1] != 1 && step[3] == 1 && step[2] == size[3] && out > kDotRows &&
         size[2] * size[3] >= kLeastPixels && !by_tiles(p.algorithms);
}

// x, where the product may need a copy of it; else a view of nothing.
template <class T>
TensorView<const T> copied_input(const Correlation<T>& p) {
  if (reads_planes(p)) return {};
  return p.x;
}

}  // namespace

// With few outputs, Matmul computes dot products if the input channels of w are contiguous (matmul.h). Other
// weights are copied to make them contiguous, so that the bits do not depend on the layout of w. x must be
// joined (operands.h), since rows of a matrix are evenly spaced; `spread` is not needed: where rows share
// sets of L1, MatmulPlan packs them if they are read again.
template <class T>
Pointwise<T>::Pointwise(const Correlation<T>& p, Carver& carver, int threads)
    : x_(copied_input(p), 0, carver, /*spread=*/false, /*joined=*/true), product_{} {
  const int64_t in = p.x.shape[1];
  const int64_t out = p.y.shape[1];
  const int64_t rows = pixels(p.y);
  const int64_t stride_in = p.transposed ? p.w.strides[0] : p.w.strides[1];
  const int64_t stride_out = p.transposed ? p.w.strides[1] : p.w.strides[0];
  const bool copies = out <= kDotRows && stride_in != 1;
  w_ = as_matrix(p.w.data, in, out, stride_in, stride_out);
  w_copy_ = carver.take<T>(copies ? in * out : 0);
  product_.a = as_matrix(x_.data, rows, in, x_.stride_w, 1);
  product_.b = copies ? as_matrix<const T>(w_copy_, in, out, 1, in) : w_;
  product_.bias = p.bias;
  product_.c = as_matrix(p.y.data, rows, out, p.y.strides[3], 1);
  if (reads_planes(p)) {
    const int64_t images = p.x.shape[0];
    const int64_t of_image = rows / images;
    product_.a = {p.x.data, 3, {images, of_image, in}, {p.x.strides[0], 1, p.x.strides[1]}};
    product_.b.shape[0] = images;
    product_.c = {p.y.data, 3, {images, of_image, out}, {of_image * p.y.strides[3], p.y.strides[3], 1}};
  }
  if (p.norm) product_.norm = {p.norm, 2, {3, out}, {out, 1}};
  if (by_tiles(p.algorithms)) product_.precision = Precision::medium;
  if (p.relu) product_.activation.kind = Activation::relu;
  workspace_ = carver.take<char>(static_cast<int64_t>(product_.plan_bytes(threads)));
}

template <class T>
void Pointwise<T>::run(const Team& team) const {
  team.region(cost(product_), [&](const OpenTeam& team) {
    x_.copy_share(team);
    if (team.index() == 0 && product_.b.data == w_copy_) copy_weights();
    team.barrier();
    product_.run(team, workspace_);
  });
}

template <class T>
void Pointwise<T>::copy_weights() const {
  for (int64_t j = 0; j < w_.shape[2]; ++j)
    for (int64_t c = 0; c < w_.shape[1]; ++c)
      w_copy_[j * w_.shape[1] + c] = w_.data[c * w_.strides[1] + j * w_.strides[2]];
}

template <class T>
bool SpreadInput<T>::pays(const Conv2dBackwardInput<T>& c) {
  const Conv2dGeometry& g = c.geometry;
  return c.w.shape[2] == 1 && c.w.shape[3] == 1 && g.pad[0] == 0 && g.pad[1] == 0 && !g.steps_by_one() &&
         c.dx.shape[1] >= kLeastChannels && numel(c.dy) > 0;
}

template <class T>
SpreadInput<T>::SpreadInput(const Conv2dBackwardInput<T>& c, Carver& carver, int threads) : c_(c), met_(c) {
  const int64_t channels = c.dx.shape[1];
  const int64_t h = c.dy.shape[2];
  const int64_t w = c.dy.shape[3];
  met_.geometry.stride[0] = 1;
  met_.geometry.stride[1] = 1;
  T* met = carver.take<T>(pixels(c.dy) * channels);
  met_.dx = {met, 4, {c.dy.shape[0], channels, h, w}, {h * w * channels, 1, w * channels, channels}};
  workspace_ = carver.take<char>(static_cast<int64_t>(met_.workspace_bytes(threads)));
}

template <class T>
void SpreadInput<T>::run(const Team& team) const {
  const double products = static_cast<double>(numel(met_.dx)) * c_.dy.shape[1] / c_.geometry.groups;
  team.region(kConvNsPerProduct * products * (sizeof(T) / 4), [&](const OpenTeam& team) {
    met_.run(team, workspace_);
    team.barrier();
    const int64_t height = c_.dx.shape[2];
    const Range rows = even_share(team, c_.dx.shape[0] * height);
    for (int64_t row = rows.begin; row < rows.end && !interrupted(team); ++row)
      spread_row(row / height, row % height);
    team.barrier();
  });
}

// Writes a row of dx: the pixels that the stride meets from met_.dx, zeros between them.
template <class T>
void SpreadInput<T>::spread_row(int64_t image, int64_t row) const {
  const int64_t* st = c_.dx.strides;
  const int64_t* from_st = met_.dx.strides;
  const int64_t* stride = c_.geometry.stride;
  const int64_t channels = c_.dx.shape[1];
  const int64_t width = c_.dx.shape[3];
  const bool met = row % stride[0] == 0 && row / stride[0] < met_.dx.shape[2];
  const T* from = met_.dx.data + image * from_st[0] + row / stride[0] * from_st[2];
  T* to = c_.dx.data + image * st[0] + row * st[2];
  const int64_t last = met ? met_.dx.shape[3] * stride[1] : 0;
  for (int64_t w = 0; w < width; ++w, to += st[3]) {
    if (w < last && w % stride[1] == 0)
      std::memcpy(to, from + w / stride[1] * channels, channels * sizeof(T));
    else
      std::fill_n(to, channels, T(0));
  }
}

template <class T>
bool PointwiseWeight<T>::pays(const Conv2dBackwardWeight<T>& call) {
  const Conv2dBackwardWeight<T> c = without_skipped(call);
  const int64_t channels = c.x.shape[1];
  const int64_t k = c.dy.shape[1];  // output channels; `channels`: input channels
  // The direct sum reads its operands in place, in strides that miss L1. With few registers it takes longer
  // only where there are many channels.
  const bool fills_tiles = matmul_kernels<T>().many_registers() || k >= 32 || channels >= 256;
  const int64_t least_channels = by_tiles(c.algorithms) ? 32 : 96;  // products by AMX pay from fewer on
  return c.dw.data && channels >= least_channels && fills_tiles &&
         is_pointwise(c.geometry, c.taps[0], c.taps[1], c.dy, c.x);
}

// dy and x: joined, not spread, as x of Pointwise.
template <class T>
PointwiseWeight<T>::PointwiseWeight(const Conv2dBackwardWeight<T>& c, Carver& carver, int threads)
    : dy_(c.dy, 0, carver, /*spread=*/false, /*joined=*/true),
      x_(without_skipped(c).x, 0, carver, /*spread=*/false, /*joined=*/true),
      product_{},
      has_bias_(c.db.data),
      bias_(bias_only(c), carver, threads) {
  const int64_t k = c.dy.shape[1];
  const int64_t channels = c.x.shape[1];
  const int64_t rows = pixels(c.dy);
  product_.a = as_matrix(dy_.data, k, rows, 1, dy_.stride_w);
  product_.b = as_matrix(x_.data, rows, channels, x_.stride_w, 1);
  product_.c = as_matrix(c.dw.data, k, channels, channels, 1);
  if (by_tiles(c.algorithms)) product_.precision = Precision::medium;
  workspace_ = carver.take<char>(static_cast<int64_t>(product_.plan_bytes(threads)));
}

template <class T>
void PointwiseWeight<T>::run(const Team& team) const {
  team.region(cost(product_), [&](const OpenTeam& team) {
    dy_.copy_share(team);
    x_.copy_share(team);
    team.barrier();
    product_.run(team, workspace_);
  });
  if (has_bias_) bias_.run(team);
}

template class SpreadInput<float>;
template class SpreadInput<double>;
template class Pointwise<float>;
template class Pointwise<double>;
template class PointwiseWeight<float>;
template class PointwiseWeight<double>;

}  // namespace ranvier
