// The algorithm is described in scattered.h. A run packs the weights; then each thread takes images, adds the
// products of all pixels of dy to the sums of an image (add_rows()), and copies the sums to dx (copy_out()).
#include "kernels/conv2d/scattered/scattered.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/conv2d/planes/planes.h"

namespace ranvier {

// Compares the estimated time of this algorithm with that of the one that would run instead, planes or the
// direct sum, in products of vectors. This algorithm has for each row of taps and pixel the products and
// kWayOfSums for reading and writing the sums, and a part of packing the weights (kPacked). The constants are
// fitted to measured times.
bool ScatteredInput::pays(const Conv2dBackwardInput<float>& c, const Correlation<float>& problem) {
  constexpr double kWayOfSums = 12, kPacked = 6, kPlanes = 1.3, kStrided = 2, kFewChains = 1.5;
  constexpr int64_t kLeastImages = 4;  // an image is computed by one thread
  // Bytes of an image's sums, which stay in L2. Not the size of this machine's cache: the choice decides in
  // which order the sums are added, so that it has to be the same on every machine.
  constexpr int64_t kMostSums = 512 << 10;
  const Conv2dGeometry& g = c.geometry;
  const int64_t lanes = conv_kernels<float>().lanes;
  const int64_t in = c.dx.shape[1];
  const int64_t out = c.dy.shape[1];
  if (planar_kernels().lanes == 0 || keeps_pixels(problem) || g.groups != 1 || g.dilation[1] != 1 ||
      g.pad[0] < 0 || g.pad[1] < 0)
    return false;
  if (c.dy.shape[0] < kLeastImages || numel(c.dy) == 0) return false;
  const int64_t r = c.w.shape[2];
  const int64_t s = c.w.shape[3];
  const int64_t pixels = c.dy.shape[2] * c.dy.shape[3];
  const int64_t input = c.dx.shape[2] * c.dx.shape[3];
  if ((input + 2 * pixels) * in * static_cast<int64_t>(sizeof(float)) > kMostSums) return false;
  const double packed = kPacked * lanes * out / c.dy.shape[0];  // packed by element, once for all images
  const double scattered = r * ceil_div(s * in, lanes) * (pixels * (out + kWayOfSums) + packed);
  if (is_planar(problem)) return scattered < kPlanes * input * r * s * out * in / lanes;
  if (prefers_dots<float>(out, in, r * s)) return false;
  const bool many_registers = conv_kernels<float>().mr > 6;  // as AVX-512, with tiles of half vectors
  double vectors = ceil_div(in, lanes);                      // of a pixel of dx, in the direct sum
  if (many_registers) vectors = ceil_div(2 * in, lanes) / 2.0;
  const bool strided = g.stride[0] * g.stride[1] > 1 && 2 * in < lanes;  // with few channels
  double factor = 1;  // how much slower the direct sum is than its products
  if (many_registers && strided) factor = kStrided;
  if (!many_registers && in % (2 * lanes) != 0) factor = kFewChains;
  return scattered < factor * pixels * r * s * out * vectors;
}

ScatteredInput::ScatteredInput(const Conv2dBackwardInput<float>& c, const Correlation<float>& problem,
                               Carver& carver, int threads)
    : c_(c),
      lanes_(conv_kernels<float>().lanes),
      out_(c.dy.shape[1]),
      taps_{c.w.shape[2], c.w.shape[3]},
      row_(taps_[1] * c.dx.shape[1]),
      dy_(c.dy, 0, carver),
      pixels_(c.dy.shape[2] * c.dy.shape[3]),
      height_((c.dy.shape[2] - 1) * c.geometry.stride[0] + (taps_[0] - 1) * c.geometry.dilation[0] + 1),
      pitch_(((c.dy.shape[3] - 1) * c.geometry.stride[1] + taps_[1]) * c.dx.shape[1]),
      size_(round_up(height_ * pitch_ + 2 * lanes_, 4 * lanes_)),
      weights_(carver.take<float>(taps_[0] * out_ * padded())),
      dy_at_(carver.take<int64_t>(pixels_)),
      sums_at_(carver.take<int64_t>(pixels_)),
      sums_(carver.take<float>(threads * size_)),
      not_finite_(carver.take<int64_t>(threads)),
      weight_at_(carver.take<int64_t>(threads * row_)),
      direct_(problem, carver, threads) {}

void ScatteredInput::run(const Team& team) const {
  const double products = static_cast<double>(numel(c_.dy)) * taps_[0] * row_;
  team.region(kConvNsPerProduct * products, [&](const OpenTeam& team) {
    prepare(team);
    team.barrier();
    const int64_t images = c_.dy.shape[0];
    for (Chunks c(team, images, Chunks::size(team, images)); c.next() && !interrupted(team);)
      for (int64_t n = c.begin; n < c.end; ++n)
        if (!run_image(team, n)) not_finite_[team.index()] = 1;
    team.barrier();
    if (std::find(not_finite_, not_finite_ + team.size(), 1) == not_finite_ + team.size()) return;
    direct_.run(team);
  });
}

void ScatteredInput::prepare(const OpenTeam& team) const {
  not_finite_[team.index()] = 0;
  dy_.copy_share(team);
  if (team.index() == 0) order_pixels();
  pack_outputs(team);
}

// Packs this thread's share of the weights: for each row of taps panels of two vectors; the last panel may
// have one vector, and is filled up with zeros.
void ScatteredInput::pack_outputs(const OpenTeam& team) const {
  const int64_t* st = c_.w.strides;
  const int64_t channels = c_.dx.shape[1];
  int64_t* const weight_at = weight_at_ + team.index() * row_;
  for (int64_t i = 0, channel = 0, tap = 0; i < row_; ++i) {
    weight_at[i] = channel * st[1] + tap * st[3];
    if (++channel == channels) {
      channel = 0;
      ++tap;
    }
  }
  const Range outputs = even_share(team, out_);
  for (int64_t r = 0; r < taps_[0]; ++r)
    for (int64_t first = 0; first < padded(); first += 2 * lanes_) {
      const int64_t width = std::min(2 * lanes_, padded() - first);
      const int64_t count = std::min(width, row_ - first);
      float* to = weights_ + (r * padded() + first) * out_ + outputs.begin * width;
      for (int64_t k = outputs.begin; k < outputs.end; ++k, to += width) {
        const float* const w = c_.w.data + k * st[0] + r * st[2];
        for (int64_t i = 0; i < count; ++i) to[i] = w[weight_at[first + i]];
        std::fill(to + count, to + width, 0.0f);
      }
    }
}

// Lists where each pixel of dy is, and where its sums begin. A tile reads the sums of all its pixels before
// it stores any, so pixels whose sums overlap must not be in one tile. Such pixels are neighbours in a row,
// so the list takes every turns-th pixel of a row, in `turns` turns.
void ScatteredInput::order_pixels() const {
  const Conv2dGeometry& g = c_.geometry;
  const int64_t turns = ceil_div(padded(), g.stride[1] * c_.dx.shape[1]);
  int64_t at = 0;
  for (int64_t turn = 0; turn < turns; ++turn)
    for (int64_t p = 0; p < c_.dy.shape[2]; ++p)
      for (int64_t q = turn; q < c_.dy.shape[3]; q += turns, ++at) {
        dy_at_[at] = p * dy_.stride_h + q * dy_.stride_w;
        sums_at_[at] = p * g.stride[0] * pitch_ + q * g.stride[1] * c_.dx.shape[1];
      }
}

// Computes dx of one image. Returns false if a sum is not finite: dx is then wrong (see direct_).
bool ScatteredInput::run_image(const OpenTeam& team, int64_t image) const {
  float* const sums = sums_ + team.index() * size_;
  std::fill_n(sums, size_, 0.0f);
  add_rows(dy_.data + image * dy_.stride_n, sums);
  copy_out(sums, image);
  return std::isfinite(planar_kernels().total(sums, size_));
}

// Adds the products of each pixel of dy with each row of taps to the sums of an image.
void ScatteredInput::add_rows(const float* dy, float* sums) const {
  const ConvKernels<float>& kernels = conv_kernels<float>();
  const ConvSegment all{0, 0, out_};
  ConvTile<float> t;
  t.segments = &all;
  t.count = 1;
  t.step_a = 1;
  t.accumulate = true;
  t.fetch = reinterpret_cast<const char*>(dy);
  t.b = weights_;
  for (int64_t r = 0; r < taps_[0]; ++r)
    for (int64_t first = 0; first < padded(); first += 2 * lanes_, t.b += out_ * t.step_b) {
      t.step_b = std::min(2 * lanes_, padded() - first);
      t.columns = static_cast<int>(t.step_b);
      const int64_t tiles = ceil_div(pixels_, kernels.rows(t.step_b));
      const int64_t height = ceil_div(pixels_, tiles);  // pixels are divided evenly
      float* const to = sums + r * c_.geometry.dilation[0] * pitch_ + first;
      for (int64_t at = 0; at < pixels_; at += t.rows) {
        t.rows = static_cast<int>(std::min(height, pixels_ - at));
        for (int i = 0; i < t.rows; ++i) {
          t.a[i] = dy + dy_at_[at + i];
          t.c[i] = to + sums_at_[at + i];
        }
        kernels.tile(t);
      }
    }
}

// Copies the sums, which include the padding, to dx. Pixels of dx beyond the last tap have no sums: they are
// 0.
void ScatteredInput::copy_out(const float* sums, int64_t image) const {
  const int64_t* pad = c_.geometry.pad;
  const int64_t* st = c_.dx.strides;
  const int64_t channels = c_.dx.shape[1];
  // A row of dx is copied whole where its pixels are contiguous, else pixel by pixel.
  const bool dense = st[3] == channels;
  const int64_t pieces = dense ? 1 : c_.dx.shape[3];
  const int64_t piece = dense ? channels * c_.dx.shape[3] : channels;  // elements
  for (int64_t h = 0; h < c_.dx.shape[2]; ++h) {
    const float* from = sums + (h + pad[0]) * pitch_ + pad[1] * channels;
    int64_t left = 0;  // the sums of this row that are not yet copied
    if (h + pad[0] < height_) left = std::max<int64_t>(pitch_ - pad[1] * channels, 0);
    for (int64_t w = 0; w < pieces; ++w) {
      float* const to = c_.dx.data + image * st[0] + h * st[2] + w * st[3];
      const int64_t count = std::min(left, piece);
      if (count > 0) std::memcpy(to, from, count * sizeof(float));
      std::fill(to + count, to + piece, 0.0f);
      from += piece;
      left = std::max<int64_t>(left - piece, 0);
    }
  }
}

}  // namespace ranvier
