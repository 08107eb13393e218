// DirectSum (direct.h): computes any tiles of a correlation. It chooses the form (SumForm), packs the
// weights, lists the taps of a region as segments, and sets the pointers of each tile. correlator.cpp decides
// the order of all tiles.
#include "kernels/conv2d/direct/direct.h"

#include <algorithm>
#include <type_traits>

#include "base/caches.h"
#include "kernels/conv2d/direct/runs.h"
#include "kernels/conv2d/planes/planes.h"

namespace ranvier {
namespace {

// True for SumForm::spans: groups have so few channels that one vector holds the outputs of several groups,
// and one vector their inputs. With more inputs than outputs, the vector of outputs is not full, and dots may
// take less time: see prefers_dots().
template <class T>
bool prefers_span(const Correlation<T>& p, int64_t in, int64_t out) {
  const ConvKernels<T>& kernels = conv_kernels<T>();
  const bool fits = 2 * std::max(in, out) <= kernels.lanes && 3 * in * in <= 4 * out * kernels.lanes;
  return p.geometry.groups > 1 && fits && kernels.grouped && p.algorithms.has(ConvAlgorithm::grouped);
}

// True for SumForm::shared: the outputs of a group are one vector, so that in other forms an input is loaded
// for each product, and the kSharedTaps taps of a row meet neighbouring pixels. in <= kMostChannels, since
// the segments (one for each channel and row of taps) must stay in L1. Only with groups: without them
// conv2d_pool has to give the same bits, whose tiles need the usual order of products.
template <class T>
bool shares_inputs(const Correlation<T>& p, int64_t in, int64_t out) {
  constexpr int64_t kMostChannels = 64;
  const ConvKernels<T>& kernels = conv_kernels<T>();
  return kernels.shared && !p.pairs && p.geometry.groups > 1 && out <= kernels.lanes &&
         2 * out > kernels.lanes && in <= kMostChannels && p.w.shape[3] == kSharedTaps &&
         p.geometry.stride[1] == 1 && p.geometry.dilation[1] == 1 &&
         p.y.shape[3] >= kSharedRows[1] + kSharedTaps - 1;
}

// The same correlation with a view of x that has only the pixels that it reads (see skip_pixels()).
template <class T>
Correlation<T> without_skipped(Correlation<T> p) {
  if (!p.transposed) skip_pixels(p.w.shape[2], p.w.shape[3], p.y.shape + 2, p.geometry, p.x);
  return p;
}

// Where planes pay (is_planar()), this sum computes what they cannot, such as weights that are not finite. It
// must then have the bits of planes, which dots do not have.
template <class T>
SumForm form_of(const Correlation<T>& p, int64_t in, int64_t out) {
  if (prefers_span(p, in, out)) return SumForm::spans;
  if (p.algorithms.has(ConvAlgorithm::dots) && prefers_dots<T>(in, out, p.w.shape[2] * p.w.shape[3]) &&
      !is_planar(p))
    return SumForm::dots;
  return shares_inputs(p, in, out) ? SumForm::shared : SumForm::panels;
}

// The panels of output channels for a form. may_be_wide: see Panels (operands.h).
template <class T>
Panels<T> panels_of(const Correlation<T>& p, SumForm form, int64_t in, int64_t out, bool may_be_wide) {
  const int64_t groups = p.geometry.groups;
  if (form == SumForm::dots) return {groups, out, static_cast<int>(out)};
  if (form != SumForm::spans) return {groups, out, 0, may_be_wide};
  return {1, groups * out, static_cast<int>(conv_kernels<T>().lanes / std::max(in, out) * out)};
}

// The most pixels of a tile.
template <class T>
int rows_of_tile(const Panels<T>& panels, SumForm form, bool may_be_wide) {
  const ConvKernels<T>& kernels = conv_kernels<T>();
  if (form == SumForm::dots) return kernels.dot_rows[panels.width];
  if (form == SumForm::spans) return kernels.grouped_rows;
  const int64_t columns = may_be_wide ? panels.columns(0) : panels.width;
  return kernels.rows(columns);
}

}  // namespace

// For each tap, vectors of inputs need ceil(in / lanes) * out products of vectors, vectors of outputs `in`.
// The factor 4 / 3 is for the loads, each of which serves fewer products; 8 out^2 is for adding the lanes at
// the end.
template <class T>
bool prefers_dots(int64_t in, int64_t out, int64_t taps) {
  const int64_t lanes = conv_kernels<T>().lanes;
  return out <= kMaxDots && 2 * out <= lanes && 3 * in > 4 * out * ceil_div(in, lanes) &&
         in * taps >= 8 * out * out;
}

template <class T>
DirectSum<T>::DirectSum(const Correlation<T>& p, Carver& carver, int threads, bool tiles_alone)
    : problem(without_skipped(p)),
      in_group(p.x.shape[1] / p.geometry.groups),
      out_group(p.y.shape[1] / p.geometry.groups),
      form(form_of(p, in_group, out_group)),
      steps(form == SumForm::dots ? ceil_div(in_group, conv_kernels<T>().lanes) : in_group),
      panels(panels_of(p, form, in_group, out_group, tiles_alone && !p.pairs && !p.pooled)),
      tile_rows(rows_of_tile(panels, form, tiles_alone && !p.pairs)),
      x(problem.x, 0, carver),
      rows(problem.axis(0), carver),
      columns(problem.axis(1), carver),
      taps_{p.w.shape[2], p.w.shape[3]} {
  const int64_t* in = problem.x.shape;
  const int64_t image_bytes = std::max<int64_t>(in[1] * in[2] * in[3] * sizeof(T), 1);
  images_at_once = std::clamp<int64_t>(caches.l2 / image_bytes, 1, std::max<int64_t>(p.y.shape[0], 1));
  panel_size_ = taps_[0] * taps_[1] * steps * step_size();
  const int64_t panel_bytes = std::max<int64_t>(panel_size_ * sizeof(T), 1);
  panels_at_once = std::clamp<int64_t>(caches.l2 / 4 / panel_bytes, 1, std::max<int64_t>(panels.count(), 1));
  // Weights that L2 does not hold would go to memory and back if they were packed beforehand. But where there
  // are several blocks of images, they are read several times, and packing beforehand pays.
  packs_late = tiles_alone && !p.packed_w && images_at_once >= p.y.shape[0] &&
               2 * threads * panels_at_once <= panels.count() &&
               packed_size() * static_cast<int64_t>(sizeof(T)) > caches.l2 / 2;
  const int64_t packed = packs_late ? threads * panels_at_once * panel_size_ : packed_size();
  weights_ = p.packed_w ? const_cast<T*>(p.packed_w) : carver.take<T>(packed);
  const bool strided = p.bias.data && p.bias.strides[0] != 1;
  const int64_t copied = strided ? p.bias.shape[0] : 0;
  bias_copy_ = carver.take<T>(copied);
  bias_ = strided ? bias_copy_ : p.bias.data;
  const int picks = form == SumForm::spans ? conv_kernels<T>().lanes : 0;
  pick_ = carver.take<T>(picks);
  segments_ = carver.take<ConvSegment>(threads * segments_of_thread());
}

template <class T>
int64_t DirectSum<T>::step_size() const {
  if (form == SumForm::dots) return panels.width * conv_kernels<T>().lanes;
  return form == SumForm::spans ? conv_kernels<T>().lanes : panels.width;
}

// ConvTile::chain. Planes have one chain for each sum, and the same bits as this algorithm. The
// kernels of pairs have chains of their own.
template <class T>
int64_t DirectSum<T>::chain() const {
  const bool one_chain =
      problem.pairs || form == SumForm::spans || form == SumForm::dots || fits_planes(problem);
  return one_chain ? kOneChain : kConvChain;
}

// The most segments of a region.
template <class T>
int64_t DirectSum<T>::segments_of_thread() const {
  const int64_t segments_of_row = form == SumForm::shared ? in_group : taps_[1] * segments_of_run(in_group);
  return taps_[0] * segments_of_row;
}

template <class T>
void DirectSum<T>::prepare(const OpenTeam& team) const {
  if (team.index() == 0) {
    rows.build();
    columns.build();
    if (form == SumForm::spans) pick_inputs();
    if (bias_ == bias_copy_ && bias_)
      for (int64_t k = 0; k < problem.bias.shape[0]; ++k)
        bias_copy_[k] = problem.bias.data[k * problem.bias.strides[0]];
  }
  x.copy_share(team);
  if (!problem.packed_w && !packs_late) pack_weights(team);
}

// Where this thread's packed panels begin.
template <class T>
T* DirectSum<T>::packed_by(const OpenTeam& team) const {
  const int64_t first = packs_late ? team.index() * panels_at_once * panel_size_ : 0;
  return weights_ + first;
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

// Packs the weights of a panel. Where transposed, input and output channels of w are exchanged and the taps
// are flipped. `row`: the elements of w for one index of its first dimension.
template <class T>
void DirectSum<T>::pack_panel(int64_t panel, T* to) const {
  const TensorView<const T>& w = problem.w;
  const int64_t taps = taps_[0] * taps_[1];
  const int64_t row = w.shape[1] * taps;
  const int64_t first = panels.first(panel);
  const int64_t group = panels.group(panel);
  ConvPanel<T> p{};
  p.channels = in_group;
  p.taps = taps;
  p.flipped = problem.transposed;
  p.columns = panels.columns(panel);
  p.width = panels.width;
  p.panel = to;
  const int64_t transposed_first = group * in_group * row + (first - group * out_group) * taps;
  const int64_t first_weight = problem.transposed ? transposed_first : first * row;
  p.w = w.data + first_weight;
  p.stride_o = problem.transposed ? taps : row;
  p.stride_c = problem.transposed ? row : taps;
  if (is_contiguous(w) && (form == SumForm::panels || form == SumForm::shared))
    conv_kernels<T>().pack_panel(p);
  else
    pack_panel_by_element(p, panel);
}

// The same as pack_panel() for all forms and strides of w. For dots, the order is [tap][vector of input
// channels][output channel][lane].
template <class T>
void DirectSum<T>::pack_panel_by_element(const ConvPanel<T>& p, int64_t panel) const {
  const int64_t first = panels.first(panel);
  const int64_t run = form == SumForm::dots ? conv_kernels<T>().lanes : 1;  // input channels side by side
  const int64_t width = step_size() / run;
  T* to = p.panel;
  for (int64_t t = 0; t < p.taps; ++t) {
    const int64_t tap = p.flipped ? p.taps - 1 - t : t;
    for (int64_t c = 0; c < in_group; c += run)
      for (int o = 0; o < width; ++o)
        for (int64_t i = c; i < c + run; ++i) {
          const bool exists = o < p.columns && i < in_group;
          *to = exists ? weight(first + o, i, tap) : T(0);
          ++to;
        }
  }
}

// spans: fills pick_, for each lane the first input channel of its group.
template <class T>
void DirectSum<T>::pick_inputs() const {
  using Integer = std::conditional_t<sizeof(T) == 4, int32_t, int64_t>;
  Integer* pick = static_cast<Integer*>(pick_);
  for (int i = 0; i < conv_kernels<T>().lanes; ++i) pick[i] = static_cast<Integer>(i / out_group * in_group);
}

// The first input channel that a panel reads.
template <class T>
int64_t DirectSum<T>::first_input(int64_t panel) const {
  const int64_t group = form == SumForm::spans ? panels.first(panel) / out_group : panels.group(panel);
  return group * in_group;
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

// The taps of a region as segments, in this thread's part of segments_.
template <class T>
typename DirectSum<T>::Taps DirectSum<T>::taps(const OpenTeam& team, const Region& region) const {
  ConvSegment* const segments = segments_ + team.index() * segments_of_thread();
  int64_t count = 0;
  if (in_group > 0) count = form == SumForm::shared ? row_taps(region, segments) : all_taps(region, segments);
  return {segments, count, packed_by(team), chain()};
}

// A segment for each tap; taps whose values follow each other both in the input and in the panel become one.
template <class T>
int64_t DirectSum<T>::all_taps(const Region& region, ConvSegment* segments) const {
  const int64_t tap_size = panel_size_ / (taps_[0] * taps_[1]);
  const bool joins = form != SumForm::spans;
  ConvRuns runs{segments, 1, panels.width, chain()};
  int64_t count = 0;
  for (int64_t r = 0; r < region.rows.tap_count; ++r)
    for (int64_t s = 0; s < region.columns.tap_count; ++s) {
      const AxisTap row = region.rows.tap(r);
      const AxisTap column = region.columns.tap(s);
      const int64_t a = row.offset * x.stride_h + column.offset * x.stride_w;
      const int64_t b = (row.tap * taps_[1] + column.tap) * tap_size;
      if (joins) {
        runs.add({a, b, in_group});
      } else {
        segments[count] = {a, b, in_group};
        ++count;
      }
    }
  return joins ? runs.count : count;
}

// SumForm::shared: a segment for each row of taps and input channel.
template <class T>
int64_t DirectSum<T>::row_taps(const Region& region, ConvSegment* segments) const {
  int64_t count = 0;
  for (int64_t r = 0; region.columns.tap_count > 0 && r < region.rows.tap_count; ++r)
    for (int64_t c = 0; c < in_group; ++c) {
      const AxisTap row = region.rows.tap(r);
      const int64_t tap = row.tap * taps_[1] + region.columns.first_tap;
      const int64_t a = row.offset * x.stride_h + c;
      const int64_t b = (tap * in_group + c) * panels.width;
      segments[count] = {a, b, region.columns.tap_count};
      ++count;
    }
  return count;
}

template <class T>
SharedRow DirectSum<T>::shared_row() const {
  return form == SumForm::shared ? ranvier::shared_row(columns) : SharedRow{};
}

template <class T>
int64_t DirectSum<T>::tiles(const Region& region) const {
  const SharedRow row = shared_row();
  const Axis::Class& across = region.columns;
  if (row.rows && across.tap_count == kSharedTaps) return region.images * region.rows.size * row.tiles;
  const bool is_edge = across.tap_count == kSharedTaps - 1 && across.size == 1;
  const bool in_shared_row =
      across.first_tap ? row.first : row.last;  // the pixel before, or after, the class
  if (is_edge && in_shared_row) return 0;
  return ceil_div(region.pixels(), tile_rows);
}

// SumForm::shared: runs tiles of kSharedRows pixels. The last tile of a row begins earlier, to be whole. The
// pixels that it has in common with the tile before are stored to `nowhere`, as another thread may compute
// that tile. t.a[0]: the first input channel of the panel.
template <class T>
void DirectSum<T>::run_shared(const Region& region, Range tiles, const SharedRow& shared, ConvTile<T>& t,
                              Fetch fetch, const Sink& sink) const {
  const Axis::Class& down = region.rows;
  const Axis::Class& across = region.columns;
  const T* const from = t.a[0];
  const int64_t step_y = across.position_step * sink.stride_w;
  const int64_t first = tiles.begin / shared.tiles;
  int64_t part = tiles.begin % shared.tiles;
  int64_t row = first % down.size;
  int64_t image = region.first_image + first / down.size;
  alignas(64) T nowhere[64 / sizeof(T)];
  t.rows = static_cast<int>(shared.rows);
  t.row_step = across.base_step * x.stride_w;
  for (int64_t tile = tiles.begin; tile < tiles.end; ++tile) {
    const int64_t begin = part * shared.rows;
    const int64_t start = std::min(begin, shared.width - shared.rows);  // where this tile begins
    const int64_t column = start - shared.first;                        // the column within the class
    t.without_first = shared.first && start == 0;
    t.without_last = shared.last && start + shared.rows == shared.width;
    t.a[0] = from + image * x.stride_n + down.base(row) * x.stride_h + across.base(column) * x.stride_w;
    t.fetch = reinterpret_cast<const char*>(t.a[0] + fetch.begin);
    T* y = sink.y + image * sink.stride_n + down.position(row) * sink.stride_h +
           across.position(column) * sink.stride_w;
    const int64_t in_common = begin - start;
    for (int64_t i = 0; i < shared.rows; ++i, y += step_y) t.c[i] = i < in_common ? nowhere : y;
    conv_kernels<T>().shared(t);
    if (++part < shared.tiles) continue;
    part = 0;
    if (++row == down.size) {
      row = 0;
      ++image;
    }
  }
}

// A ConvTile with the values that are the same for all tiles of a panel in a region.
template <class T>
__attribute__((always_inline)) inline ConvTile<T> DirectSum<T>::tile_of_panel(const Region& region,
                                                                              int64_t panel, const Taps& taps,
                                                                              const Sink& sink) const {
  const Axis::Class& across = region.columns;
  const bool shares = form == SumForm::shared;
  ConvTile<T> t;
  t.segments = taps.segments;
  t.count = taps.count;
  t.chain = taps.chain;
  t.step_a = shares ? across.offset_step * x.stride_w : 1;
  t.step_b = shares ? across.tap_step * in_group * panels.width : panels.width;
  t.b = weights(taps, panel);
  t.bias = sink.bias;
  t.norm = sink.norm;
  t.norm_step = problem.y.shape[1];
  t.columns = sink.columns;
  t.relu = sink.relu;
  t.stream = sink.stream;
  t.pick = pick_;
  t.reach =
      static_cast<int>(std::min<int64_t>(conv_kernels<T>().lanes, problem.x.shape[1] - first_input(panel)));
  return t;
}

// Runs the tiles of a panel in a region. The pixels of a region are numbered row by row, image by image, and
// divided evenly into tiles.
template <class T>
void DirectSum<T>::run_tiles(const Region& region, int64_t panel, Range tiles, const Taps& taps, Fetch fetch,
                             const Sink& sink) const {
  const ConvKernels<T>& kernels = conv_kernels<T>();
  ConvTile<T> t = tile_of_panel(region, panel, taps, sink);
  t.fetch_step = fetch.step;
  const T* from = x.data + first_input(panel);
  const SharedRow shared = shared_row();
  if (shared.rows && region.columns.tap_count == kSharedTaps) {
    t.a[0] = from;
    return run_shared(region, tiles, shared, t, fetch, sink);
  }
  // t.a: the inputs of the tile's pixels; t.c: where their results are stored.
  const Axis::Class& down = region.rows;
  const Axis::Class& across = region.columns;
  const int64_t first_x = across.first_base * x.stride_w;
  const int64_t step_x = across.base_step * x.stride_w;
  const int64_t first_y = across.first_position * sink.stride_w;
  const int64_t step_y = across.position_step * sink.stride_w;
  const int64_t pixels = region.pixels();
  const int64_t most = ceil_div(pixels, this->tiles(region));  // most: in a tile
  const int64_t height = down.size;
  const int64_t width = across.size;
  int64_t pixel = tiles.begin * most;
  int64_t column = pixel % width;
  int64_t row = pixel / width % height;
  int64_t image = region.first_image + pixel / width / height;
  const int64_t last = std::min(tiles.end * most, pixels);
  const bool one_tap = taps.count == 1 && taps.segments->n == in_group;
  if (form == SumForm::dots && one_tap) t.ahead = 2 * most * step_x;  // the pixels of the tile after the next
  const T* x_row = nullptr;
  T* y_row = nullptr;
  const auto enter_row = [&] {
    x_row = from + image * x.stride_n + down.base(row) * x.stride_h + first_x;
    y_row = sink.y + image * sink.stride_n + down.position(row) * sink.stride_h + first_y;
  };
  const auto next_row = [&] {
    column = 0;
    if (++row == height) {
      row = 0;
      ++image;
    }
    enter_row();
  };
  enter_row();
  for (; pixel < last; pixel += t.rows) {
    if (column == width) next_row();
    t.rows = static_cast<int>(std::min(most, last - pixel));
    t.row_step = step_x;
    t.fetch = reinterpret_cast<const char*>(x_row + column * step_x * down.base_step + fetch.begin);
    for (int i = 0; i < t.rows;) {
      if (column == width) {
        next_row();
        if (i % 2 == 1 && x_row != t.a[i - 1] + step_x) t.row_step = 0;  // see ConvTile
      }
      const int64_t end = std::min(i + width - column, int64_t{t.rows});
      const T* a = x_row + column * step_x;
      T* c = y_row + column * step_y;
      for (column += end - i; i < end; ++i, a += step_x, c += step_y) {
        t.a[i] = a;
        t.c[i] = c;
      }
    }
    if (form == SumForm::dots)
      kernels.dots(t);
    else if (form == SumForm::spans)
      kernels.grouped(t);
    else
      tile_of<T>(problem.pairs)(t);
  }
}

template bool prefers_dots<float>(int64_t, int64_t, int64_t);
template bool prefers_dots<double>(int64_t, int64_t, int64_t);
template class DirectSum<float>;
template class DirectSum<double>;

}  // namespace ranvier
