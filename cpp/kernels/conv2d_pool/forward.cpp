// The forward pass of conv2d_pool. The convolution is computed by the algorithms of conv2d, of which a thread
// pools the results while they are in its caches: PooledDirect pools the direct sum, PooledWinograd
// Winograd's algorithm, PooledPlanar (planar.h) planes. with_algorithm() at the end chooses.
#include <algorithm>

#include "base/caches.h"
#include "base/parallel.h"
#include "kernels/conv2d/by_algorithm.h"
#include "kernels/conv2d/direct/direct.h"
#include "kernels/conv2d/winograd/winograd.h"
#include "kernels/conv2d_pool/conv2d_pool.h"
#include "kernels/conv2d_pool/planar.h"
#include "kernels/conv2d_pool/tile.h"

namespace ranvier {
namespace {

constexpr int64_t kRowsOfThread = 16;  // fewer rows of windows for a thread are shared by several threads
constexpr int64_t kWholeImages = 56;   // images with at most this many tiles are not divided into bands

int64_t next_even(int64_t n) { return (n + 1) / 2 * 2; }

// The convolution whose results are pooled, of whole windows only, with this width; its y has no memory.
Correlation<float> convolution(const Conv2dPoolForward& c, int64_t width) {
  Correlation<float> p = correlation(c.conv);
  p.y.shape[0] = c.y.shape[0];
  p.y.shape[2] = c.y.shape[2] * c.window[0];
  p.y.shape[3] = width;
  p.relu = false;
  return p;
}

bool is_square(const Conv2dPoolForward& c) { return c.window[0] == 2 && c.window[1] == 2; }
int64_t pooled_width(const Conv2dPoolForward& c) { return c.y.shape[3] * c.window[1]; }

// A PooledRow with the values that are the same for all rows of y.
PooledRow pooled_row(const Conv2dPoolForward& c) {
  PooledRow p;
  p.window[0] = c.window[0];
  p.window[1] = c.window[1];
  p.windows = c.y.shape[3];
  p.step = c.y.strides[3];
  p.relu = c.conv.activation == Conv2dActivation::relu;
  p.norm_step = c.y.shape[1];
  return p;
}

uint8_t* where_at(const Conv2dPoolForward& c, int64_t to) {
  return c.where.data ? c.where.data + to : nullptr;
}

// Pools the row p.z, and stores the results to y[image, channel, row, column ...] and the same place of
// `where`.
void pool_row(const Conv2dPoolForward& c, PooledRow& p, int64_t image, int64_t channel, int64_t row,
              int64_t column) {
  const int64_t* st = c.y.strides;
  const int64_t to = image * st[0] + channel + row * st[2] + column * st[3];
  p.y = c.y.data + to;
  p.where = where_at(c, to);
  pooled_kernels().row(p);
}

// The direct sum, pooled. One panel of output channels and one band of rows at a time is computed to a
// buffer, and pooled from there to y. Windows of 2 x 2 whose values need all taps (Inner) are pooled in
// registers instead.
class PooledDirect {
 public:
  PooledDirect(const Conv2dPoolForward& call, Carver& carver, int threads);
  void run(const Team& team) const;

 private:
  using Region = DirectSum<float>::Region;
  struct Band {  // windows: some rows of one image, or all rows of several images; some columns, or all
    int64_t image, images, row, rows, column, columns;
    int64_t windows() const { return images * rows * columns; }
  };
  struct Inner {  // the windows whose values all need the same taps
    Range rows, columns;
    Axis::Class row_class, column_class;
  };
  Inner inner() const;
  Band band(int64_t begin, int64_t end) const;
  void compute(const OpenTeam& team) const;
  void run_rows(const OpenTeam& team, Range rows, Range panels) const;
  void run_band(const OpenTeam& team, const Inner& inner, const Band& band, int64_t panel) const;
  void run_inner(const OpenTeam& team, const Inner& inner, const Band& band, int64_t panel) const;
  void run_buffered(const OpenTeam& team, const Band& band, int64_t panel) const;
  void sum(const OpenTeam& team, const Band& band, int64_t panel, const DirectSum<float>::Sink& sink) const;

