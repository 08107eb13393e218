// The gradient of conv2d_pool to the input by Winograd's algorithm: see winograd.h. Winograd
// (conv2d/winograd/winograd.h) computes the products; take() adds up their patches to dx.
#include "kernels/conv2d_pool/winograd.h"

#include <algorithm>

#include "base/parallel.h"
#include "kernels/conv2d/winograd/pairs.h"

namespace ranvier {
namespace {

constexpr int64_t kWholeImage = 256;  // the most tiles of an image that is not divided: their sums stay in L2
constexpr int64_t kLeastRows = 6;  // the fewest rows of tiles in a band, so that few rows are computed twice

// The bands of an image. Each begins with the last row of tiles of the band before.
WinogradBands patch_bands(const Conv2dPoolBackwardInput& c) {
  const int64_t rows = c.dy.shape[2];
  const int64_t columns = std::max<int64_t>(c.dy.shape[3], 1);
  const bool is_whole = rows * columns <= kWholeImage;
  const int64_t of_band = is_whole ? std::max<int64_t>(rows, 1) : std::max(kWholeImage / columns, kLeastRows);
  WinogradBands bands;
  bands.count = std::max<int64_t>(ceil_div(rows, of_band), 1);
  bands.step = 2 * of_band;  // a row of tiles is two rows of pixels
  bands.height = bands.count > 1 ? bands.step + 2 : bands.step;
  bands.whole = true;
  return bands;
}

// The correlation that Winograd computes: from the pooled gradients to the pixels of the windows.
Correlation<float> patch_problem(const Conv2dPoolBackwardInput& c) {
  TensorView<float> y{nullptr, 4, {c.dx.shape[0], c.dx.shape[1], 2 * c.dy.shape[2], 2 * c.dy.shape[3]}, {}};
  return {c.dy, c.w, {}, y, c.geometry, /*transposed=*/true, /*relu=*/false, c.algorithms};
}

}  // namespace

bool PooledWinogradInput::pays(const Conv2dPoolBackwardInput& c) {
  if (c.window[0] != 2 || c.window[1] != 2) return false;
  if (!c.geometry.is_winograds(c.w.shape[2], c.w.shape[3])) return false;
  if (numel(c.dy) == 0 || !c.algorithms.has(ConvAlgorithm::winograd)) return false;
  const int64_t least = c.dy.shape[2] * c.dy.shape[3] <= kWholeImage ? 32 * 32 : 128 * 128;
  return c.dx.shape[1] * c.dy.shape[1] >= least && pays_in_pairs(c.algorithms, c.dy.shape[1], c.dx.shape[1]);
}

PooledWinogradInput::PooledWinogradInput(const Conv2dPoolBackwardInput& c, Carver& carver, int threads)
    : c_(c),
      bands_(patch_bands(c)),
      winograd_(patch_problem(c), bands_, carver, threads, c.where),
      saved_(c.saved.data ? c.saved : TensorView<const float>{}, 0, carver, /*spread=*/false),
      zeros_(carver.take<float>(ceil_div(c.dx.shape[1], kWinogradLine) * kWinogradLine)) {}

void PooledWinogradInput::run(const Team& team) const {
  std::fill_n(zeros_, ceil_div(c_.dx.shape[1], kWinogradLine) * kWinogradLine, 0.0f);
  if (c_.saved.data)
    team.region(static_cast<double>(numel(c_.saved)), [&](const OpenTeam& team) { saved_.copy_share(team); });
  winograd_.run(team, *this);
}

// Takes the products of whole bands.
void PooledWinogradInput::take(const OpenTeam&, const WinogradBlock& block, WinogradSums sums) const {
  const int64_t tiles = winograd_.tiles_of_band();
  for (int64_t i = block.tiles.begin / tiles; i < block.tiles.end / tiles; ++i) {
    band(i, block, sums);
    sums.m += tiles * winograd_.tile_step();
  }
}

// The rows of dx (and saved) that take() will write for this block are prefetched.
WinogradSink::Ahead PooledWinogradInput::ahead(const WinogradBlock& block) const {
  const int64_t tiles = winograd_.tiles_of_band();
  const int64_t index = block.tiles.begin / tiles;
  const int64_t n = index / bands_.count;
  const int64_t row = index % bands_.count * bands_.step;
  const int64_t rows = (block.tiles.end - block.tiles.begin) / tiles * bands_.step;
  const float* dx = c_.dx.data + n * c_.dx.strides[0] + row * c_.dx.strides[2];
  const float* read = c_.saved.data ? saved_.pixel(n, row, 0) : dx;
  return {reinterpret_cast<const char*>(read), reinterpret_cast<const char*>(dx),
          rows * c_.dx.strides[2] * static_cast<int64_t>(sizeof(float))};
}

// Computes the rows of dx of a band. Each two rows are the sum of a row of tiles and the row of tiles above
// it. The last band of an image also writes the remaining rows of dx, which are zero below all windows.
void PooledWinogradInput::band(int64_t index, const WinogradBlock& block, const WinogradSums& sums) const {
  const int64_t image = index / bands_.count;
  const int64_t band = index % bands_.count;
  const int64_t rows = c_.dy.shape[2];
  const int64_t first = band * bands_.step / 2;
  const int64_t halo = (bands_.height - bands_.step) / 2;
  const int64_t channel = winograd_.first_channel(block);
  const int64_t height = c_.dx.shape[2];
  WinogradPatches p;
  const auto row_of = [&](int64_t row) -> WinogradPatches::Sums {
    if (row < 0 || row >= rows) return {zeros_, 0, 0};
    const int64_t tile = (row - first + halo) * c_.dy.shape[3];  // the first of the row, in the band
    return {sums.m + tile * winograd_.tile_step(), sums.plane, winograd_.tile_step()};
  };
  p.tiles = c_.dy.shape[3];
  p.channels = sums.channels;
  p.column = -c_.geometry.pad[1];
  p.width = c_.dx.shape[3];
  p.dx_step = c_.dx.strides[3];
  p.saved_step = saved_.stride_w;
  const bool last = band + 1 == bands_.count;
  for (int64_t row = first; last || row < first + bands_.step / 2; ++row) {
    const int64_t y = 2 * row - c_.geometry.pad[0];
    if (y >= height) break;
    for (int r = 0; r < 2; ++r) {
      const bool inside = y + r >= 0 && y + r < height;
      float* dx = c_.dx.data + image * c_.dx.strides[0] + (y + r) * c_.dx.strides[2] + channel;
      p.dx[r] = inside ? dx : nullptr;
      p.saved[r] = inside && c_.saved.data ? saved_.pixel(image, y + r, 0) + channel : nullptr;
    }
    p.here = row_of(row);
    p.above = row_of(row - 1);
    winograd_patches(p);
  }
}

}  // namespace ranvier
