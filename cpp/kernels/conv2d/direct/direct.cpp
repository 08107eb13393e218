#include "kernels/conv2d/direct/direct.h"

#include <algorithm>
#include <type_traits>

#include "base/caches.h"
#include "kernels/conv2d/planes/planes.h"

namespace ranvier {
namespace {

constexpr int64_t kCacheLine = 64;
constexpr int64_t kTileOverhead = 12;  // the time of a tile's pointers and stores, as steps of products

// Whether groups have so few channels that a vector holds the outputs of several, and another their inputs.
// Of more inputs than outputs, the vector of outputs is not full, and dots may take less: see prefers_dots.
template <class T>
bool prefers_span(const Correlation<T>& p, int64_t in, int64_t out) {
  const ConvKernels<T>& kernels = conv_kernels<T>();
  const bool fits = 2 * std::max(in, out) <= kernels.lanes && 3 * in * in <= 4 * out * kernels.lanes;
  return p.geometry.groups > 1 && fits && kernels.grouped && p.algorithms.has(ConvAlgorithm::grouped);
}

template <class T>
int panel_width(bool dots, bool spans, int64_t in, int64_t out) {  // 0: as many vectors as a tile has
  if (dots) return static_cast<int>(out);
  return spans ? static_cast<int>(conv_kernels<T>().lanes / std::max(in, out) * out) : 0;
}

// The correlation on those pixels of x alone that it reads (see skip_pixels).
template <class T>
Correlation<T> without_skipped(Correlation<T> p) {
  if (!p.transposed) skip_pixels(p.w.shape[2], p.w.shape[3], p.y.shape + 2, p.geometry, p.x);
  return p;
}

}  // namespace

// Vectors of inputs need ceil(in / lanes) * out products a tap, vectors of outputs `in`. The factor 4 / 3 is
// for their loads, of which each serves fewer products; 8 out^2 is for the sums over lanes at the end.
template <class T>
bool prefers_dots(int64_t in, int64_t out, int64_t taps) {
  const int64_t lanes = conv_kernels<T>().lanes;
  return out <= kMaxDots && 2 * out <= lanes && 3 * in > 4 * out * ceil_div(in, lanes) &&
         in * taps >= 8 * out * out;
}

template <class T>
DirectSum<T>::DirectSum(const Correlation<T>& p, Carver& carver, int threads, bool may_pack_late)
    : problem(without_skipped(p)),
      in_group(p.x.shape[1] / p.geometry.groups),
      out_group(p.y.shape[1] / p.geometry.groups),
      spans(prefers_span(p, in_group, out_group)),
      dots(!spans && p.algorithms.has(ConvAlgorithm::dots) &&
           prefers_dots<T>(in_group, out_group, p.w.shape[2] * p.w.shape[3]) && !is_planar(p)),
      steps(dots ? ceil_div(in_group, conv_kernels<T>().lanes) : in_group),
      panels(spans ? 1 : p.geometry.groups, spans ? p.y.shape[1] : out_group,
             panel_width<T>(dots, spans, in_group, out_group)),
      mr(dots    ? conv_kernels<T>().dot_rows[panels.width]
         : spans ? conv_kernels<T>().grouped_rows
                 : conv_kernels<T>().rows(panels.width)),
      x(problem.x, 0, carver),
      rows(problem.axis(0), carver),
      columns(problem.axis(1), carver),
      taps_{p.w.shape[2], p.w.shape[3]} {
  const int64_t* in = problem.x.shape;
  const int64_t image_bytes = std::max<int64_t>(in[1] * in[2] * in[3] * sizeof(T), 1);
  images_at_once = std::clamp<int64_t>(caches.l2 / image_bytes, 1, std::max<int64_t>(p.y.shape[0], 1));
  const int lanes = conv_kernels<T>().lanes;
  const int64_t width = dots ? panels.width * lanes : spans ? lanes : panels.width;  // of a step
  panel_size_ = taps_[0] * taps_[1] * steps * width;
  const int64_t panel_bytes = std::max<int64_t>(panel_size_ * sizeof(T), 1);
  panels_at_once = std::clamp<int64_t>(caches.l2 / 4 / panel_bytes, 1, std::max<int64_t>(panels.count(), 1));
  // Weights that L2 does not hold would go to memory and back. With more images at a time they are read
  // often.
  packs_late = may_pack_late && !p.packed_w && images_at_once >= p.y.shape[0] &&
               2 * threads * panels_at_once <= panels.count() &&
               packed_size() * static_cast<int64_t>(sizeof(T)) > caches.l2 / 2;
  const int64_t packed = packs_late ? threads * panels_at_once * panel_size_ : packed_size();
  weights_ = p.packed_w ? const_cast<T*>(p.packed_w) : carver.take<T>(packed);
  const bool strided = p.bias.data && p.bias.strides[0] != 1;
  bias_copy_ = carver.take<T>(strided ? p.bias.shape[0] : 0);
  bias_ = strided ? bias_copy_ : p.bias.data;
  pick_ = carver.take<T>(spans ? lanes : 0);
  segments_ = carver.take<ConvSegment>(threads * taps_[0] * taps_[1]);
}

template <class T>
double DirectSum<T>::products() const {
  return static_cast<double>(numel(problem.y)) * in_group * taps_[0] * taps_[1];
}

template <class T>
void DirectSum<T>::prepare(const OpenTeam& team) const {
  if (team.index() == 0) {
    rows.build();
    columns.build();
    if (spans) pick_inputs();
    if (bias_ == bias_copy_ && bias_)
      for (int64_t k = 0; k < problem.bias.shape[0]; ++k)
        bias_copy_[k] = problem.bias.data[k * problem.bias.strides[0]];
  }
  x.copy_share(team);
  if (!problem.packed_w && !packs_late) pack_weights(team);
}

template <class T>
T* DirectSum<T>::packed_by(const OpenTeam& team) const {
  return weights_ + (packs_late ? team.index() * panels_at_once * panel_size_ : 0);
}

template <class T>
void DirectSum<T>::pack_weights(const OpenTeam& team) const {
  const Range share = even_share(team, panels.count());
  for (int64_t panel = share.begin; panel < share.end; ++panel)
    pack_panel(panel, weights_ + panel * panel_size_);
}

template <class T>
void DirectSum<T>::pack_group(const OpenTeam& team, Range group) const {
  for (int64_t panel = group.begin; panel < group.end; ++panel)
    pack_panel(panel, packed_by(team) + slot(panel) * panel_size_);
}

// Where transposed, the roles of the weights' channels change and the taps are flipped. `row`: the elements
// of w for one index of its first dimension.
template <class T>
void DirectSum<T>::pack_panel(int64_t panel, T* to) const {
  const TensorView<const T>& w = problem.w;
  const int64_t taps = taps_[0] * taps_[1], row = w.shape[1] * taps;
  const int64_t first = panels.first(panel), group = panels.group(panel);
  ConvPanel<T> p{};
  p.channels = in_group, p.taps = taps, p.flipped = problem.transposed;
  p.columns = panels.columns(panel), p.width = panels.width;
  p.panel = to;
  p.w = w.data +
        (problem.transposed ? group * in_group * row + (first - group * out_group) * taps : first * row);
  p.stride_o = problem.transposed ? taps : row, p.stride_c = problem.transposed ? row : taps;
  if (is_contiguous(w) && !dots && !spans)
    conv_kernels<T>().pack_panel(p);
  else
    pack_panel_by_element(p, panel);
}

// As pack_panel; where dots, [tap][vector of channels][output channel][lane].
template <class T>
void DirectSum<T>::pack_panel_by_element(const ConvPanel<T>& p, int64_t panel) const {
  const int64_t first = panels.first(panel), lanes = conv_kernels<T>().lanes;
  const int64_t width = spans ? lanes : p.width, run = dots ? lanes : 1;  // channels side by side
  T* to = p.panel;
  for (int64_t t = 0; t < p.taps; ++t)
    for (int64_t c = 0; c < in_group; c += run)
      for (int o = 0; o < width; ++o)
        for (int64_t i = c; i < c + run; ++i)
          *to++ = o < p.columns && i < in_group ? weight(first + o, i, p.flipped ? p.taps - 1 - t : t) : T(0);
}

template <class T>
void DirectSum<T>::pick_inputs() const {
  using Integer = std::conditional_t<sizeof(T) == 4, int32_t, int64_t>;
  Integer* pick = static_cast<Integer*>(pick_);
  for (int i = 0; i < conv_kernels<T>().lanes; ++i) pick[i] = static_cast<Integer>(i / out_group * in_group);
}

// The first input channel that a panel reads.
template <class T>
int64_t DirectSum<T>::first_input(int64_t panel) const {
  return spans ? panels.first(panel) / out_group * in_group : panels.group(panel) * in_group;
}

// The weight of an output channel for an input channel of its group.
template <class T>
T DirectSum<T>::weight(int64_t out, int64_t channel, int64_t tap) const {
  const int64_t* st = problem.w.strides;
  const int64_t at = tap / taps_[1] * st[2] + tap % taps_[1] * st[3];
  if (!problem.transposed) return problem.w.data[out * st[0] + channel * st[1] + at];
  const int64_t group = out / out_group;
  return problem.w.data[(group * in_group + channel) * st[0] + (out - group * out_group) * st[1] + at];
}

// Taps whose values are side by side in the input and in the panel become one segment.
template <class T>
typename DirectSum<T>::Taps DirectSum<T>::taps(const OpenTeam& team, const Region& region) const {
  ConvSegment* const segments = segments_ + team.index() * taps_[0] * taps_[1];
  const int64_t step_a = 1, step_b = panels.width;
  const int64_t tap_size = panel_size_ / (taps_[0] * taps_[1]);
  int64_t count = 0;
  if (in_group == 0) return {segments, 0, packed_by(team)};
  for (int64_t r = 0; r < region.rows.tap_count; ++r)
    for (int64_t s = 0; s < region.columns.tap_count; ++s) {
      const AxisTap row = region.rows.tap(r), column = region.columns.tap(s);
      const int64_t a = row.offset * x.stride_h + column.offset * x.stride_w;
      const int64_t b = (row.tap * taps_[1] + column.tap) * tap_size;
      ConvSegment* last = segments + count - 1;
      if (count > 0 && !spans && a == last->a + last->n * step_a && b == last->b + last->n * step_b)
        last->n += in_group;
      else
        segments[count++] = {a, b, in_group};
    }
  return {segments, count, packed_by(team)};
}

template <class T>
void DirectSum<T>::run_tiles(const Region& region, int64_t panel, Range tiles, const Taps& taps, Fetch fetch,
                             const Sink& sink) const {
  const ConvKernels<T>& kernels = conv_kernels<T>();
  const int64_t pixels = region.pixels(), tile_rows = ceil_div(pixels, region.tiles(mr));
  const Axis::Class &down = region.rows, &across = region.columns;
  const int64_t height = down.size, width = across.size;
  const int64_t first_x = across.first_base * x.stride_w, step_x = across.base_step * x.stride_w;
  const int64_t first_y = across.first_position * sink.stride_w,
                step_y = across.position_step * sink.stride_w;
  ConvTile<T> t;
  t.segments = taps.segments, t.count = taps.count;
  t.step_a = 1, t.step_b = panels.width;
  t.b = weights(taps, panel), t.bias = sink.bias;
  t.norm = sink.norm, t.norm_step = problem.y.shape[1];
  t.columns = sink.columns;
  t.accumulate = false, t.relu = sink.relu, t.stream = sink.stream;
  t.fetch_step = fetch.step;
  t.ahead = dots && taps.count == 1 && taps.segments->n == in_group ? 2 * tile_rows * step_x : 0;
  const T* from = x.data + first_input(panel);
  t.pick = pick_;
  t.reach = static_cast<int>(std::min<int64_t>(kernels.lanes, problem.x.shape[1] - first_input(panel)));
  int64_t pixel = tiles.begin * tile_rows, column = pixel % width, row = pixel / width % height;
  int64_t image = region.first_image + pixel / width / height;
  const int64_t last = std::min(tiles.end * tile_rows, pixels);
  const T* x_row = nullptr;
  T* y_row = nullptr;
  const auto enter_row = [&] {
    x_row = from + image * x.stride_n + down.base(row) * x.stride_h + first_x;
    y_row = sink.y + image * sink.stride_n + down.position(row) * sink.stride_h + first_y;
  };
  const auto next_row = [&] {
    column = 0;
    if (++row == height) row = 0, ++image;
    enter_row();
  };
  enter_row();
  while (pixel < last) {
    if (column == width) next_row();
    t.rows = static_cast<int>(std::min(tile_rows, last - pixel));
    t.row_step = step_x;
    t.fetch = reinterpret_cast<const char*>(x_row + column * step_x * down.base_step + fetch.begin);
    for (int i = 0; i < t.rows; ++i) {
      if (column == width) {
        next_row();
        if (i % 2 == 1 && x_row != t.a[i - 1] + step_x) t.row_step = 0;  // see ConvTile
      }
      t.a[i] = x_row + column * step_x;
      t.c[i] = y_row + column * step_y;
      ++column;
    }
    pixel += t.rows;
    if (dots)
      kernels.dots(t);
    else if (spans)
      kernels.grouped(t);
    else
      kernels.tile(t);
  }
}

template <class T>
Correlator<T>::Correlator(const Correlation<T>& p, Carver& carver, int threads)
    : sum_(p, carver, threads, true), stream_(streams()) {
  const int64_t group_columns = sum_.panels_at_once * sum_.panels.width;
  const int64_t pixel_bytes = (p.x.shape[1] + std::min(group_columns, p.y.shape[1])) * sizeof(T);
  chunk_ = std::max<int64_t>(caches.l2 / 16 / (pixel_bytes * sum_.mr), 1);
}

// Whether results are stored past the caches: the output is large, and each panel's part of a pixel is whole
// cache lines.
template <class T>
bool Correlator<T>::streams() const {
  constexpr int64_t line = kCacheLine / sizeof(T);
  const TensorView<T>& y = sum_.problem.y;
  if (sum_.dots || numel(y) * static_cast<int64_t>(sizeof(T)) < caches.l3 / 2) return false;
  const int64_t steps = (sum_.spans ? sum_.panels.width : sum_.out_group) | y.shape[1] | y.strides[0] |
                        y.strides[2] | y.strides[3];
  return steps % line == 0 && reinterpret_cast<uintptr_t>(y.data) % kCacheLine == 0;
}

template <class T>
void Correlator<T>::run(const Team& team) const {
  team.region(kConvNsPerProduct * sum_.products() * (sizeof(T) / 4), [&](const OpenTeam& team) {
    sum_.prepare(team);
    team.barrier();
    compute(team);
    if (stream_) conv_kernels<T>().stream_end();
    team.barrier();
  });
}

// Weights are work in steps of products, by which it is shared out (share.h).
template <class T>
int64_t Correlator<T>::tile_weight(const Region& region) const {
  return region.rows.tap_count * region.columns.tap_count * sum_.steps + kTileOverhead;
}

template <class T>
int64_t Correlator<T>::block_weight(int64_t images) const {
  int64_t weight = 0;
  for (int64_t i = 0; i < sum_.rows.classes(); ++i)
    for (int64_t j = 0; j < sum_.columns.classes(); ++j) {
      const Region region{sum_.rows[i], sum_.columns[j], 0, images};
      weight += region.tiles(sum_.mr) * tile_weight(region);
    }
  return weight * sum_.panels.count();
}

// A thread takes runs of the work: whole images where there are many, else panels, else tiles.
template <class T>
void Correlator<T>::compute(const OpenTeam& team) const {
  const int64_t images = sum_.problem.y.shape[0], block = sum_.images_at_once;
  const int64_t weight = images / block * block_weight(block) + block_weight(images % block);
  // Chunks of whole groups of panels, so that few groups are packed by two threads.
  const int64_t chunk = sum_.packs_late
                            ? std::max<int64_t>(weight / sum_.panels.count() * sum_.panels_at_once, 1)
                            : Chunks::size(team, weight);
  int64_t packed = -1;
  for (Chunks c(team, weight, chunk); c.next() && !interrupted(team);)
    run_share(team, Share({c.begin, c.end}), packed);
}

// All of the work, in order: blocks of images, groups of panels, regions, chunks of tiles, panels, tiles.
// packed: the first panel of the group that this thread has packed.
template <class T>
void Correlator<T>::run_share(const OpenTeam& team, Share share, int64_t& packed) const {
  const int64_t images = sum_.problem.y.shape[0], block = sum_.images_at_once, group = sum_.panels_at_once;
  const int64_t whole = block_weight(block), rest = block_weight(images % block);
  for (int64_t n = 0; n < images; n += block) {
    const int64_t count = std::min(block, images - n);
    if (share.skip(count == block ? whole : rest)) continue;
    for (int64_t panel = 0; panel < sum_.panels.count(); panel += group) {
      const Range panels{panel, std::min(panel + group, sum_.panels.count())};
      for (int64_t i = 0; i < sum_.rows.classes(); ++i)
        for (int64_t j = 0; j < sum_.columns.classes(); ++j) {
          const Region region{sum_.rows[i], sum_.columns[j], n, count};
          const int64_t items = region.tiles(sum_.mr) * (panels.end - panels.begin);
          const Range mine = share.take(items, tile_weight(region));
          if (mine.empty()) continue;
          if (sum_.packs_late && packed != panel) sum_.pack_group(team, panels), packed = panel;
          run_region(team, region, panels, mine);
        }
    }
  }
}

// Items are numbered chunk by chunk, in it panel by panel, tile by tile.
template <class T>
void Correlator<T>::run_region(const OpenTeam& team, const Region& region, Range panels, Range items) const {
  const Taps taps = sum_.taps(team, region);
  const Correlation<T>& p = sum_.problem;
  const int64_t tiles = region.tiles(sum_.mr), chunk_items = chunk_ * (panels.end - panels.begin);
  for (int64_t item = items.begin; item < items.end && !interrupted(team);) {
    const int64_t first = item / chunk_items * chunk_, count = std::min(chunk_, tiles - first);
    const int64_t panel = panels.begin + item % chunk_items / count, tile = item % chunk_items % count;
    const int64_t run = std::min(count - tile, items.end - item);
    sum_.run_tiles(region, panel, {first + tile, first + tile + run}, taps,
                   next_inputs(region, panels, panel, taps),
                   {p.y.data + sum_.panels.first(panel), p.y.strides[0], p.y.strides[2], p.y.strides[3],
                    sum_.panels.columns(panel), sum_.bias(panel), sum_.norm(panel), p.relu, stream_});
    item += run;
  }
}

// While the tiles of one chunk are computed, the next chunk's input is prefetched: for each tile as much as
// it reads of new pixels itself, and for each panel a part of that. Input rows are one after another, so that
// it is so much further in memory than the tile's own last tap.
template <class T>
typename DirectSum<T>::Fetch Correlator<T>::next_inputs(const Region& region, Range panels, int64_t panel,
                                                        const Taps& taps) const {
  int64_t steps = 0;
  for (int64_t i = 0; i < taps.count; ++i) steps += taps.segments[i].n;
  if (steps == 0 || sum_.dots) return {0, 0};
  const ConvSegment& last = taps.segments[taps.count - 1];
  const int64_t pixels = ceil_div(region.pixels(), region.tiles(sum_.mr));  // of a tile
  const int64_t new_values = pixels * region.rows.base_step * region.columns.base_step * sum_.x.stride_w;
  const int64_t part = new_values / (panels.end - panels.begin);
  const int64_t from = last.a + last.n - sum_.in_group + chunk_ * new_values;
  return {from + (panel - panels.begin) * part, part * static_cast<int64_t>(sizeof(T)) / steps};
}

template bool prefers_dots<float>(int64_t, int64_t, int64_t);
template bool prefers_dots<double>(int64_t, int64_t, int64_t);
template class DirectSum<float>;
template class DirectSum<double>;
template class Correlator<float>;
template class Correlator<double>;

}  // namespace ranvier