  Conv2dPoolForward call_;
  DirectSum<float> sum_;
  int64_t images_of_band_, rows_of_band_;  // the most of a band
  int64_t pixel_, buffer_size_;            // elements of a pixel in the buffer, and of a buffer
  int64_t most_windows_;                   // how many windows fit into the buffer
  float* buffer_;                          // for each thread: [row][column][channel] of z
};

PooledDirect::PooledDirect(const Conv2dPoolForward& c, Carver& carver, int threads)
    : call_(c), sum_(convolution(c, pooled_width(c)), carver, threads), pixel_(sum_.panels.width) {
  const int64_t images = c.y.shape[0];
  const int64_t rows = c.y.shape[2];
  const int64_t window = c.window[0] * c.window[1];
  most_windows_ = std::max(caches.l1 / (window * pixel_ * int64_t{sizeof(float)}), c.y.shape[3]);
  // The last pixel is read as whole vectors, too.
  buffer_size_ = most_windows_ * window * pixel_ + conv_kernels<float>().lanes;
  buffer_ = carver.take<float>(threads * buffer_size_);
  const int64_t row_bytes =
      c.window[0] * c.conv.geometry.stride[0] * c.conv.x.shape[3] * c.conv.x.shape[1] * sizeof(float);
  // fits: how many rows of windows read at most 3/16 of L2 of x.
  const int64_t fits = caches.l2 * 3 / 16 / std::max<int64_t>(row_bytes, 1);
  images_of_band_ = std::clamp<int64_t>(fits / rows, 1, images);
  rows_of_band_ = std::clamp<int64_t>(fits, 1, rows);
}

void PooledDirect::run(const Team& team) const {
  team.region(sum_.problem.ns(), [&](const OpenTeam& team) {
    sum_.prepare(team);
    team.barrier();
    compute(team);
    team.barrier();
  });
}

// The next band of the rows of windows [begin, end), which are numbered through all images.
PooledDirect::Band PooledDirect::band(int64_t begin, int64_t end) const {
  const int64_t of_image = call_.y.shape[2];
  const int64_t row = begin % of_image;
  const int64_t images = (end - begin) / of_image;
  const bool whole = row == 0 && images > 0 && rows_of_band_ == of_image;
  Band b;
  b.image = begin / of_image;
  b.images = whole ? std::min(images_of_band_, images) : 1;
  b.row = row;
  b.rows = std::min({rows_of_band_, of_image - row, end - begin});
  b.column = 0;
  b.columns = call_.y.shape[3];
  return b;
}

// Computes this thread's rows of windows; or, where rows are few, some panels of rows that several threads
// share.
void PooledDirect::compute(const OpenTeam& team) const {
  const int64_t size = team.size();
  const int64_t index = team.index();
  const int64_t all = call_.y.shape[0] * call_.y.shape[2];
  const int64_t across = threads_across(size, sum_.panels.count(), all, kRowsOfThread);
  const Range panels = part({0, sum_.panels.count()}, index % across, across);
  if (across > 1) return run_rows(team, part({0, all}, index / across, size / across), panels);
  const bool whole = rows_of_band_ == call_.y.shape[2];
  const int64_t rows = whole ? images_of_band_ * rows_of_band_ : rows_of_band_;
  for (Chunks c(team, all, ceil_div(Chunks::size(team, all), rows) * rows); c.next();)
    run_rows(team, {c.begin, c.end}, panels);
}

// Computes the rows of windows `mine`, which are numbered through all images, for some panels: some rows at a
// time for each group of panels, whose weights then stay in a cache.
void PooledDirect::run_rows(const OpenTeam& team, Range mine, Range panels) const {
  const Inner same = inner();
  const int64_t block = sum_.images_at_once * call_.y.shape[2];
  for (int64_t first = mine.begin; first < mine.end; first += block)
    for (int64_t group = panels.begin; group < panels.end; group += sum_.panels_at_once) {
      const int64_t end = std::min(first + block, mine.end);
      for (int64_t row = first; row < end;) {
        const Band next = band(row, end);
        for (int64_t panel = group; panel < std::min(group + sum_.panels_at_once, panels.end); ++panel)
          run_band(team, same, next, panel);
        row += next.images * next.rows;
      }
    }
}

// Along one axis, the class of positions (conv2d/axis.h) with the most whole windows. Returns these windows.
// The positions of a class are consecutive, as this is a forward.
Range most_windows(const Axis& axis, int64_t window, Axis::Class* best) {
  Range most{0, 0};
  for (int64_t i = 0; i < axis.classes(); ++i) {
    const Axis::Class c = axis[i];
    const Range r{ceil_div(c.first_position, window), (c.first_position + c.size) / window};
    if (r.end - r.begin > most.end - most.begin) {
      most = r;
      *best = c;
    }
  }
  return most;
}

PooledDirect::Inner PooledDirect::inner() const {
  Inner found{};
  if (sum_.form == SumForm::dots || !is_square(call_)) return found;
  found.rows = most_windows(sum_.rows, 2, &found.row_class);
  found.columns = most_windows(sum_.columns, 2, &found.column_class);
  return found;
}

// Computes a band for a panel: the inner windows in registers; the edges above, below, to the left and to the
// right of them through the buffer.
void PooledDirect::run_band(const OpenTeam& team, const Inner& inner, const Band& band, int64_t panel) const {
  const int64_t end = band.row + band.rows;
  const int64_t from = std::clamp(inner.rows.begin, band.row, end);
  const int64_t to = std::clamp(inner.rows.end, from, end);
  const auto part = [&](Range rows, Range columns) {
    Band b = band;
    b.row = rows.begin;
    b.rows = rows.end - rows.begin;
    b.column = columns.begin;
    b.columns = columns.end - columns.begin;
    return b;
  };
  const Range all{0, band.columns};
  if (from == to || inner.columns.empty()) return run_buffered(team, band, panel);
  run_buffered(team, part({band.row, from}, all), panel);
  run_buffered(team, part({to, end}, all), panel);
  run_buffered(team, part({from, to}, {0, inner.columns.begin}), panel);
  run_buffered(team, part({from, to}, {inner.columns.end, all.end}), panel);
  run_inner(team, inner, part({from, to}, inner.columns), panel);
}

// Computes inner windows of 2 x 2 by tiles that are pooled in registers. A window is four rows of a tile: two
// pairs of neighbouring pixels, one below the other.
void PooledDirect::run_inner(const OpenTeam& team, const Inner& inner, const Band& band,
                             int64_t panel) const {
  const PooledKernels& kernels = pooled_kernels();
  const int64_t* st = call_.y.strides;
  const Axis::Class& rows = inner.row_class;
  const Axis::Class& columns = inner.column_class;
  const auto taps = sum_.taps(team, {rows, columns, 0, 0});
  PooledTile t{};
  t.segments = taps.segments;
  t.count = taps.count;
  t.chain = taps.chain;
  t.step_a = 1;
  t.b = sum_.weights(taps, panel);
  t.step_b = sum_.panels.width;
  t.row_step = columns.base_step * sum_.x.stride_w;
  t.columns = sum_.panels.columns(panel);
  t.bias = sum_.bias(panel);
  t.norm = sum_.norm(panel);
  t.norm_step = call_.y.shape[1];
  t.relu = call_.conv.activation == Conv2dActivation::relu;
  const int64_t below = rows.base_step * sum_.x.stride_h;
  const int most = 4 * kernels.windows[t.columns > conv_kernels<float>().lanes];
  int row = 0;
  for (int64_t n = band.image; n < band.image + band.images; ++n)
    for (int64_t i = band.row; i < band.row + band.rows; ++i) {
      const float* x = sum_.x.pixel(n, rows.base(2 * i - rows.first_position), 0);
      int64_t to = n * st[0] + sum_.panels.first(panel) + i * st[2] + band.column * st[3];
      for (int64_t j = band.column; j < band.column + band.columns; ++j, to += st[3]) {
        const float* a = x + columns.base(2 * j - columns.first_position) * sum_.x.stride_w;
        t.a[row] = a;
        t.a[row + 2] = a + below;
        t.c[row] = call_.y.data + to;
        t.where[row / 4] = where_at(call_, to);
        row += 4;
        t.rows = row;
        if (row == most) {
          kernels.tile(t);
          row = 0;
        }
      }
    }
  if (row > 0) kernels.tile(t);
}

// Computes windows in parts that fit into this thread's buffer, and pools them from there. A part is some
// rows of windows of an image, or several whole images.
void PooledDirect::run_buffered(const OpenTeam& team, const Band& band, int64_t panel) const {
  if (band.windows() == 0) return;
  const int64_t fits = most_windows_ / band.columns;  // rows of windows, at least 1
  const int64_t images = std::max<int64_t>(fits / band.rows, 1);
  const int64_t rows = std::min(fits, band.rows);
  const int64_t lanes = conv_kernels<float>().lanes;
  const int64_t channels = sum_.panels.columns(panel);
  const int64_t columns = sum_.form == SumForm::dots ? channels : round_up(channels, lanes);
  float* const z = buffer_ + team.index() * buffer_size_;
  PooledRow p = pooled_row(call_);
  p.row = band.columns * call_.window[1] * pixel_;
  p.pixel = pixel_;
  p.windows = band.columns;
  p.channels = channels;
  p.bias = sum_.bias(panel);
  p.norm = sum_.norm(panel);
  Band part = band;
  for (part.image = band.image; part.image < band.image + band.images; part.image += images)
    for (part.row = band.row; part.row < band.row + band.rows; part.row += rows) {
      part.images = std::min(images, band.image + band.images - part.image);
      part.rows = std::min(rows, band.row + band.rows - part.row);
      const int64_t image = part.rows * call_.window[0] * p.row;
      // Where pixel (0, 0) of image 0 would be, so that the first pixel of this part is at z.
      float* const first = z - part.image * image - part.row * call_.window[0] * p.row -
                           band.column * call_.window[1] * pixel_;
      // Bias, norm and ReLU are applied when the windows are pooled.
      DirectSum<float>::Sink sink{};
      sink.y = first;
      sink.stride_n = image;
      sink.stride_h = p.row;
      sink.stride_w = pixel_;
      sink.columns = static_cast<int>(columns);
      sum(team, part, panel, sink);
      for (int64_t n = 0; n < part.images; ++n)
        for (int64_t i = 0; i < part.rows; ++i) {
          p.z = z + n * image + i * call_.window[0] * p.row;
          pool_row(call_, p, part.image + n, sum_.panels.first(panel), part.row + i, band.column);
        }
    }
}

// Computes the results of the convolution for a band and a panel, to where the sink says.
void PooledDirect::sum(const OpenTeam& team, const Band& band, int64_t panel,
                       const DirectSum<float>::Sink& sink) const {
  const int64_t row = band.row * call_.window[0];
  const int64_t column = band.column * call_.window[1];
  const int64_t end_row = row + band.rows * call_.window[0];
  const int64_t end_column = column + band.columns * call_.window[1];
  for (int64_t i = 0; i < sum_.rows.classes(); ++i)
    for (int64_t j = 0; j < sum_.columns.classes(); ++j) {
      const Region region{sum_.rows[i].within(row, end_row), sum_.columns[j].within(column, end_column),
                          band.image, band.images};
      if (region.pixels() == 0) continue;
      sum_.run_tiles(region, panel, {0, sum_.tiles(region)}, sum_.taps(team, region), {0, 0}, sink);
    }
}

// The bands of Winograd's tiles. With windows of 2 x 2 each tile is a window, and bands are not needed. Other
// windows are pooled from whole bands, which must begin at even rows, where tiles begin.
WinogradBands winograd_bands(const Conv2dPoolForward& c) {
  const int64_t rows = c.y.shape[2];
  const int64_t window = c.window[0];
  if (is_square(c)) return {1, 0, rows * 2, false};
  const int64_t tiles = ceil_div(rows * window, 2) * ceil_div(pooled_width(c), 2);
  const int64_t least = window % 2 ? 2 : 1;  // rows of windows in a band, so that its height is even
  const int64_t of_band = tiles <= kWholeImages ? rows : std::min(least, rows);
  return {ceil_div(rows, of_band), of_band * window, next_even(of_band * window), true};
}

// Takes Winograd's products and pools the outputs: a window of 2 x 2 is a tile; other windows go through a
// buffer.
class PoolingSink final : public WinogradSink {
 public:
  PoolingSink(const Conv2dPoolForward& c, const Winograd& from, const WinogradBands& bands, Carver& carver,
              int threads)
      : call_(c), from_(from), bands_(bands), width_(next_even(pooled_width(c))) {
    buffer_size_ = bands.whole ? from.tiles_of_block() * 4 * from.tile_step() : 0;
    buffer_ = carver.take<float>(threads * buffer_size_);
  }

