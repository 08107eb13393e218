#include "kernels/conv2d/correlate.h"

#include <algorithm>
#include <type_traits>

#include "kernels/conv2d/share.h"

namespace ranvier {
namespace {

constexpr int64_t kBlockBytes = 1 << 20;    // of input images worked on together
constexpr int64_t kGroupBytes = 256 << 10;  // of weights that stay in L2 beside what passes
constexpr int64_t kChunkBytes = 64 << 10;   // of input and output, which stay in L2 for a group of panels
constexpr int64_t kCacheLine = 64;
constexpr int64_t kStreamBytes = 16 << 20;  // of output: more would not be in the caches when it is next read
constexpr int64_t kTileOverhead = 12;       // pointers and stores, in steps of a tile

AxisGeometry axis_geometry(const Conv2dGeometry& g, int d, int64_t out, int64_t in, int64_t taps,
                           bool transposed) {
  return {out, in, taps, g.stride[d], g.dilation[d], g.pad[d], transposed};
}

// Whether input channels fill more lanes than output channels would. Sums over lanes and loads that serve few
// products cost a quarter.
template <class T>
bool prefers_dots(int64_t in, int64_t out) {
  const int64_t lanes = conv_kernels<T>().lanes;
  return 2 * out <= lanes && 3 * in > 4 * out * ceil_division(in, lanes);
}

// Whether a vector holds the output channels of several groups, and another all of their input channels.
template <class T>
bool prefers_span(int64_t groups, int64_t in, int64_t out) {
  const ConvKernels<T>& kernels = conv_kernels<T>();
  return groups > 1 && in <= out && 2 * out <= kernels.lanes && kernels.grouped;
}

int dots_width(int64_t out) {  // of panels, as even as can be
  return static_cast<int>(ceil_division(out, ceil_division(out, kMaxDots)));
}

}  // namespace

template <class T>
Correlator<T>::Correlator(const Correlation<T>& p, void* workspace, int team)
    : p_(p),
      images_(p.y.shape[0]),
      taps_{p.w.shape[2], p.w.shape[3]},
      in_group_(p.x.shape[1] / p.geometry.groups),
      out_group_(p.y.shape[1] / p.geometry.groups),
      dots_(prefers_dots<T>(in_group_, out_group_)),
      spans_(!dots_ && prefers_span<T>(p.geometry.groups, in_group_, out_group_)),
      steps_(dots_ ? ceil_division(in_group_, conv_kernels<T>().lanes) : in_group_),
      carver_(workspace),
      panels_(spans_ ? 1 : p.geometry.groups, spans_ ? p.y.shape[1] : out_group_,
              dots_    ? dots_width(out_group_)
              : spans_ ? static_cast<int>(conv_kernels<T>().lanes / out_group_ * out_group_)
                       : 0),
      mr_(dots_    ? conv_kernels<T>().dot_rows[panels_.width]
          : spans_ ? conv_kernels<T>().grouped_rows
                   : conv_kernels<T>().mr),
      x_(p.x, 0, carver_),
      rows_(axis_geometry(p.geometry, 0, p.y.shape[2], p.x.shape[2], taps_[0], p.transposed), carver_),
      columns_(axis_geometry(p.geometry, 1, p.y.shape[3], p.x.shape[3], taps_[1], p.transposed), carver_) {
  const int64_t image_bytes = std::max<int64_t>(p.x.shape[1] * p.x.shape[2] * p.x.shape[3] * sizeof(T), 1);
  block_ = std::clamp<int64_t>(kBlockBytes / image_bytes, 1, std::max<int64_t>(images_, 1));
  const int lanes = conv_kernels<T>().lanes;
  const int64_t width = dots_ ? panels_.width * lanes : spans_ ? lanes : panels_.width;  // of a step
  panel_size_ = taps_[0] * taps_[1] * steps_ * width;
  weights_ = p.packed ? const_cast<T*>(p.packed) : carver_.take<T>(packed_size());
  bias_ = carver_.take<T>(p.bias.data && p.bias.strides[0] != 1 ? p.bias.shape[0] : 0);
  const int64_t panel_bytes = std::max<int64_t>(panel_size_ * sizeof(T), 1);
  group_ = std::clamp<int64_t>(kGroupBytes / panel_bytes, 1, std::max<int64_t>(panels_.count(), 1));
  const int64_t pixel_bytes = (p.x.shape[1] + std::min(group_ * panels_.width, p.y.shape[1])) * sizeof(T);
  chunk_ = std::max<int64_t>(kChunkBytes / (pixel_bytes * mr_), 1);
  pick_ = carver_.take<T>(spans_ ? lanes : 0);
  segments_ = carver_.take<ConvSegment>(team * taps_[0] * taps_[1]);
  stream_ = streams(p.y);
  bytes_ = carver_.used();
}

// Whether the output is large, and each panel's part of a pixel whole cache lines.
template <class T>
bool Correlator<T>::streams(const TensorView<T>& y) const {
  constexpr int64_t line = kCacheLine / sizeof(T);
  if (dots_ || numel(y) * static_cast<int64_t>(sizeof(T)) < kStreamBytes) return false;
  const int64_t steps =
      (spans_ ? panels_.width : out_group_) | y.shape[1] | y.strides[0] | y.strides[2] | y.strides[3];
  return steps % line == 0 && reinterpret_cast<uintptr_t>(y.data) % kCacheLine == 0;
}

template <class T>
void Correlator<T>::run(const Team& team) const {
  const double products = static_cast<double>(images_) * p_.y.shape[1] * p_.y.shape[2] * p_.y.shape[3] *
                          in_group_ * taps_[0] * taps_[1];
  team.region(kConvNsPerProduct * products * (sizeof(T) / 4), [&](const OpenTeam& team) {
    prepare(team);
    team.barrier();
    compute(team);
    if (stream_) conv_kernels<T>().stream_end();
    team.barrier();
  });
}

template <class T>
void Correlator<T>::prepare(const OpenTeam& team) const {
  if (team.index() == 0) {
    Axis rows = rows_, columns = columns_;
    rows.build();
    columns.build();
    if (spans_) pick_inputs();
    if (p_.bias.data && p_.bias.strides[0] != 1)
      for (int64_t k = 0; k < p_.bias.shape[0]; ++k) bias_[k] = p_.bias.data[k * p_.bias.strides[0]];
  }
  x_.copy_share(team);
  if (!p_.packed) pack_weights(team);
}

// Transposed, the roles of the weights' channels change and the taps turn round.
template <class T>
void Correlator<T>::pack_weights(const OpenTeam& team) const {
  const Range share = even_share(team, panels_.count());
  const int64_t taps = taps_[0] * taps_[1];
  const bool dense = is_contiguous(p_.w);
  for (int64_t panel = share.begin; panel < share.end; ++panel) {
    const int64_t first = panels_.first(panel), group = panels_.group(panel);
    ConvPanel<T> p{};
    p.channels = in_group_, p.taps = taps, p.turned = p_.transposed;
    p.columns = panels_.columns(panel), p.width = panels_.width;
    p.panel = weights_ + panel * panel_size_;
    const int64_t row = p_.w.shape[1] * taps;  // of w
    if (p_.transposed) {
      p.w = p_.w.data + group * in_group_ * row + (first - group * out_group_) * taps;
      p.stride_o = taps, p.stride_c = row;
    } else {
      p.w = p_.w.data + first * row;
      p.stride_o = row, p.stride_c = taps;
    }
    if (dense && !dots_ && !spans_)
      conv_kernels<T>().pack_panel(p);
    else
      pack_panel_by_element(p, panel);
  }
}

// As pack_panel; where dots_, [tap][vector of channels][output channel][lane].
template <class T>
void Correlator<T>::pack_panel_by_element(const ConvPanel<T>& p, int64_t panel) const {
  const int64_t first = panels_.first(panel), lanes = conv_kernels<T>().lanes;
  T* to = p.panel;
  for (int64_t t = 0; t < p.taps; ++t) {
    const int64_t tap = p.turned ? p.taps - 1 - t : t;
    if (dots_) {
      for (int64_t c = 0; c < in_group_; c += lanes)
        for (int o = 0; o < p.width; ++o)
          for (int64_t i = c; i < c + lanes; ++i)
            *to++ = o < p.columns && i < in_group_ ? weight(first + o, i, tap) : T(0);
    } else {
      const int64_t width = spans_ ? lanes : p.width;
      for (int64_t c = 0; c < in_group_; ++c)
        for (int o = 0; o < width; ++o) *to++ = o < p.columns ? weight(first + o, c, tap) : T(0);
    }
  }
}

template <class T>
void Correlator<T>::pick_inputs() const {
  using Integer = std::conditional_t<sizeof(T) == 4, int32_t, int64_t>;
  Integer* pick = static_cast<Integer*>(pick_);
  for (int i = 0; i < conv_kernels<T>().lanes; ++i)
    pick[i] = static_cast<Integer>(i / out_group_ * in_group_);
}

template <class T>
int64_t Correlator<T>::first_input(int64_t panel) const {
  return spans_ ? panels_.first(panel) / out_group_ * in_group_ : panels_.group(panel) * in_group_;
}

// Of an output channel for an input channel of its group.
template <class T>
T Correlator<T>::weight(int64_t out, int64_t channel, int64_t tap) const {
  const int64_t* st = p_.w.strides;
  const int64_t at = tap / taps_[1] * st[2] + tap % taps_[1] * st[3];
  if (!p_.transposed) return p_.w.data[out * st[0] + channel * st[1] + at];
  const int64_t group = out / out_group_;
  return p_.w.data[(group * in_group_ + channel) * st[0] + (out - group * out_group_) * st[1] + at];
}

template <class T>
int64_t Correlator<T>::tile_weight(const Axis::Class& rows, const Axis::Class& columns) const {
  return rows.tap_count * columns.tap_count * steps_ + kTileOverhead;
}

template <class T>
int64_t Correlator<T>::block_weight(int64_t images) const {
  int64_t weight = 0;
  for (int64_t i = 0; i < rows_.classes(); ++i)
    for (int64_t j = 0; j < columns_.classes(); ++j) {
      const Region region{rows_[i], columns_[j], 0, images};
      weight += region.tiles(mr_) * tile_weight(region.rows, region.columns);
    }
  return weight * panels_.count();
}

// All of the work, in order: blocks of images, groups of panels, regions, chunks of tiles, panels, tiles. A
// thread takes a run of it: images of its own where there are many, else panels, else tiles.
template <class T>
void Correlator<T>::compute(const OpenTeam& team) const {
  const int64_t whole = block_weight(block_), rest = block_weight(images_ % block_);
  Share share(team, images_ / block_ * whole + rest);
  for (int64_t n = 0; n < images_; n += block_) {
    const int64_t images = std::min(block_, images_ - n);
    if (share.skip(images == block_ ? whole : rest)) continue;
    for (int64_t panel = 0; panel < panels_.count(); panel += group_) {
      const Range panels{panel, std::min(panel + group_, panels_.count())};
      for (int64_t i = 0; i < rows_.classes(); ++i)
        for (int64_t j = 0; j < columns_.classes(); ++j) {
          const Region region{rows_[i], columns_[j], n, images};
          const int64_t items = region.tiles(mr_) * (panels.end - panels.begin);
          const Range mine = share.take(items, tile_weight(region.rows, region.columns));
          if (!mine.empty()) run_region(team, region, panels, mine);
        }
    }
  }
}

// Items are numbered chunk by chunk, in it panel by panel, tile by tile.
template <class T>
void Correlator<T>::run_region(const OpenTeam& team, const Region& region, Range panels, Range items) const {
  ConvSegment* segments = segments_ + team.index() * taps_[0] * taps_[1];
  const int64_t segment_count = list_segments(region, segments), tiles = region.tiles(mr_);
  const int64_t chunk_items = chunk_ * (panels.end - panels.begin);
  for (int64_t item = items.begin; item < items.end && !interrupted(team);) {
    const int64_t first = item / chunk_items * chunk_, count = std::min(chunk_, tiles - first);
    const int64_t panel = panels.begin + item % chunk_items / count, tile = item % chunk_items % count;
    const int64_t run = std::min(count - tile, items.end - item);
    run_tiles(region, panel, {first + tile, first + tile + run}, segments, segment_count,
              next_inputs(region, panels, panel, segments, segment_count), target(panel));
    item += run;
  }
}

// While tiles of one chunk are computed, the next chunk's input comes nearer, for each tile as much as it
// reads of new pixels itself, and each panel brings its part. Input rows lie one after another, so that it is
// found so much further in memory than the tile's own last tap.
template <class T>
typename Correlator<T>::Fetch Correlator<T>::next_inputs(const Region& region, Range panels, int64_t panel,
                                                         const ConvSegment* segments, int64_t count) const {
  int64_t steps = 0;
  for (int64_t i = 0; i < count; ++i) steps += segments[i].n;
  if (steps == 0 || dots_) return {0, 0};
  const ConvSegment& last = segments[count - 1];
  const int64_t pixels = ceil_division(region.pixels(), region.tiles(mr_));  // of a tile
  const int64_t new_values = pixels * (p_.transposed ? 1 : p_.geometry.stride[1]) * x_.stride_w;
  const int64_t part = new_values / (panels.end - panels.begin);
  const int64_t from = last.a + last.n - in_group_ + chunk_ * new_values;
  return {from + (panel - panels.begin) * part, part * static_cast<int64_t>(sizeof(T)) / steps};
}

// The taps of a region as runs of values that lie one after another in the input and in the panel.
template <class T>
int64_t Correlator<T>::list_segments(const Region& region, ConvSegment* segments) const {
  const int64_t step_a = 1, step_b = panels_.width;
  const int64_t tap_size = panel_size_ / (taps_[0] * taps_[1]);
  int64_t count = 0;
  if (in_group_ == 0) return 0;
  for (int64_t r = 0; r < region.rows.tap_count; ++r)
    for (int64_t s = 0; s < region.columns.tap_count; ++s) {
      const AxisTap row = region.rows.tap(r), column = region.columns.tap(s);
      const int64_t a = row.offset * x_.stride_h + column.offset * x_.stride_w;
      const int64_t b = (row.tap * taps_[1] + column.tap) * tap_size;
      ConvSegment* last = segments + count - 1;
      if (count > 0 && !spans_ && a == last->a + last->n * step_a && b == last->b + last->n * step_b)
        last->n += in_group_;
      else
        segments[count++] = {a, b, in_group_};
    }
  return count;
}

template <class T>
typename Correlator<T>::Target Correlator<T>::target(int64_t panel) const {
  const int64_t first = panels_.first(panel);
  const T* bias = bias_ && p_.bias.strides[0] != 1 ? bias_ : p_.bias.data;
  return {p_.y.data + first, p_.y.strides[0],        p_.y.strides[2],
          p_.y.strides[3],   panels_.columns(panel), p_.bias.data ? bias + first : nullptr,
          p_.norm_of(first)};
}

template <class T>
void Correlator<T>::run_tiles(const Region& region, int64_t panel, Range tiles, const ConvSegment* segments,
                              int64_t segment_count, Fetch fetch, const Target& target) const {
  const ConvKernels<T>& kernels = conv_kernels<T>();
  const int64_t pixels = region.pixels(), rows = ceil_division(pixels, region.tiles(mr_));
  const int64_t height = region.rows.size, width = region.columns.size;
  ConvTile<T> t;
  t.segments = segments, t.count = segment_count;
  t.step_a = 1, t.step_b = panels_.width;
  t.b = weights_ + panel * panel_size_, t.bias = target.bias;
  t.norm = target.norm, t.norm_step = p_.y.shape[1];
  t.columns = target.columns;
  t.accumulate = false, t.relu = p_.relu, t.stream = stream_;
  t.fetch_step = fetch.step;
  t.ahead = dots_ && segment_count == 1 && segments->n == in_group_
                ? 2 * rows * x_.stride_w * (p_.transposed ? 1 : p_.geometry.stride[1])
                : 0;
  const T* x = x_.data + first_input(panel);
  t.pick = pick_;
  t.reach = static_cast<int>(std::min<int64_t>(kernels.lanes, p_.x.shape[1] - first_input(panel)));
  int64_t pixel = tiles.begin * rows, column = pixel % width, row = pixel / width % height;
  int64_t image = region.first_image + pixel / width / height;
  const int64_t last = std::min(tiles.end * rows, pixels);
  const int64_t first_x = region.columns.first_base * x_.stride_w,
                step_x = region.columns.base_step * x_.stride_w;
  const int64_t first_y = region.columns.first_position * target.stride_w;
  const int64_t step_y = region.columns.position_step * target.stride_w;
  const T* x_row = nullptr;
  T* y_row = nullptr;
  const auto enter_row = [&] {
    x_row = x + image * x_.stride_n + region.rows.base(row) * x_.stride_h + first_x;
    y_row = target.y + image * target.stride_n + region.rows.position(row) * target.stride_h + first_y;
  };
  enter_row();
  while (pixel < last) {
    t.rows = static_cast<int>(std::min(rows, last - pixel));
    for (int i = 0; i < t.rows; ++i) {
      if (column == width) {
        column = 0;
        if (++row == height) row = 0, ++image;
        enter_row();
      }
      t.a[i] = x_row + column * step_x;
      t.c[i] = y_row + column * step_y;
      ++column;
    }
    t.fetch = reinterpret_cast<const char*>(t.a[0] + fetch.begin);
    pixel += t.rows;
    if (dots_)
      kernels.dots(t);
    else if (spans_)
      kernels.grouped(t);
    else
      kernels.tile(t);
  }
}

template class Correlator<float>;
template class Correlator<double>;

}  // namespace ranvier
