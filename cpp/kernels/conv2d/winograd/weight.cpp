// The gradient to the weight by Winograd's algorithm (weight.h; the formula is in pairs.h). The tiles are
// divided into parts, each of which has separate sums. A thread takes some panels of output channels of a
// part, and the tiles of the part block by block: it transforms inputs to v and gradients to d, where an
// element is a pair of tiles, and adds their 16 matrix products to m.
//
//   v [16][pair][channel]   d [16][pair][output]   m [16][panel][channel][width]
#include "kernels/conv2d/winograd/weight.h"

#include <algorithm>

#include "base/precision.h"
#include "kernels/conv2d/direct/weight.h"
#include "kernels/conv2d/winograd/pairs.h"

namespace ranvier {
namespace {

constexpr int64_t kSumBlockBytes = 512 << 10;  // bytes of a block's transformed factors, which stay in L2
constexpr int64_t kLeastPairs = 64;  // the fewest pairs of a block: fewer would not pay for loading the sums
constexpr int64_t kPixelsOfPart = 2048;  // the fewest output pixels of a part
constexpr int64_t kTilesAhead = 16;      // how many tiles ahead pooled gradients are prefetched

// The tiles of 2 x 2 outputs along an axis of dy; an element of a pooled dy is one tile.
int64_t tiles_along(const WinogradWeightCall& call, int64_t size) {
  return call.where.data ? size : ceil_div(size, 2);
}

}  // namespace

bool winograd_weight_pays(const ConvAlgorithms& algorithms, const Conv2dGeometry& g, const int64_t (&taps)[2],
                          const WinogradWeightCall& c) {
  // The unit of these times is one multiply-add of pairs. The alternative for gradients at maxima (`where`)
  // sums over the maxima alone, a quarter of the pixels, and takes longer for each (kOfMaxima).
  constexpr double kTile = 4000, kVector = 800, kSums = 800, kOfMaxima = 16;
  constexpr int64_t kLeast = 16;
  const int64_t in = c.x.shape[1];
  const int64_t out = c.dy.shape[1];
  if (!algorithms.has(ConvAlgorithm::medium) || !algorithms.has(ConvAlgorithm::winograd)) return false;
  if (!has_bfloat16() || !c.dw.data || in < kLeast || out < kLeast) return false;
  if (!g.is_winograds(taps[0], taps[1])) return false;
  const double products = static_cast<double>(in) * out;
  double tiles = static_cast<double>(c.dy.shape[0]);
  double others = kOfMaxima * products * tiles;
  for (int d = 0; d < 2; ++d) {
    const int64_t size = c.dy.shape[2 + d];
    const int64_t used_taps = winograd_used_taps(size, c.x.shape[2 + d], c.pad[d]);
    tiles *= c.where.data ? size : ceil_div(size, 2);  // an element of a pooled dy is a tile
    others *= c.where.data ? size : used_taps;
  }
  if (!c.where.data) others /= 2 * kOfMaxima;  // the direct sum of pairs: two products at once
  const int64_t vectors = ceil_div(in, kWinogradLine) + ceil_div(out, kWinogradLine);
  return others > tiles * (8 * products + kTile + kVector * vectors) + kSums * products;
}

WinogradWeight::WinogradWeight(const WinogradWeightCall& call, Carver& carver, int threads)
    : c_(call),
      in_(call.x.shape[1]),
      rows_(tiles_along(call, call.dy.shape[2])),
      columns_(tiles_along(call, call.dy.shape[3])),
      tiles_(call.dy.shape[0] * rows_ * columns_),
      panels_(1, call.dy.shape[1]),
      x_(call.x, 0, carver, /*spread=*/false),
      dy_(call.dy, 0, carver, /*spread=*/false),
      where_(call.where, 0, carver, /*spread=*/false) {
  const int64_t pairs = ceil_div(tiles_, 2);
  const int64_t outputs = panels_.count() * panels_.width;
  parts_ = partial_sums(8 * pairs, pairs, kPixelsOfPart);
  v_stride_ = ceil_div(in_, kWinogradLine) * kWinogradLine;
  d_stride_ = outputs;
  const int64_t pair_bytes =
      kWinogradProducts * (v_stride_ + d_stride_) * static_cast<int64_t>(sizeof(float));
  block_ = std::min(std::max(kSumBlockBytes / pair_bytes, kLeastPairs), std::max<int64_t>(pairs, 1));
  panel_size_ = in_ * panels_.width;
  v_plane_ = winograd_plane(block_ * v_stride_);
  d_plane_ = winograd_plane(block_ * d_stride_);
  m_plane_ = winograd_plane(panels_.count() * panel_size_);
  sums_ = carver.take<float>(parts_ * panels_.count() * 9 * panel_size_);
  bias_sums_ = carver.take<float>(parts_ * outputs);
  zeros_ = carver.take<float>(std::max(in_, outputs));
  Carver one(nullptr);
  take_scratch(one);
  scratch_bytes_ = static_cast<int64_t>(one.used());
  scratch_ = carver.take<char>(scratch_bytes_ * threads);
}

WinogradWeight::Scratch WinogradWeight::take_scratch(Carver& carver) const {
  return {carver.take<float>(kWinogradProducts * v_plane_), carver.take<float>(kWinogradProducts * d_plane_),
          carver.take<float>(kWinogradProducts * m_plane_)};
}

void WinogradWeight::run(const Team& team) const {
  const double products = static_cast<double>(tiles_) * kWinogradProducts * in_ * c_.dy.shape[1] / 2;
  team.region(kConvNsPerProduct * products, [&](const OpenTeam& team) {
    const TileScope scope;
    if (team.index() == 0) std::fill_n(zeros_, std::max(in_, panels_.count() * panels_.width), 0.0f);
    x_.copy_share(team);
    dy_.copy_share(team);
    where_.copy_share(team);
    team.barrier();
    for_my_parts(team, parts_, panels_.count(),
                 [&](int64_t part, Range panels) { accumulate_part(team, part, panels); });
    team.barrier();
    combine_parts(team, panels_, parts_, in_, 9, sums_, bias_sums_, c_.dw, c_.db);
    team.barrier();
  });
}

// Computes the sums of a part for some panels: adds the products of all blocks of pairs to m, then transforms
// m to sums of dw.
void WinogradWeight::accumulate_part(const OpenTeam& team, int64_t part, Range panels) const {
  Carver own(scratch_ + team.index() * scratch_bytes_);
  const Scratch s = take_scratch(own);
  const int64_t first = panels.begin * panel_size_;
  const int64_t size = (panels.end - panels.begin) * panel_size_;
  for (int64_t i = 0; i < kWinogradProducts; ++i) std::fill_n(s.m + i * m_plane_ + first, size, 0.0f);
  float* bias = bias_sums(part);
  std::fill(bias + panels.begin * panels_.width, bias + panels.end * panels_.width, 0.0f);
  const Range all = ranvier::part({0, ceil_div(tiles_, 2)}, part, parts_);
  for (int64_t at = all.begin; at < all.end && !interrupted(team); at += block_) {
    const Range pairs{at, std::min(at + block_, all.end)};
    transform(pairs, panels, bias, s);
    add_products(pairs.end - pairs.begin, panels, s);
  }
  for (int64_t panel = panels.begin; panel < panels.end; ++panel)
    winograd_weight_sums({s.m + panel * panel_size_, m_plane_, panel_size_, sums(part, panel), panel_size_});
}

// Transforms some pairs of tiles: all channels of the input to v, and the gradients of the outputs of some
// panels to d.
void WinogradWeight::transform(Range pairs, Range panels, float* bias, const Scratch& s) const {
  const int64_t first = panels_.first(panels.begin);
  const float* other[kWinogradProducts];
  WinogradInput input;
  input.channels = in_;
  input.v = s.v;
  input.plane = v_plane_;
  WinogradGradient gradient{};
  gradient.channels = panels_.first(panels.end - 1) + panels_.columns(panels.end - 1) - first;
  gradient.v = s.d + first;
  gradient.plane = d_plane_;
  gradient.bias = bias + first;
  for (int64_t pair = pairs.begin; pair < pairs.end; ++pair, input.v += v_stride_, gradient.v += d_stride_) {
    for (int half = 0; half < 2; ++half) {
      const int64_t tile = 2 * pair + half;
      const int64_t column = tile % columns_;
      const int64_t row = tile / columns_ % rows_;
      const int64_t image = tile / columns_ / rows_;
      const bool exists = tile < tiles_;
      const float** pixel = half ? other : input.pixel;
      if (exists)
        winograd_pixels(x_, c_.x.shape, zeros_, image, 2 * row - c_.pad[0], 2 * column - c_.pad[1], pixel);
      else
        std::fill_n(pixel, kWinogradProducts, zeros_);
      // The 2 x 2 pixels of dy in the tile, or one pixel of a pooled dy.
      const int64_t pixels = c_.where.data ? 1 : 4;
      const int64_t step = c_.where.data ? 1 : 2;
      const int64_t ahead = c_.where.data ? kTilesAhead * dy_.stride_w : 2 * dy_.stride_h;
      for (int i = 0; i < pixels; ++i) {
        const int64_t y = step * row + i / 2;
        const int64_t x = step * column + i % 2;
        const bool inside = exists && y < c_.dy.shape[2] && x < c_.dy.shape[3];
        const float* dy = dy_.pixel(image, y, x) + first;
        gradient.dy[half][i] = inside ? dy : zeros_;
        for (int64_t k = 0; k < gradient.channels; k += kWinogradLine) __builtin_prefetch(dy + ahead + k);
      }
      if (!c_.where.data) continue;
      const auto* nowhere = reinterpret_cast<const uint8_t*>(zeros_);
      gradient.where[half] = exists ? where_.pixel(image, row, column) + first : nowhere;
      __builtin_prefetch(gradient.where[half] + ahead);
    }
    winograd_tiles(input, other);
    if (c_.where.data) {
      winograd_pooled(gradient, /*tiles=*/true);
    } else {
      winograd_gradient_tiles(gradient);
    }
  }
}

// m[product][panel][channel][output] += the sums over pairs of v times d.
void WinogradWeight::add_products(int64_t pairs, Range panels, const Scratch& s) const {
  const ConvKernels<float>& kernels = conv_kernels<float>();
  const ConvSegment segment{0, 0, pairs};
  const auto tile = tile_of<float>(/*pairs=*/true);
  ConvTile<float> t;
  t.segments = &segment;
  t.count = 1;
  t.step_a = v_stride_;
  t.step_b = d_stride_;
  t.row_step = 1;
  t.consecutive = true;
  t.accumulate = true;
  // Channels are divided evenly into the fewest tiles, of even numbers of rows.
  const int64_t fewest_tiles = ceil_div(in_, kernels.mr);
  const int64_t height = ceil_div(ceil_div(in_, fewest_tiles), 2) * 2;
  for (int64_t product = 0; product < kWinogradProducts; ++product)
    for (int64_t panel = panels.begin; panel < panels.end; ++panel) {
      t.b = s.d + product * d_plane_ + panels_.first(panel);
      t.columns = static_cast<int>(ceil_div(panels_.columns(panel), kernels.lanes) * kernels.lanes);
      for (int64_t row = 0; row < in_; row += t.rows) {
        t.rows = static_cast<int>(std::min(height, in_ - row));
        for (int i = 0; i < t.rows; ++i) {
          t.a[i] = s.v + product * v_plane_ + row + i;
          t.c[i] = s.m + product * m_plane_ + panel * panel_size_ + (row + i) * panels_.width;
        }
        const int rows = t.rows;
        tile(t);
        t.rows = rows;  // the kernel may have lengthened it
      }
    }
}

}  // namespace ranvier
