#include "kernels/conv2d/pooled_forward.h"

#include <algorithm>

#include "base/parallel.h"
#include "kernels/conv2d/pooled_tile.h"

namespace ranvier {
namespace {

constexpr int64_t kBandBytes = 16 << 10;  // of results that wait in L1 to be pooled
constexpr int64_t kBandsOfThread = 4;     // at least, where there is so much work
constexpr int64_t kWholeImages = 56;      // tiles of an image that are not cut into bands

int64_t next_even(int64_t n) { return (n + 1) / 2 * 2; }

// The convolution whose results are pooled. They have no memory of their own.
Correlation<float> convolution(const Conv2dPoolForward<float>& c, int64_t width) {
  TensorView<float> z;
  z.ndim = 4;
  z.shape[0] = c.y.shape[0], z.shape[1] = c.y.shape[1];
  z.shape[2] = c.y.shape[2] * c.window[0], z.shape[3] = width;
  return {c.x, c.w, c.bias, z, c.geometry, false, false};
}

bool is_square(const Conv2dPoolForward<float>& c) { return c.window[0] == 2 && c.window[1] == 2; }
int64_t pooled_width(const Conv2dPoolForward<float>& c) { return c.y.shape[3] * c.window[1]; }

PooledRow pooled_row(const Conv2dPoolForward<float>& c) {
  PooledRow p;
  p.window[0] = c.window[0], p.window[1] = c.window[1];
  p.windows = c.y.shape[3], p.step = c.y.strides[3];
  p.relu = c.activation == Conv2dActivation::relu;
  return p;
}

// To y[image, first, row, 0] and `where` at the same place.
void pool_row(const Conv2dPoolForward<float>& c, PooledRow& p, int64_t image, int64_t first, int64_t row) {
  const int64_t to = image * c.y.strides[0] + first + row * c.y.strides[2];
  p.y = c.y.data + to, p.where = c.where.data ? c.where.data + to : nullptr;
  RANVIER_SELECT(pooled_kernels).row(p);
}

}  // namespace

PooledCorrelator::PooledCorrelator(const Conv2dPoolForward<float>& c, void* workspace, int team)
    : Correlator(convolution(c, pooled_width(c)), workspace, team), call_(c) {
  const int64_t images = c.y.shape[0], rows = c.y.shape[2];
  stream_ = false;
  pixel_ = dots_ ? conv_kernels<float>().lanes : panels_.width;
  row_ = pooled_width(c) * pixel_;
  const int64_t fits = std::max<int64_t>(kBandBytes / (c.window[0] * row_ * sizeof(float)), 1);
  images_of_band_ = std::clamp<int64_t>(fits / rows, 1, images);
  rows_of_band_ = std::min(fits, rows);
  const auto bands = [&] {
    return ceil_division(images, images_of_band_) * ceil_division(rows, rows_of_band_);
  };
  while (team > 1 && bands() * panels_.count() < kBandsOfThread * team && images_of_band_ * rows_of_band_ > 1)
    (images_of_band_ > 1 ? images_of_band_ : rows_of_band_) /= 2;
  bands_of_image_ = ceil_division(rows, rows_of_band_);
  rows_of_band_ = ceil_division(rows, bands_of_image_);
  image_ = rows_of_band_ * c.window[0] * row_;
  buffer_size_ = images_of_band_ * image_;
  buffer_ = carver_.take<float>(team * buffer_size_);
}

void PooledCorrelator::run() const {
  const double products = static_cast<double>(images_) * p_.y.shape[1] * p_.y.shape[2] * p_.y.shape[3] *
                          in_group_ * taps_[0] * taps_[1];
  parallel_region(kConvNsPerProduct * products, [&] {
    prepare();
    team_barrier();
    compute();
    team_barrier();
  });
}

PooledCorrelator::Band PooledCorrelator::band(int64_t index) const {
  const int64_t image = index / bands_of_image_ * images_of_band_;
  const int64_t row = index % bands_of_image_ * rows_of_band_;
  return {image, std::min(images_of_band_, images_ - image), row,
          std::min(rows_of_band_, call_.y.shape[2] - row)};
}

// In order: blocks of images, groups of panels, chunks of bands, panels, bands. A thread takes a run of it.
void PooledCorrelator::compute() const {
  const int64_t bands = ceil_division(images_, images_of_band_) * bands_of_image_;
  const int64_t block = std::max<int64_t>(block_ / images_of_band_, 1) * bands_of_image_;
  Share share(bands * panels_.count());
  for (int64_t b = 0; b < bands; b += block)
    for (int64_t panel = 0; panel < panels_.count(); panel += group_) {
      const Range some{b, std::min(b + block, bands)};
      const Range panels{panel, std::min(panel + group_, panels_.count())};
      const Range mine = share.take((some.end - some.begin) * (panels.end - panels.begin), 1);
      if (!mine.empty()) run_items(some, panels, mine);
    }
}

// Items are numbered chunk by chunk, in it panel by panel, band by band.
void PooledCorrelator::run_items(Range bands, Range panels, Range items) const {
  const int64_t pixels = std::max<int64_t>(buffer_size_ / pixel_, 1);
  const int64_t chunk = std::max<int64_t>(chunk_ * mr_ / pixels, 1);
  const int64_t chunk_items = chunk * (panels.end - panels.begin);
  for (int64_t item = items.begin; item < items.end; ++item) {
    const int64_t first = bands.begin + item / chunk_items * chunk;
    const int64_t count = std::min(chunk, bands.end - first);
    run_band(band(first + item % chunk_items % count), panels.begin + item % chunk_items / count);
  }
}

void PooledCorrelator::run_band(const Band& band, int64_t panel) const {
  float* buffer = buffer_ + team_index() * buffer_size_;
  const int64_t first = band.row * call_.window[0], last = first + band.rows * call_.window[0];
  const int lanes = conv_kernels<float>().lanes;
  const int64_t columns =
      dots_ ? panels_.columns(panel) : ceil_division(panels_.columns(panel), lanes) * lanes;
  const Target target{
      buffer - band.image * image_ - first * row_, image_, row_, pixel_, static_cast<int>(columns), nullptr};
  ConvSegment* segments = segments_ + team_index() * taps_[0] * taps_[1];
  for (int64_t i = 0; i < rows_.classes(); ++i)
    for (int64_t j = 0; j < columns_.classes(); ++j) {
      const Region region{rows_[i].within(first, last), columns_[j], band.image, band.images};
      if (region.pixels() == 0) continue;
      const int64_t count = list_segments(region, segments);
      run_tiles(region, panel, {0, region.tiles(mr_)}, segments, count, {0, 0}, target);
    }
  pool_band(band, panel, buffer);
}

void PooledCorrelator::pool_band(const Band& band, int64_t panel, const float* z) const {
  const int64_t first = panels_.first(panel);
  PooledRow p = pooled_row(call_);
  p.row = row_, p.pixel = pixel_;
  p.channels = panels_.columns(panel);
  p.bias = call_.bias.data ? (call_.bias.strides[0] != 1 ? bias_ : call_.bias.data) + first : nullptr;
  for (int64_t n = 0; n < band.images; ++n)
    for (int64_t i = 0; i < band.rows; ++i) {
      p.z = z + n * image_ + i * call_.window[0] * row_;
      pool_row(call_, p, band.image + n, first, band.row + i);
    }
}

// Bands begin at even rows, where tiles do.
static WinogradBands winograd_bands(const Conv2dPoolForward<float>& c) {
  const int64_t rows = c.y.shape[2], window = c.window[0];
  if (is_square(c)) return {1, 0, rows * 2, false};
  const int64_t tiles = ceil_division(rows * window, 2) * ceil_division(pooled_width(c), 2);
  const int64_t least = window % 2 ? 2 : 1, of_band = tiles <= kWholeImages ? rows : std::min(least, rows);
  return {ceil_division(rows, of_band), of_band * window, next_even(of_band * window), true};
}

PooledWinograd::PooledWinograd(const Conv2dPoolForward<float>& c, void* workspace, int team)
    : Winograd(convolution(c, next_even(pooled_width(c))), winograd_bands(c), workspace, team), call_(c) {
  buffer_size_ = bands_.whole ? block_ * 4 * m_stride_ : 0;
  buffer_ = carver_.take<float>(team * buffer_size_);
}

void PooledWinograd::outputs(const Block& block) const {
  bands_.whole ? pool_bands(block) : pool_tiles(block);
}

void PooledWinograd::pool_tiles(const Block& block) const {
  const int64_t* st = call_.y.strides;
  WinogradPooledOutput p;
  p.plane = m_plane_, p.m = block.m;
  p.channels = channels_of(block), p.bias = bias_of(block);
  p.relu = call_.activation == Conv2dActivation::relu;
  for (int64_t index = block.tiles.begin; index < block.tiles.end; ++index, p.m += m_stride_) {
    const WinogradTiles::Tile tile = tiles_[index];
    const int64_t to = tile.image * st[0] + tile.row / 2 * st[2] + tile.column / 2 * st[3] +
                       panels_.first(block.panels.begin);
    p.y = call_.y.data + to, p.where = call_.where.data ? call_.where.data + to : nullptr;
    RANVIER_SELECT(winograd_kernels).pooled_output(p);
  }
}

void PooledWinograd::pool_bands(const Block& block) const {
  float* z = buffer_ + team_index() * buffer_size_;
  const int64_t row = p_.y.shape[3] * m_stride_, band = bands_.height * row;
  const int64_t first_band = block.tiles.begin / unit_, end_band = block.tiles.end / unit_;
  WinogradOutput out;
  out.plane = m_plane_, out.m = block.m;
  out.channels = channels_of(block), out.bias = bias_of(block), out.relu = false;
  for (int64_t index = block.tiles.begin; index < block.tiles.end; ++index, out.m += m_stride_) {
    const WinogradTiles::Tile tile = tiles_[index];
    float* to = z + (tile.image - first_band) * band + tile.row * row + tile.column * m_stride_;
    out.y[0] = to, out.y[1] = to + m_stride_, out.y[2] = to + row, out.y[3] = to + row + m_stride_;
    RANVIER_SELECT(winograd_kernels).output(out);
  }
  PooledRow p = pooled_row(call_);
  p.row = row, p.pixel = m_stride_, p.channels = out.channels, p.bias = nullptr;
  const int64_t of_band = bands_.step / call_.window[0];
  for (int64_t b = first_band; b < end_band; ++b) {
    const int64_t image = b / bands_.count, first = b % bands_.count * of_band;
    for (int64_t i = first; i < std::min(first + of_band, call_.y.shape[2]); ++i) {
      p.z = z + (b - first_band) * band + (i - first) * call_.window[0] * row;
      pool_row(call_, p, image, panels_.first(block.panels.begin), i);
    }
  }
}

namespace {

template <class F>
auto with_kernel(const Conv2dPoolForward<float>& c, void* workspace, int team, const F& f) {
  Correlation<float> whole = convolution(c, c.size[1]);
  whole.y.shape[2] = c.size[0];
  if (c.winograd && winograd_pays(whole)) return f(PooledWinograd(c, workspace, team));
  return f(PooledCorrelator(c, workspace, team));
}

}  // namespace

template <>
size_t Conv2dPoolForward<float>::workspace_bytes(int team) const {
  if (numel(y) == 0) return 0;
  return with_kernel(*this, nullptr, team, [](const auto& kernel) { return kernel.workspace_bytes(); });
}

template <>
void Conv2dPoolForward<float>::run(void* workspace) const {
  if (numel(y) == 0) return;
  with_kernel(*this, workspace, num_threads(), [](const auto& kernel) { kernel.run(); });
}

}  // namespace ranvier
