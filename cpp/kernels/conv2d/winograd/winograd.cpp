// The order in which Winograd's algorithm (winograd.h) is computed. A thread takes a block of tiles,
// transforms their inputs to v, and multiplies these by a group of panels of transformed weights u, which
// gives the products m:
//
//   v [16][tile][c]   u [16][panel][c][width]   m [16][tile][o]   (the formula is in winograd.h)
//
// A WinogradSink then transforms m to outputs and stores these. A panel is `width` output channels.
#include "kernels/conv2d/winograd/winograd.h"

#include <algorithm>

#include "base/caches.h"
#include "kernels/conv2d/direct/runs.h"
#include "kernels/conv2d/planes/planes.h"
#include "kernels/conv2d/winograd/pairs.h"
#include "kernels/matmul/pairs.h"

namespace ranvier {
namespace {

constexpr int64_t kMinBlock = 56;  // the fewest tiles of a block, for each load of a weight
constexpr int64_t kGroupColumns = kMostPatchChannels;  // the most output channels of a group of panels
constexpr int64_t kPackedChannels = 32;  // a run: input channels whose weights are transformed together

constexpr int64_t kLine = kWinogradLine;

// The distance in v or m from one tile to the next, in elements: whole cache lines, and not a multiple of
// eight lines, as such tiles would share few sets of the cache.
int64_t row_stride(int64_t elements) {
  int64_t lines = ceil_div(elements, kLine);
  if (lines % 8 == 0) ++lines;
  return lines * kLine;
}

// True if transformed inputs and weights are rounded to bfloat16, and multiplied as pairs.
bool rounds(const Correlation<float>& p) { return pays_in_pairs(p.algorithms, p.x.shape[1], p.y.shape[1]); }

// The padding before the first row (d = 0) or column (d = 1). A gradient to the input has flipped taps, and
// so other padding.
int64_t first_pad(const Correlation<float>& p, int d) {
  return p.transposed ? 2 - p.geometry.pad[d] : p.geometry.pad[d];
}

}  // namespace

int64_t winograd_used_taps(int64_t out, int64_t in, int64_t pad) {
  int64_t count = 0;
  for (int64_t tap = 0; tap < 3; ++tap) {
    // Output o and this tap meet input o + tap - pad, which must be in [0, in).
    const int64_t begin = std::max<int64_t>(pad - tap, 0);
    const int64_t end = std::min(out, in + pad - tap);
    count += std::max<int64_t>(end - begin, 0);
  }
  return count;
}

void winograd_pixels(const PixelRows<float>& x, const int64_t* shape, const float* zeros, int64_t image,
                     int64_t row, int64_t column, const float** pixel) {
  const float* first = x.pixel(image, row, column);
  const bool whole = row >= 0 && row + 4 <= shape[2] && column >= 0 && column + 4 <= shape[3];
  for (int i = 0; i < 4; ++i)
    for (int j = 0; j < 4; ++j) pixel[4 * i + j] = first + i * x.stride_h + j * x.stride_w;
  for (int i = 0; !whole && i < 16; ++i) {
    const int64_t y = row + i / 4;
    const int64_t at = column + i % 4;
    if (y < 0 || y >= shape[2] || at < 0 || at >= shape[3]) pixel[i] = zeros;
  }
  const float* below = first + 4 * x.stride_h + x.stride_w;
  for (int64_t c = 0; c < shape[1]; c += kLine) {
    __builtin_prefetch(below + c, 0, 2);
    __builtin_prefetch(below + c + x.stride_w, 0, 2);
    __builtin_prefetch(below + c + x.stride_h, 0, 2);
    __builtin_prefetch(below + c + x.stride_h + x.stride_w, 0, 2);
  }
}

// Sets where the four classes of tiles begin: see of_product().
WinogradTiles::WinogradTiles(int64_t images, int64_t height, int64_t width) : height_(height), width_(width) {
  const int64_t rows = height / 2;
  const int64_t columns = width / 2;
  const int64_t below = height % 2;
  const int64_t right = width % 2;
  first_[0] = 0;
  first_[1] = first_[0] + images * rows * right;
  first_[2] = first_[1] + images * rows * columns;
  first_[3] = first_[2] + images * below * columns;
  first_[4] = first_[3] + images * below * right;
}

WinogradTiles::Tile WinogradTiles::operator[](int64_t index) const {
  const int64_t rows = height_ / 2;
  const int64_t columns = width_ / 2;
  if (index < first_[1]) return {index / rows, index % rows * 2, width_ - 1};
  if (index < first_[2]) {
    const int64_t whole_tile = index - first_[1];
    const int64_t row = whole_tile / columns;  // of tiles, of all images
    return {row / rows, row % rows * 2, whole_tile % columns * 2};
  }
  if (index < first_[3]) {
    const int64_t low_tile = index - first_[2];
    return {low_tile / columns, height_ - 1, low_tile % columns * 2};
  }
  return {index - first_[3], height_ - 1, width_ - 1};
}

Winograd::Winograd(const Correlation<float>& p, const WinogradBands& bands, Carver& carver, int threads,
                   const TensorView<const uint8_t>& where)
    : p_(p),
      bands_(bands),
      tiles_(p.y.shape[0] * bands.count, bands.height, p.y.shape[3]),
      unit_(bands.whole ? tiles_.count() / (p.y.shape[0] * bands.count) : 1),
      in_(p.x.shape[1]),
      out_(p.y.shape[1]),
      pairs_(rounds(p)),
      steps_(pairs_ ? in_ / 2 : in_),
      pad_{first_pad(p, 0), first_pad(p, 1)},
      panels_(1, out_),
      x_(p.x, 0, carver),
      where_(where, 0, carver, /*spread=*/false),
      pooled_(where.data) {
  const int64_t panel = in_ * panels_.width;
  group_ = std::min<int64_t>(kGroupColumns / panels_.width, panels_.count());
  v_stride_ = row_stride(steps_);
  m_stride_ = row_stride(group_ * panels_.width);
  const int64_t tile_bytes =
      kWinogradProducts * (v_stride_ + m_stride_) * static_cast<int64_t>(sizeof(float));
  const int64_t mr = conv_kernels<float>().mr;
  const int64_t block_bytes = caches.l2 / 2;  // bytes of transformed inputs and products in a block
  block_ = std::min(std::max(block_bytes / tile_bytes, kMinBlock) / mr * mr, tiles_.count());
  block_ = std::max(block_ / unit_ * unit_, unit_);
  u_plane_ = winograd_plane(panels_.count() * panel);
  v_plane_ = winograd_plane(block_ * v_stride_);
  m_plane_ = winograd_plane(block_ * m_stride_);
  u_ = p.packed_w ? const_cast<float*>(p.packed_w) : carver.take<float>(packed_size());
  v_ = carver.take<float>(threads * kWinogradProducts * v_plane_);
  m_ = carver.take<float>(threads * kWinogradProducts * m_plane_);
  zeros_ = carver.take<float>(in_);
  segments_ = carver.take<ConvSegment>(segments_of_run(steps_));
  spare_ = carver.take<float>(threads * m_stride_);
  ordered_ = carver.take<float>(threads * 9 * kPackedChannels * panels_.width);
  const int64_t wide = pairs_ ? threads * kWinogradProducts * kPackedChannels * panels_.width : 0;
  wide_ = carver.take<float>(wide);
  const bool copies_bias = p.bias.data && p.bias.strides[0] != 1;
  bias_ = carver.take<float>(copies_bias ? out_ : 0);
}

namespace {

// The sink that stores the outputs to y.
class ToOutput final : public WinogradSink {
 public:
  ToOutput(const Winograd& from, const TensorView<float>& y, float* spare)
      : from_(from), y_(y), spare_(spare) {}

