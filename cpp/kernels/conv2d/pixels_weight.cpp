#include "kernels/conv2d/pixels_weight.h"

#include <algorithm>

#include "kernels/conv2d/correlate.h"
#include "kernels/conv2d/planar_tile.h"

namespace ranvier {
namespace {

constexpr int64_t kPixelsOfPart = 768;
constexpr int64_t kChunkElements = 8 << 10;  // of x and dy: they stay in L1 for all channels

struct PixelView {
  const float* data;
  int64_t channels;
};

// sums (narrow, wide) += the products of `count` pixels from `first` on. narrow may have no channels: one
// vector for all pixels, and one row of sums.
void add_products(const PixelView& wide, const PixelView& narrow, int64_t first, int64_t count, float* sums) {
  const int64_t lanes = planar_kernels().lanes, rows = std::max<int64_t>(narrow.channels, 1);
  PixelProducts t{};
  t.narrow = narrow.data + first * narrow.channels;
  t.wide_step = t.step = wide.channels, t.narrow_step = narrow.channels, t.pixels = count;
  t.width = static_cast<int>(std::min(wide.channels, lanes)), t.together = static_cast<int>(lanes / t.width);
  for (int64_t block = 0; block < wide.channels; block += lanes) {
    const int64_t at = std::min(block, wide.channels - t.width);  // the last block overlaps the one before it
    t.wide = wide.data + first * wide.channels + at, t.skip = static_cast<int>(block - at);
    for (int64_t row = 0; row < rows; row += kMostNarrow) {
      t.first = static_cast<int>(row), t.count = static_cast<int>(std::min<int64_t>(rows - row, kMostNarrow));
      t.sums = sums + row * wide.channels + at;
      planar_kernels().pixel_products(t);
    }
  }
}

}  // namespace

bool PixelWeight::pays(const Conv2dBackwardWeight<float>& c) {
  const int64_t lanes = planar_kernels().lanes, in = c.x.shape[1], out = c.dy.shape[1];
  const int64_t narrow = std::min(in, out), wide = std::max(in, out);
  if (lanes == 0 || c.geometry.groups != 1 || c.taps[0] != 1 || c.taps[1] != 1 || narrow == 0) return false;
  for (int d = 0; d < 2; ++d)
    if (c.geometry.stride[d] != 1 || c.geometry.pad[d] != 0 || c.x.shape[2 + d] != c.dy.shape[2 + d])
      return false;
  // With more channels, tiles of channels have enough chains.
  const int64_t most = wide <= lanes ? 8 : wide <= 2 * lanes ? 2 : 0;
  return narrow <= most && is_dense(c.x) && is_dense(c.dy);
}

PixelWeight::PixelWeight(const Conv2dBackwardWeight<float>& c, Carver& carver)
    : c_(c),
      in_(c.x.shape[1]),
      out_(c.dy.shape[1]),
      pixels_(c.dy.shape[0] * c.dy.shape[2] * c.dy.shape[3]),
      parts_(partial_sums(pixels_, kPixelsOfPart, pixels_)),
      chunk_(std::max<int64_t>(kChunkElements / (in_ + out_), 64)),
      sums_(carver.take<float>(parts_ * in_ * out_)),
      bias_sums_(carver.take<float>(parts_ * out_)),
      ones_(carver.take<float>(planar_kernels().lanes)) {}

void PixelWeight::run(const Team& team) const {
  constexpr double kNsPerElement = 0.1;
  const double products = c_.dw.data ? static_cast<double>(pixels_) * in_ * out_ : 0;
  const double ns =
      kConvNsPerProduct * products + kNsPerElement * static_cast<double>(pixels_) * (in_ + out_);
  team.region(ns, [&](const OpenTeam& team) {
    if (team.index() == 0) std::fill_n(ones_, planar_kernels().lanes, 1.0f);
    team.barrier();
    for_my_parts(team, parts_, 1, [&](int64_t part, Range) { accumulate(team, part); });
    team.barrier();
    if (team.index() == 0) combine();
    team.barrier();
  });
}

void PixelWeight::accumulate(const OpenTeam& team, int64_t part) const {
  float *const sums = sums_ + part * in_ * out_, *const bias_sums = bias_sums_ + part * out_;
  std::fill_n(sums, in_ * out_, 0.0f);
  std::fill_n(bias_sums, out_, 0.0f);
  const PixelView x{c_.x.data, in_}, dy{c_.dy.data, out_};
  const int64_t end = pixels_ * (part + 1) / parts_;
  for (int64_t p = pixels_ * part / parts_; p < end && !interrupted(team); p += chunk_) {
    const int64_t count = std::min(chunk_, end - p);
    if (c_.dw.data) add_products(in_ < out_ ? dy : x, in_ < out_ ? x : dy, p, count, sums);
    if (c_.db.data) add_products(dy, {ones_, 0}, p, count, bias_sums);
  }
}

void PixelWeight::combine() const {
  const int64_t size = in_ * out_;
  if (c_.dw.data && in_ >= out_) add_partials(sums_, parts_, size, size, c_.dw.data, 1);
  for (int64_t c = 0; c_.dw.data && in_ < out_ && c < in_; ++c)
    add_partials(sums_ + c * out_, parts_, size, out_, c_.dw.data + c, in_);
  if (c_.db.data) add_partials(bias_sums_, parts_, out_, out_, c_.db.data, c_.db.strides[0]);
}

}  // namespace ranvier
