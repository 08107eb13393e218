#include "kernels/conv2d_pool/forward.h"

#include <algorithm>

#include "base/parallel.h"
#include "kernels/conv2d_pool/tile.h"

namespace ranvier {
namespace {

constexpr int64_t kBufferBytes = 32 << 10;  // of results that wait in the caches to be pooled
constexpr int64_t kBandBytes = 192 << 10;   // of input that stays in L2 for a group of panels
constexpr int64_t kRowsOfThread = 16;       // of windows, below which threads share them
constexpr int64_t kWholeImages = 56;        // tiles of an image that are not cut into bands

int64_t next_even(int64_t n) { return (n + 1) / 2 * 2; }

// The convolution whose results are pooled. They have no memory of their own.
Correlation<float> convolution(const Conv2dPoolForward<float>& c, int64_t width) {
  TensorView<float> z;
  z.ndim = 4;
  z.shape[0] = c.y.shape[0], z.shape[1] = c.y.shape[1];
  z.shape[2] = c.y.shape[2] * c.window[0], z.shape[3] = width;
  return {c.x, c.w, c.bias, z, c.geometry, false, false, c.packed.data, c.norm.data};
}

bool is_square(const Conv2dPoolForward<float>& c) { return c.window[0] == 2 && c.window[1] == 2; }
int64_t pooled_width(const Conv2dPoolForward<float>& c) { return c.y.shape[3] * c.window[1]; }

PooledRow pooled_row(const Conv2dPoolForward<float>& c) {
  PooledRow p;
  p.window[0] = c.window[0], p.window[1] = c.window[1];
  p.windows = c.y.shape[3], p.step = c.y.strides[3];
  p.relu = c.activation == Conv2dActivation::relu;
  p.norm_step = c.y.shape[1];
  return p;
}

uint8_t* where_at(const Conv2dPoolForward<float>& c, int64_t to) {
  return c.where.data ? c.where.data + to : nullptr;
}

// To y[image, channel, row, column ...] and `where` at the same place.
void pool_row(const Conv2dPoolForward<float>& c, PooledRow& p, int64_t image, int64_t channel, int64_t row,
              int64_t column) {
  const int64_t* st = c.y.strides;
  const int64_t to = image * st[0] + channel + row * st[2] + column * st[3];
  p.y = c.y.data + to, p.where = where_at(c, to);
  RANVIER_SELECT(pooled_kernels).row(p);
}

}  // namespace

PooledCorrelator::PooledCorrelator(const Conv2dPoolForward<float>& c, void* workspace, int team)
    : Correlator(convolution(c, pooled_width(c)), workspace, team), call_(c) {
  const int64_t images = c.y.shape[0], rows = c.y.shape[2];
  stream_ = false;
  pixel_ = panels_.width;
  const int64_t window_bytes = c.window[0] * c.window[1] * pixel_ * static_cast<int64_t>(sizeof(float));
  most_windows_ = std::max(kBufferBytes / window_bytes, c.y.shape[3]);
  const int64_t elements = most_windows_ * c.window[0] * c.window[1] * pixel_;
  buffer_size_ = elements + conv_kernels<float>().lanes;  // the last pixel is read as whole vectors, too
  buffer_ = carver_.take<float>(team * buffer_size_);
  const int64_t row_bytes = c.window[0] * c.geometry.stride[0] * c.x.shape[3] * c.x.shape[1] * sizeof(float);
  const int64_t fits = kBandBytes / std::max<int64_t>(row_bytes, 1);
  images_of_band_ = std::clamp<int64_t>(fits / rows, 1, images);
  rows_of_band_ = std::clamp<int64_t>(fits, 1, rows);
}

void PooledCorrelator::run(const Team& team) const {
  const double products = static_cast<double>(images_) * p_.y.shape[1] * p_.y.shape[2] * p_.y.shape[3] *
                          in_group_ * taps_[0] * taps_[1];
  team.region(kConvNsPerProduct * products, [&](const OpenTeam& team) {
    prepare(team);
    team.barrier();
    compute(team);
    team.barrier();
  });
}

const float* PooledCorrelator::bias_of(int64_t panel) const {
  if (!call_.bias.data) return nullptr;
  return (call_.bias.strides[0] != 1 ? bias_ : call_.bias.data) + panels_.first(panel);
}

// The next of the rows [begin, end) of windows, which run through all images.
PooledCorrelator::Band PooledCorrelator::band(int64_t begin, int64_t end) const {
  const int64_t of_image = call_.y.shape[2], row = begin % of_image, images = (end - begin) / of_image;
  const bool whole = row == 0 && images > 0 && rows_of_band_ == of_image;
  return {begin / of_image,
          whole ? std::min(images_of_band_, images) : 1,
          row,
          std::min({rows_of_band_, of_image - row, end - begin}),
          0,
          call_.y.shape[3]};
}

// A thread takes rows of windows of its own. Where they are few, threads share them and take panels.
void PooledCorrelator::compute(const OpenTeam& team) const {
  const int64_t size = team.size(), index = team.index(), all = images_ * call_.y.shape[2];
  int64_t across = 1;  // threads with the same rows
  while (size % (across * 2) == 0 && across * 2 <= panels_.count() && all * across < kRowsOfThread * size)
    across *= 2;
  const Range mine = part({0, all}, index / across, size / across);
  const Range panels = part({0, panels_.count()}, index % across, across);
  const Inner same = inner();
  const int64_t block = block_ * call_.y.shape[2];
  for (int64_t first = mine.begin; first < mine.end; first += block)
    for (int64_t group = panels.begin; group < panels.end; group += group_) {
      const int64_t end = std::min(first + block, mine.end);
      for (int64_t row = first; row < end;) {
        const Band next = band(row, end);
        for (int64_t panel = group; panel < std::min(group + group_, panels.end); ++panel)
          run_band(team, same, next, panel);
        row += next.images * next.rows;
      }
    }
}

// Along one axis: the class with the most whole windows. A class's positions lie one after another.
static Range most_windows(const Axis& axis, int64_t window, Axis::Class* best) {
  Range most{0, 0};
  for (int64_t i = 0; i < axis.classes(); ++i) {
    const Axis::Class c = axis[i];
    const Range r{ceil_division(c.first_position, window), (c.first_position + c.size) / window};
    if (r.end - r.begin > most.end - most.begin) most = r, *best = c;
  }
  return most;
}

PooledCorrelator::Inner PooledCorrelator::inner() const {
  Inner found{};
  if (dots_ || !is_square(call_)) return found;
  found.rows = most_windows(rows_, 2, &found.row_class);
  found.columns = most_windows(columns_, 2, &found.column_class);
  return found;
}

// The inner part in registers; what is above, below, left and right of it through the buffer.
void PooledCorrelator::run_band(const OpenTeam& team, const Inner& inner, const Band& band,
                                int64_t panel) const {
  const int64_t end = band.row + band.rows;
  const int64_t from = std::clamp(inner.rows.begin, band.row, end),
                to = std::clamp(inner.rows.end, from, end);
  const auto part = [&](Range rows, Range columns) {
    Band b = band;
    b.row = rows.begin, b.rows = rows.end - rows.begin;
    b.column = columns.begin, b.columns = columns.end - columns.begin;
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

void PooledCorrelator::run_inner(const OpenTeam& team, const Inner& inner, const Band& band,
                                 int64_t panel) const {
  const PooledKernels& kernels = RANVIER_SELECT(pooled_kernels);
  const int64_t* st = call_.y.strides;
  const Axis::Class &rows = inner.row_class, &columns = inner.column_class;
  ConvSegment* segments = segments_ + team.index() * taps_[0] * taps_[1];
  PooledTile t;
  t.segments = segments, t.count = list_segments({rows, columns, 0, 0}, segments);
  t.b = weights_ + panel * panel_size_, t.step_b = panels_.width;
  t.row = p_.geometry.stride[0] * x_.stride_h, t.column = p_.geometry.stride[1] * x_.stride_w;
  t.channels = panels_.columns(panel), t.bias = bias_of(panel);
  t.norm = p_.norm_of(panels_.first(panel)), t.norm_step = call_.y.shape[1];
  t.relu = call_.activation == Conv2dActivation::relu;
  const int most = kernels.windows[t.channels > conv_kernels<float>().lanes];
  t.windows = 0;
  for (int64_t n = band.image; n < band.image + band.images; ++n)
    for (int64_t i = band.row; i < band.row + band.rows; ++i) {
      const float* x = x_.data + n * x_.stride_n + rows.base(2 * i - rows.first_position) * x_.stride_h;
      int64_t to = n * st[0] + panels_.first(panel) + i * st[2] + band.column * st[3];
      for (int64_t j = band.column; j < band.column + band.columns; ++j, to += st[3]) {
        t.a[t.windows] = x + columns.base(2 * j - columns.first_position) * x_.stride_w;
        t.y[t.windows] = call_.y.data + to;
        t.where[t.windows] = where_at(call_, to);
        if (++t.windows == most) kernels.tile(t), t.windows = 0;
      }
    }
  if (t.windows) kernels.tile(t);
}

// In parts that fit into the buffer: rows of windows or whole images.
void PooledCorrelator::run_buffered(const OpenTeam& team, const Band& band, int64_t panel) const {
  if (band.windows() == 0) return;
  const int64_t fits = most_windows_ / band.columns;  // rows of windows, at least 1
  const int64_t images = std::max<int64_t>(fits / band.rows, 1), rows = std::min(fits, band.rows);
  Band part = band;
  for (part.image = band.image; part.image < band.image + band.images; part.image += images)
    for (part.row = band.row; part.row < band.row + band.rows; part.row += rows) {
      part.images = std::min(images, band.image + band.images - part.image);
      part.rows = std::min(rows, band.row + band.rows - part.row);
      fill_buffer(team, part, panel);
      pool_buffer(team, part, panel);
    }
}

PooledCorrelator::Buffer PooledCorrelator::buffer(const OpenTeam& team, const Band& band) const {
  float* z = buffer_ + team.index() * buffer_size_;
  const int64_t row = band.columns * call_.window[1] * pixel_;
  return {z, row, band.rows * call_.window[0] * row};
}

void PooledCorrelator::fill_buffer(const OpenTeam& team, const Band& band, int64_t panel) const {
  const Buffer b = buffer(team, band);
  const int64_t row = band.row * call_.window[0], column = band.column * call_.window[1];
  const int64_t end_row = row + band.rows * call_.window[0];
  const int64_t end_column = column + band.columns * call_.window[1];
  const int64_t lanes = conv_kernels<float>().lanes, channels = panels_.columns(panel);
  Target target{};
  target.y = b.z - band.image * b.image - row * b.row - column * pixel_;
  target.stride_n = b.image, target.stride_h = b.row, target.stride_w = pixel_;
  target.columns = static_cast<int>(dots_ ? channels : ceil_division(channels, lanes) * lanes);
  ConvSegment* segments = segments_ + team.index() * taps_[0] * taps_[1];
  for (int64_t i = 0; i < rows_.classes(); ++i)
    for (int64_t j = 0; j < columns_.classes(); ++j) {
      const Region region{rows_[i].within(row, end_row), columns_[j].within(column, end_column), band.image,
                          band.images};
      if (region.pixels() == 0) continue;
      const int64_t count = list_segments(region, segments);
      run_tiles(region, panel, {0, region.tiles(mr_)}, segments, count, {0, 0}, target);
    }
}

void PooledCorrelator::pool_buffer(const OpenTeam& team, const Band& band, int64_t panel) const {
  const Buffer b = buffer(team, band);
  PooledRow p = pooled_row(call_);
  p.row = b.row, p.pixel = pixel_;
  p.windows = band.columns, p.channels = panels_.columns(panel), p.bias = bias_of(panel);
  p.norm = p_.norm_of(panels_.first(panel));
  for (int64_t n = 0; n < band.images; ++n)
    for (int64_t i = 0; i < band.rows; ++i) {
      p.z = b.z + n * b.image + i * call_.window[0] * b.row;
      pool_row(call_, p, band.image + n, panels_.first(panel), band.row + i, band.column);
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

void PooledWinograd::outputs(const OpenTeam& team, const Block& block) const {
  bands_.whole ? pool_bands(team, block) : pool_tiles(block);
}

void PooledWinograd::pool_tiles(const Block& block) const {
  const int64_t* st = call_.y.strides;
  WinogradPooledOutput p;
  p.plane = m_plane_, p.m = block.m;
  p.channels = channels_of(block), p.bias = bias_of(block);
  p.norm = norm_of(block), p.norm_step = out_;
  p.relu = call_.activation == Conv2dActivation::relu;
  for (int64_t index = block.tiles.begin; index < block.tiles.end; ++index, p.m += m_stride_) {
    const WinogradTiles::Tile tile = tiles_[index];
    const int64_t to = tile.image * st[0] + tile.row / 2 * st[2] + tile.column / 2 * st[3] +
                       panels_.first(block.panels.begin);
    p.y = call_.y.data + to, p.where = where_at(call_, to);
    RANVIER_SELECT(winograd_kernels).pooled_output(p);
  }
}

void PooledWinograd::pool_bands(const OpenTeam& team, const Block& block) const {
  float* z = buffer_ + team.index() * buffer_size_;
  const int64_t row = p_.y.shape[3] * m_stride_, band = bands_.height * row;
  const int64_t first_band = block.tiles.begin / unit_, end_band = block.tiles.end / unit_;
  WinogradOutput out;
  out.plane = m_plane_, out.m = block.m;
  out.channels = channels_of(block), out.bias = bias_of(block), out.relu = false;
  out.norm = norm_of(block), out.norm_step = out_;
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
      pool_row(call_, p, image, panels_.first(block.panels.begin), i, 0);
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
void Conv2dPoolForward<float>::run(const Team& team, void* workspace) const {
  if (numel(y) == 0) return;
  with_kernel(*this, workspace, team.threads(), [&](const auto& kernel) { kernel.run(team); });
}

}  // namespace ranvier