  void take(const OpenTeam& team, const WinogradBlock& block, WinogradSums sums) const override {
    const int64_t* st = y_.strides;
    const int64_t first = from_.first_channel(block);
    float* spare = spare_ + team.index() * from_.tile_step();
    float* to[4];
    for (int64_t index = block.tiles.begin; index < block.tiles.end; ++index, sums.m += from_.tile_step()) {
      const WinogradTiles::Tile tile = from_.tile(index);
      float* y = y_.data + tile.image * st[0] + tile.row * st[2] + tile.column * st[3] + first;
      for (int i = 0; i < 2; ++i)
        for (int j = 0; j < 2; ++j) {
          const bool inside = tile.row + i < y_.shape[2] && tile.column + j < y_.shape[3];
          to[2 * i + j] = inside ? y + i * st[2] + j * st[3] : spare;
        }
      winograd_kernels().output(sums, to);
    }
  }

 private:
  const Winograd& from_;
  const TensorView<float>& y_;
  float* spare_;  // for each thread a pixel, for outputs outside y
};

}  // namespace

void Winograd::run(const Team& team) const { run(team, ToOutput(*this, p_.y, spare_)); }

void Winograd::run(const Team& team, const WinogradSink& sink) const {
  const double products = static_cast<double>(tiles_.count()) * kWinogradProducts * in_ * out_;
  team.region(kConvNsPerProduct * products, [&](const OpenTeam& team) {
    const TileScope scope;
    prepare(team);
    team.barrier();
    compute(team, sink);
    team.barrier();
  });
}

void Winograd::prepare(const OpenTeam& team) const {
  if (team.index() == 0) {
    std::fill_n(zeros_, in_, 0.0f);
    const int64_t chain = pairs_ ? kOneChain : kConvChain;
    ConvRuns runs{segments_, 1, panels_.width, chain};
    runs.add({0, 0, steps_});
    if (p_.bias.data && p_.bias.strides[0] != 1)
      for (int64_t k = 0; k < out_; ++k) bias_[k] = p_.bias.data[k * p_.bias.strides[0]];
  }
  x_.copy_share(team);
  where_.copy_share(team);
  if (!p_.packed_w && !packs_late(team)) pack_weights(team);
}

// Copies the weights of a panel and some input channels to ordered[tap][c][o], with zeros for o beyond the
// last output channel. Where transposed, input and output channels are exchanged; and the taps are flipped,
// except for pooled gradients, whose patches (pairs.h) need them as they are.
void Winograd::order(int64_t panel, int64_t channel, int64_t channels, float* ordered) const {
  const int64_t* st = p_.w.strides;
  const int64_t first = panels_.first(panel);
  const int64_t columns = panels_.columns(panel);
  const int64_t width = panels_.width;
  const int64_t stride_o = st[p_.transposed];
  const int64_t stride_c = st[!p_.transposed];
  const float* w = p_.w.data + first * stride_o + channel * stride_c;
  const bool flipped = p_.transposed && !pooled_;
  if (st[3] == 1 && st[2] == 3) {
    conv_kernels<float>().pack_panel({w, stride_o, stride_c, channels, 9, static_cast<int>(columns),
                                      static_cast<int>(width), flipped, ordered});
    return;
  }
  for (int64_t t = 0; t < 9; ++t) {
    const int64_t tap = flipped ? 8 - t : t;
    const int64_t at = tap / 3 * st[2] + tap % 3 * st[3];
    for (int64_t c = 0; c < channels; ++c)
      for (int64_t o = 0; o < width; ++o) {
        *ordered = o < columns ? w[o * stride_o + c * stride_c + at] : 0;
        ++ordered;
      }
  }
}

// Transforms the weights of a panel for one run of input channels, to the place of panel `slot` in u.
void Winograd::pack(const OpenTeam& team, int64_t panel, int64_t run, int64_t slot) const {
  float* ordered = ordered_ + team.index() * 9 * kPackedChannels * panels_.width;
  const int64_t channel = run * kPackedChannels;
  const int64_t channels = std::min(kPackedChannels, in_ - channel);
  order(panel, channel, channels, ordered);
  const int64_t width = panels_.width;
  const int64_t size = channels * width;
  if (!pairs_)
    return winograd_kernels().weights({ordered, size, u_ + (slot * in_ + channel) * width, u_plane_});
  float* wide = wide_ + team.index() * kWinogradProducts * kPackedChannels * width;
  winograd_kernels().weights({ordered, size, wide, size});
  for (int i = 0; i < kWinogradProducts; ++i)
    medium_kernels().pack(channels / 2, static_cast<int>(width), static_cast<int>(width), wide + i * size,
                          /*rs=*/2 * width, /*cs=*/1,
                          u_ + i * u_plane_ + (slot * steps_ + channel / 2) * width, /*missing=*/0);
}

void Winograd::pack_weights(const OpenTeam& team) const {
  const int64_t runs = ceil_div(in_, kPackedChannels);
  const Range share = even_share(team, panels_.count() * runs);
  for (int64_t item = share.begin; item < share.end; ++item)
    pack(team, item / runs, item % runs, item / runs);
}

int64_t Winograd::across(int64_t threads) const {
  return threads_across(threads, panels_.count(), tiles_.count(), 2 * conv_kernels<float>().mr);
}

// True if each thread transforms the weights of a panel just before its products. That pays where no weight
// is used twice and L2 does not hold all of them: otherwise the transformed weights would go to memory and
// back.
bool Winograd::packs_late(const OpenTeam& team) const {
  return !p_.packed_w && tiles_.count() <= block_ && across(team.size()) == team.size() &&
         packed_size() * static_cast<int64_t>(sizeof(float)) > caches.l2 / 2;
}

// Computes this thread's tiles. Where there are few tiles, several threads (`across`) take the same tiles and
// divide the panels.
void Winograd::compute(const OpenTeam& team, const WinogradSink& sink) const {
  const int64_t size = team.size();
  const int64_t index = team.index();
  const int64_t across = this->across(size);
  const bool late = packs_late(team);
  const Range panels = part({0, panels_.count()}, index % across, across);
  const int64_t group = late ? 1 : group_;
  const int64_t groups = ceil_div(panels.end - panels.begin, group);
  const auto run_block = [&](Range units) {
    if (units.empty()) return;
    WinogradBlock block{{units.begin * unit_, units.end * unit_},
                        {},
                        v_ + index * kWinogradProducts * v_plane_,
                        m_ + index * kWinogradProducts * m_plane_};
    if (!interrupted(team)) {
      if (pooled_) {
        gradients(block);
      } else {
        inputs(block);
      }
    }
    for (int64_t g = 0; g < groups && !interrupted(team); ++g) {
      block.panels = part(panels, g, groups);
      for (int64_t run = 0; late && run * kPackedChannels < in_; ++run)
        pack(team, block.panels.begin, run, index);
      const int64_t slot = late ? index : block.panels.begin;  // where the panels' weights are in u
      products(block, slot, sink.ahead(block));
      sink.take(team, block, sums(block));
    }
  };
  const Range all{0, tiles_.count() / unit_};
  const int64_t shares = size / across;
  const int64_t share = index / across;
  const int64_t blocks = ceil_div(ceil_div(all.end, shares) * unit_, block_);  // the blocks of a share
  if (across == 1)
    for (Chunks c(team, blocks * size, 1); c.next();) run_block(part(all, c.begin, blocks * size));
  else
    for (int64_t b = share * blocks; b < (share + 1) * blocks; ++b) run_block(part(all, b, blocks * shares));
}

// Transforms the inputs of a block's tiles to v.
void Winograd::inputs(const WinogradBlock& block) const {
  WinogradInput p;
  p.channels = in_;
  p.plane = v_plane_;
  p.v = block.v;
  for (int64_t index = block.tiles.begin; index < block.tiles.end; ++index, p.v += v_stride_) {
    const WinogradTiles::Tile tile = tiles_[index];
    const int64_t image = tile.image / bands_.count;
    const int64_t band = tile.image % bands_.count;
    const int64_t row = band * bands_.step + tile.row - pad_[0];
    const int64_t column = tile.column - pad_[1];
    winograd_pixels(x_, p_.x.shape, zeros_, image, row, column, p.pixel);
    if (pairs_) {
      winograd_pairs(p);
    } else {
      winograd_kernels().input(p);
    }
  }
}

// Transforms the pooled gradients of a block's tiles to v: each tile is a window of 2 x 2, whose maximum gets
// the gradient.
void Winograd::gradients(const WinogradBlock& block) const {
  constexpr int64_t kTilesAhead = 16;
  const auto* nowhere = reinterpret_cast<const uint8_t*>(zeros_);
  WinogradGradient p{};
  p.channels = in_;
  p.plane = v_plane_;
  p.v = block.v;
  for (int64_t index = block.tiles.begin; index < block.tiles.end; ++index, p.v += v_stride_) {
    const WinogradTiles::Tile tile = tiles_[index];
    const int64_t image = tile.image / bands_.count;
    const int64_t band = tile.image % bands_.count;
    // A band is `height - step` rows higher than its own rows, and begins so much before them.
    const int64_t row = (band * bands_.step + tile.row + bands_.step - bands_.height) / 2;
    const int64_t column = tile.column / 2;
    const bool exists = row >= 0 && row < p_.x.shape[2];
    const float* dy = x_.pixel(image, row, column);
    p.dy[0][0] = exists ? dy : zeros_;
    p.where[0] = exists ? where_.pixel(image, row, column) : nowhere;
    __builtin_prefetch(p.where[0] + kTilesAhead * x_.stride_w);
    for (int64_t c = 0; c < in_; c += kLine) __builtin_prefetch(dy + kTilesAhead * x_.stride_w + c);
    winograd_pooled(p, /*tiles=*/false);
  }
}

// Computes the 16 matrix products of a block: m = v times the weights of its panels, which are in u from
// panel `slot` on. Each call of the kernel takes up to mr tiles, and prefetches a part of the weights that
// come next.
void Winograd::products(const WinogradBlock& block, int64_t slot, WinogradSink::Ahead ahead) const {
  const ConvKernels<float>& kernels = conv_kernels<float>();
  const int64_t size = steps_ * panels_.width;  // a panel's size
  const int64_t calls = kWinogradProducts * (block.panels.end - block.panels.begin) *
                        ceil_div(block.tiles.end - block.tiles.begin, kernels.mr);
  const int64_t bytes_ahead = ceil_div(ahead.bytes, calls);
  const auto tile = tile_of<float>(pairs_);
  ConvTile<float> t;
  t.segments = segments_;
  t.count = pairs_ ? 1 : segments_of_run(steps_);
  t.step_a = 1;
  t.step_b = panels_.width;
  t.row_step = v_stride_;
  for (int product = 0; product < kWinogradProducts; ++product) {
    const Range all = tiles_.of_product(product / 4, product % 4);
    const int64_t begin = std::max(all.begin, block.tiles.begin) - block.tiles.begin;
    const int64_t end = std::min(all.end, block.tiles.end) - block.tiles.begin;
    if (begin >= end) continue;
    // The tiles are divided into as few calls as possible, of even numbers of rows, since an odd number takes
    // as long as the next even one.
    const int64_t count = end - begin;
    const int64_t fewest_calls = ceil_div(count, kernels.mr);
    const int64_t rows = ceil_div(count, 2 * fewest_calls) * 2;
    const int64_t part = size / ceil_div(count, rows);  // of the next panel, which each call prefetches
    t.fetch_step = part / steps_ * static_cast<int64_t>(sizeof(float));
    for (int64_t panel = block.panels.begin; panel < block.panels.end; ++panel) {
      const int64_t in_block = panel - block.panels.begin;
      t.b = u_ + product * u_plane_ + (slot + in_block) * size;
      // Next is the panel after this one, or the first panel of the next product.
      const bool last = panel + 1 == block.panels.end;
      const float* next = last ? t.b + u_plane_ - in_block * size : t.b + size;
      t.columns = static_cast<int>(ceil_div(panels_.columns(panel), kernels.lanes) * kernels.lanes);
      for (int64_t row = begin; row < end; row += rows) {
        t.rows = static_cast<int>(std::min(rows, end - row));
        const float* v = block.v + product * v_plane_ + row * v_stride_;
        float* m = block.m + product * m_plane_ + row * m_stride_ + in_block * panels_.width;
        for (int i = 0; i < t.rows; ++i) {
          t.a[i] = v + i * v_stride_;
          t.c[i] = m + i * m_stride_;
        }
        t.fetch = reinterpret_cast<const char*>(next);
        tile(t);
        next += part;
        for (int64_t i = 0; i < bytes_ahead; i += 64) {
          __builtin_prefetch(ahead.read + i, 0, 2);
          __builtin_prefetch(ahead.written + i, 1, 2);
        }
        ahead.read += bytes_ahead;
        ahead.written += bytes_ahead;
      }
    }
  }
}

// The argument of the last transform for the first tile of a block: the products, and bias, norm and ReLU.
WinogradSums Winograd::sums(const WinogradBlock& block) const {
  const int64_t first = first_channel(block);
  const int64_t end = panels_.first(block.panels.end - 1) + panels_.width;
  const bool copied_bias = p_.bias.data && p_.bias.strides[0] != 1;
  const float* bias = copied_bias ? bias_ : p_.bias.data;
  WinogradSums s;
  s.m = block.m;
  s.plane = m_plane_;
  s.channels = std::min(end, out_) - first;
  s.bias = bias ? bias + first : nullptr;
  s.norm = p_.norm_of(first);
  s.norm_step = out_;
  s.relu = p_.relu;
  return s;
}

// Compares estimated times of one image, in multiply-adds; the constants are fitted to times of 100 shapes
// from 1x1 to 28x28 pixels and from 4 to 1024 channels. The weights are transformed once for all images, but
// the bits of an image must not depend on the number of images: so each image counts a sixteenth (kImages) of
// that time. For few channels and large images, planes take less time, or the direct sum, which has the same
// bits as planes.
bool winograd_pays(const Correlation<float>& p) {
  constexpr double kDirectProduct = 0.9;  // longer chains
  constexpr double kStepsOfTile = 5;      // products in the time that a product's sums are loaded and stored
  constexpr double kWeight = 50, kTile = 2600;  // transforms, beyond what packing costs in the direct sum
  constexpr double kGain = 1.05, kImages = 16;
  constexpr int64_t kFewOutputs = 4;  // would leave most of a vector empty
  constexpr int64_t kPixelsOfPlanes = 16 * 16;
  if (!p.algorithms.has(ConvAlgorithm::winograd)) return false;
  if (!p.geometry.is_winograds(p.w.shape[2], p.w.shape[3]) || p.y.shape[1] <= kFewOutputs) return false;
  if (p.algorithms.has(ConvAlgorithm::planes) && has_few_channels(p) &&
      p.y.shape[2] * p.y.shape[3] >= kPixelsOfPlanes)
    return false;
  const double in = p.x.shape[1];
  const double out = ceil_div(p.y.shape[1], kLine) * kLine;
  const double rate = rounds(p) ? 2 : 1;  // the rate of products
  double direct = kDirectProduct * in * out / rate;
  double products = out;
  double tiles = 1;
  for (int d = 2; d < 4; ++d) {
    const int64_t size = p.y.shape[d];
    direct *= winograd_used_taps(size, p.x.shape[d], first_pad(p, d - 2));
    products *= size / 2 * 4 + size % 2 * 3;  // along an axis, 4 of a tile of two outputs, 3 of one output
    tiles *= ceil_div(size, 2);
  }
  const double winograd =
      products * (in / rate + kStepsOfTile) + kWeight / kImages * in * out + kTile * tiles;
  return direct > kGain * winograd;
}

}  // namespace ranvier
