// The gradient of conv2d_pool to the weight with few input channels: see lookup.h. For each band of pooled
// rows it makes the tables (quads) of all input channels, and then sums with them.
#include "kernels/conv2d_pool/lookup.h"

#include "kernels/conv2d/direct/weight.h"

namespace ranvier {
namespace {

// The most bytes of the tables of an input channel, which all output channels and taps read, from L1.
constexpr int64_t kSumQuadBytes = 16 << 10;
constexpr int64_t kPixelsOfLookup = 256;  // the fewest pooled pixels of a part

// The output channels of a panel.
int panel_width(int64_t out) {
  const PooledGradientKernels& kernels = pooled_gradient_kernels();
  return out <= kernels.lanes ? kernels.lanes : kernels.quad_vectors * kernels.lanes;
}

}  // namespace

// Compares the times of lookups and of lists, in measured operations for a vector of output channels. For
// each gradient that is not zero (about 60 %), a list takes about eight operations and one for each vector of
// the filter.
bool pooled_lookup_pays(const Conv2dPoolBackwardWeight& call) {
  if (call.window[0] * call.window[1] > 4 || call.x.shape[1] == 0) return false;
  const PooledBlocks blocks(call.x.shape[1], call.taps, call.geometry);
  const int64_t lanes = pooled_gradient_kernels().lanes;
  const double lookups = 1.4 * call.x.shape[1] * call.taps[0] * call.taps[1];
  return lookups < 0.6 * lanes * (blocks.filter() / lanes + 8);
}

PooledLookup::PooledLookup(const Conv2dPoolBackwardWeight& call, Carver& carver, int threads)
    : c_(call),
      out_(call.dy.shape[1]),
      in_(call.x.shape[1]),
      taps_(call.taps[0] * call.taps[1]),
      dy_(call.dy, 0, carver, /*spread=*/false),
      where_(call.where, 0, carver, /*spread=*/false),
      panels_(1, out_, panel_width(out_)) {
  const int64_t n = call.dy.shape[0];
  const int64_t rows = call.dy.shape[2];
  const int64_t columns = call.dy.shape[3];
  pitch_ = reach(1, columns);
  rows_ = std::max<int64_t>(rows, 1);
  // 16: the bytes of a quad.
  while (rows_ > 1 && reach(0, rows_) * pitch_ * 16 > kSumQuadBytes) rows_ = (rows_ + 1) / 2;
  bands_ = ceil_div(rows, rows_);
  height_ = reach(0, rows_);
  parts_ = partial_sums(n * rows * columns, n * bands_, kPixelsOfLookup);
  sums_ = carver.take<float>(parts_ * panels_.count() * taps_ * in_ * panels_.width);
  bias_sums_ = carver.take<float>(parts_ * panels_.count() * panels_.width);
  scratch_ = TeamScratch([&](Carver& c) { take_scratch(c); }, carver, threads);
}

PooledLookup::Scratch PooledLookup::take_scratch(Carver& carver) const {
  const int64_t lanes = pooled_gradient_kernels().lanes;
  return {carver.take<float>((height_ + 1) * (pitch_ + lanes)),
          carver.take<float>(4 * in_ * (height_ * pitch_ + lanes))};
}

PooledLookup::Band PooledLookup::band(int64_t i) const {
  const int64_t row = i % bands_ * rows_;
  return {i / bands_, row, std::min(rows_, c_.dy.shape[2] - row)};
}

float* PooledLookup::sums(int64_t part, int64_t panel) const {
  return sums_ + (part * panels_.count() + panel) * taps_ * in_ * panels_.width;
}

void PooledLookup::run(const Team& team) const {
  team.region(kConvNsPerProduct * static_cast<double>(numel(c_.dy)) * (in_ * taps_ + 4),
              [&](const OpenTeam& team) {
                dy_.copy_share(team);
                where_.copy_share(team);
                team.barrier();
                for_my_parts(team, parts_, panels_.count(),
                             [&](int64_t part, Range panels) { accumulate_part(team, part, panels); });
                team.barrier();
                combine_parts(team, panels_, parts_, in_, taps_, sums_, bias_sums_, c_.dw, c_.db);
                team.barrier();
              });
}

// Computes the sums of a part, some bands of all images, for some panels of output channels.
void PooledLookup::accumulate_part(const OpenTeam& team, int64_t part, Range panels) const {
  Carver own = scratch_.of(team.index());
  const Scratch s = take_scratch(own);
  const int64_t count = panels.end - panels.begin;
  const int64_t all = c_.dy.shape[0] * bands_;
  std::fill_n(sums(part, panels.begin), count * taps_ * in_ * panels_.width, 0.0f);
  std::fill_n(bias_sums_ + (part * panels_.count() + panels.begin) * panels_.width, count * panels_.width,
              0.0f);
  for (int64_t i = all * part / parts_; i < all * (part + 1) / parts_; ++i) {
    const Band b = band(i);
    make_quads(b, s);
    for (int64_t panel = panels.begin; panel < panels.end; ++panel) add_band(job(b, panel, s), part, panel);
  }
}

// Makes the tables of all input channels for a band: see PooledQuads.
void PooledLookup::make_quads(const Band& band, const Scratch& s) const {
  const Conv2dGeometry& g = c_.geometry;
  int64_t at[4] = {};
  for (int e = 0; e < c_.window[0] * c_.window[1]; ++e)
    at[e] = e / c_.window[1] * g.stride[0] * pitch_ + e % c_.window[1] * g.stride[1];
  // Quads are needed up to the first element of the last window.
  const int64_t positions = reach(0, band.rows) * pitch_ - at[c_.window[0] * c_.window[1] - 1];
  for (int64_t c = 0; c < in_; ++c) {
    copy_plane(c, band, s.plane);
    pooled_gradient_kernels().make_quads(
        s.plane, at, positions, s.quads + c * 4 * (height_ * pitch_ + pooled_gradient_kernels().lanes));
  }
}

// Copies the rows of an input channel that a band reads, with zeros as padding.
void PooledLookup::copy_plane(int64_t channel, const Band& band, float* plane) const {
  const TensorView<const float>& x = c_.x;
  const Conv2dGeometry& g = c_.geometry;
  const int64_t y0 = band.row * c_.window[0] * g.stride[0] - g.pad[0];
  const int64_t x0 = -g.pad[1];
  const int64_t step = x.strides[3];
  const int64_t begin = std::min(g.pad[1], pitch_);
  const int64_t end = std::clamp<int64_t>(x.shape[3] - x0, begin, pitch_);
  for (int64_t y = y0; y < y0 + height_; ++y, plane += pitch_) {
    if (y < 0 || y >= x.shape[2]) {
      std::fill_n(plane, pitch_, 0.0f);
      continue;
    }
    const float* from = x.data + band.image * x.strides[0] + channel * x.strides[1] + y * x.strides[2];
    std::fill_n(plane, begin, 0.0f);
    if (step == 1)
      std::copy(from, from + (end - begin), plane + begin);
    else
      for (int64_t i = begin; i < end; ++i) plane[i] = from[(i - begin) * step];
    std::fill(plane + end, plane + pitch_, 0.0f);
  }
}

// The arguments of sum_quads for a band and a panel of output channels.
PooledQuads PooledLookup::job(const Band& band, int64_t panel, const Scratch& s) const {
  const Conv2dGeometry& g = c_.geometry;
  const int64_t k = panels_.first(panel);
  const int64_t lanes = pooled_gradient_kernels().lanes;
  PooledQuads q{};
  q.dy = dy_.pixel(band.image, band.row, 0) + k;
  q.dy_row = dy_.stride_h;
  q.dy_column = dy_.stride_w;
  q.where = where_.pixel(band.image, band.row, 0) + k;
  q.where_row = where_.stride_h;
  q.where_column = where_.stride_w;
  q.quads = s.quads;
  q.quads_row = 4 * c_.window[0] * g.stride[0] * pitch_;
  q.quads_column = 4 * c_.window[1] * g.stride[1];
  q.rows = band.rows;
  q.columns = c_.dy.shape[3];
  q.elements = static_cast<int>(c_.window[0] * c_.window[1]);
  const int64_t left = panels_.columns(panel);
  q.vectors = static_cast<int>(ceil_div(left, lanes));
  q.last = static_cast<int>(left - (q.vectors - 1) * lanes);
  return q;
}

// Adds the products of a band to the sums of a part and panel: some taps and input channels at a time,
// divided as evenly as possible.
void PooledLookup::add_band(PooledQuads q, int64_t part, int64_t panel) const {
  const Conv2dGeometry& g = c_.geometry;
  const int64_t all = taps_ * in_;
  const int64_t most = ceil_div(all, ceil_div(all, pooled_gradient_kernels().quad_taps));
  const int64_t plane = 4 * (height_ * pitch_ + pooled_gradient_kernels().lanes);
  q.bias = bias_sums_ + (part * panels_.count() + panel) * panels_.width;
  for (int64_t first = 0; first < all; first += most, q.bias = nullptr) {
    q.taps = static_cast<int>(std::min(most, all - first));
    for (int i = 0; i < q.taps; ++i) {
      const int64_t c = (first + i) / taps_;
      const int64_t tap = (first + i) % taps_;
      const int64_t r = tap / c_.taps[1];
      const int64_t s = tap % c_.taps[1];
      q.tap[i] = c * plane + 4 * (r * g.dilation[0] * pitch_ + s * g.dilation[1]);
      q.sum[i] = sums(part, panel) + (tap * in_ + c) * panels_.width;
    }
    pooled_gradient_kernels().sum_quads(q);
  }
}

}  // namespace ranvier