  void take(const OpenTeam& team, const WinogradBlock& block, WinogradSums sums) const override {
    if (bands_.whole) {
      pool_bands(team, block, sums);
    } else {
      pool_tiles(block, sums);
    }
  }

 private:
  void pool_tiles(const WinogradBlock& block, WinogradSums sums) const;
  void pool_bands(const OpenTeam& team, const WinogradBlock& block, WinogradSums sums) const;

  const Conv2dPoolForward& call_;
  const Winograd& from_;
  WinogradBands bands_;
  int64_t width_;        // pixels of a row of outputs
  int64_t buffer_size_;  // elements of the buffer of a thread
  float* buffer_;        // for each thread [band][row][column][channel]
};

// Transforms each tile and pools it in registers.
void PoolingSink::pool_tiles(const WinogradBlock& block, WinogradSums sums) const {
  const int64_t* st = call_.y.strides;
  sums.relu = call_.conv.activation == Conv2dActivation::relu;
  for (int64_t index = block.tiles.begin; index < block.tiles.end; ++index, sums.m += from_.tile_step()) {
    const WinogradTiles::Tile tile = from_.tile(index);
    const int64_t to =
        tile.image * st[0] + tile.row / 2 * st[2] + tile.column / 2 * st[3] + from_.first_channel(block);
    pooled_kernels().winograd_tile(sums, call_.y.data + to, where_at(call_, to));
  }
}

// Transforms the products of whole bands to a buffer, and pools its rows.
void PoolingSink::pool_bands(const OpenTeam& team, const WinogradBlock& block, WinogradSums sums) const {
  float* z = buffer_ + team.index() * buffer_size_;
  const int64_t pixel = from_.tile_step();
  const int64_t row = width_ * pixel;
  const int64_t band = bands_.height * row;
  const int64_t first_band = block.tiles.begin / from_.tiles_of_band();
  const int64_t end_band = block.tiles.end / from_.tiles_of_band();
  for (int64_t index = block.tiles.begin; index < block.tiles.end; ++index, sums.m += pixel) {
    const WinogradTiles::Tile tile = from_.tile(index);
    float* to = z + (tile.image - first_band) * band + tile.row * row + tile.column * pixel;
    float* const outputs[] = {to, to + pixel, to + row, to + row + pixel};
    winograd_kernels().output(sums, outputs);
  }
  PooledRow p = pooled_row(call_);
  p.row = row;
  p.pixel = pixel;
  p.channels = sums.channels;
  p.bias = nullptr;  // the transform above has added the bias, and applied the norm
  const int64_t of_band = bands_.step / call_.window[0];
  for (int64_t b = first_band; b < end_band; ++b) {
    const int64_t image = b / bands_.count;
    const int64_t first = b % bands_.count * of_band;
    for (int64_t i = first; i < std::min(first + of_band, call_.y.shape[2]); ++i) {
      p.z = z + (b - first_band) * band + (i - first) * call_.window[0] * row;
      pool_row(call_, p, image, from_.first_channel(block), i, 0);
    }
  }
}

class PooledWinograd {
 public:
  PooledWinograd(const Conv2dPoolForward& c, Carver& carver, int threads)
      : winograd_(convolution(c, next_even(pooled_width(c))), winograd_bands(c), carver, threads),
        sink_(c, winograd_, winograd_bands(c), carver, threads) {}
  void run(const Team& team) const { winograd_.run(team, sink_); }

 private:
  Winograd winograd_;
  PoolingSink sink_;
};

// Planes, or the direct sum for weights that are not finite: infinity times the zeros of the padding would be
// NaN.
struct FinitePlanar {
  void run(const Team& team) const {
    if (all_finite(weights)) {
      planar.run(team);
    } else {
      direct.run(team);
    }
  }
  TensorView<const float> weights;
  PooledPlanar planar;
  const PooledDirect& direct;
};

template <class F>
void with_algorithm(const Conv2dPoolForward& c, Carver& carver, int threads, const F& f) {
  if (numel(c.y) == 0) return;
  Correlation<float> whole = correlation(c.conv);
  whole.y.shape[0] = c.y.shape[0];
  if (winograd_pays(whole)) return f(PooledWinograd(c, carver, threads));
  Conv2dPoolForward call = c;
  if (is_planar(whole))  // y must have the bits of planes, which dots do not give
    call.conv.algorithms = c.conv.algorithms.without(ConvAlgorithm::dots);
  const PooledDirect direct(call, carver, threads);
  if (!is_square(c) || !PooledPlanar::pays(whole)) return f(direct);
  f(FinitePlanar{c.conv.w, {c, convolution(c, pooled_width(c)), carver, threads}, direct});
}

}  // namespace

RANVIER_BY_ALGORITHM(Conv2dPoolForward)

}  // namespace ranvier
