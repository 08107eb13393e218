// The gradient to the weight as a direct sum: see weight.h. Each thread takes units of work (tiles of some
// taps and channels) of a part of the pixels, and adds their products chunk by chunk of output rows to
// partial sums; at the end the partial sums of all parts are added. WeightJob describes the pixels and taps
// of some tiles.
#include "kernels/conv2d/direct/weight.h"

#include <algorithm>

#include "kernels/conv2d/direct/runs.h"
#include "kernels/conv2d/share.h"
#include "kernels/matmul/tile.h"

namespace ranvier {
namespace {

constexpr int64_t kSumChunkBytes = 512 << 10;  // bytes of x and dy in a chunk: they stay in L2 for all taps
constexpr int64_t kMinChunkPixels = 256;  // fewer would not pay for loading and storing the sums of a tile
constexpr int64_t kMaxChunkPixels = 1024;
// The columns of a chunk of one row that is longer, as signals are. A sum is one chain within a chunk, so
// this limits its error.
constexpr int64_t kChunkColumns = 512;
constexpr int64_t kCopiedRows = 128;  // the fewest rows of sums of a panel for which dy is copied

// The most rows of a tile.
template <class T>
int rows_of_tile(const Conv2dBackwardWeight<T>& call, const Panels<T>& panels, bool by_tap) {
  const ConvKernels<T>& kernels = conv_kernels<T>();
  if (call.pairs) return kernels.rows(panels.width);
  const int64_t in = call.x.shape[1] / call.geometry.groups;
  if (by_tap && panels.width == kernels.lanes && in % kernels.consecutive_rows == 0)
    return kernels.consecutive_rows;
  return kernels.rows(panels.columns(0));
}

// True if the rows of a tile are channels of one tap. Otherwise they are channels of any taps of a region
// (the pixels of one class of rows and one of columns, see axis.h): that fills tiles where channels are few,
// but regions at the edges of images have few pixels.
template <class T>
bool tiles_by_tap(const Conv2dBackwardWeight<T>& call, const Panels<T>& panels) {
  constexpr int64_t kLeastRows = 8;
  const ConvKernels<T>& kernels = conv_kernels<T>();
  const int64_t in = call.x.shape[1] / call.geometry.groups;
  const int most_rows = panels.width > kernels.lanes ? kernels.mr : kernels.narrow_rows;
  if (in >= most_rows) return true;
  return in >= kLeastRows && in % 4 == 0;
}

}  // namespace

template <class T>
WeightGradient<T>::WeightGradient(const Conv2dBackwardWeight<T>& call, Carver& carver, int threads)
    : c_(call),
      in_group_(call.x.shape[1] / call.geometry.groups),
      out_group_(call.dy.shape[1] / call.geometry.groups),
      taps_(call.taps[0] * call.taps[1]),
      panels_(call.geometry.groups, out_group_, 0, !call.pairs),
      by_tap_(tiles_by_tap(call, panels_)),
      mr_(rows_of_tile(call, panels_, by_tap_)),
      copies_dy_(by_tap_ && taps_ * in_group_ >= kCopiedRows && call.dw.data && panels_.count() > 1),
      x_(call.x, 0, carver),
      dy_(call.dy, panels_.per_group, carver),
      rows_(axis_geometry(call.geometry, 0, call.dy.shape[2], call.x.shape[2], call.taps[0]), carver),
      columns_(axis_geometry(call.geometry, 1, call.dy.shape[3], call.x.shape[3], call.taps[1]), carver) {
  const int64_t q = std::max<int64_t>(call.dy.shape[3], 1);
  const int64_t rows = call.dy.shape[0] * call.dy.shape[2];
  tiles_per_tap_ = ceil_div(in_group_, mr_);
  parts_ = partial_sums(rows * q, rows);
  const int64_t pixel_bytes = std::max<int64_t>((call.x.shape[1] + call.dy.shape[1]) * sizeof(T), 1);
  chunk_rows_ = std::clamp(kSumChunkBytes / pixel_bytes, kMinChunkPixels, kMaxChunkPixels) / q;
  chunk_rows_ = std::max<int64_t>(chunk_rows_, 1);
  panel_size_ = taps_ * in_group_ * panels_.width;
  const int64_t sums = call.dw.data ? parts_ * panels_.count() * panel_size_ : 0;
  const int64_t copied = copies_dy_ ? threads * chunk_rows_ * q * panels_.width : 0;
  sums_ = carver.take<T>(sums);
  bias_sums_ = carver.take<T>(parts_ * panels_.count() * panels_.width);
  dy_copy_ = carver.take<T>(copied);
  segments_of_thread_ = chunk_rows_ * segments_of_run(q);
  segments_ = carver.take<ConvSegment>(threads * segments_of_thread_);
}

template <class T>
void WeightGradient<T>::run(const Team& team) const {
  team.region(c_.ns(), [&](const OpenTeam& team) {
    if (team.index() == 0) {
      rows_.build();
      columns_.build();
    }
    x_.copy_share(team);
    dy_.copy_share(team);
    team.barrier();
    for_my_parts(team, parts_, panels_.count() * units_per_panel(),
                 [&](int64_t part, Range units) { accumulate_part(team, part, units); });
    team.barrier();
    combine(team);
    team.barrier();
  });
}

// Computes the partial sums of a part for some units, which are numbered panel by panel. Where by_tap_, a
// unit is one tile of a tap, else all taps.
template <class T>
void WeightGradient<T>::accumulate_part(const OpenTeam& team, int64_t part, Range units) const {
  const int64_t per_panel = units_per_panel();
  const int64_t rows = c_.dy.shape[0] * c_.dy.shape[2];
  const int64_t begin = rows * part / parts_;
  const int64_t end = rows * (part + 1) / parts_;
  const int64_t width = panels_.width;
  const int64_t unit_rows = by_tap_ ? ceil_div(in_group_, tiles_per_tap_) : 0;
  for (int64_t panel = units.begin / per_panel; panel * per_panel < units.end; ++panel) {
    const int64_t first = std::max(units.begin - panel * per_panel, int64_t{0});
    const int64_t last = std::min(units.end - panel * per_panel, per_panel);
    const auto first_row = [&](int64_t unit) {  // the first row of the sums that a unit computes
      if (unit == per_panel) return taps_ * in_group_;
      if (unit == 0) return int64_t{0};
      const int64_t tap = unit / tiles_per_tap_;
      const int64_t tile = unit % tiles_per_tap_;
      return tap * in_group_ + tile * unit_rows;
    };
    T* sums_of_panel = sums(part, panel);
    if (c_.dw.data)
      std::fill(sums_of_panel + first_row(first) * width, sums_of_panel + first_row(last) * width, T(0));
    if (first == 0) std::fill_n(bias_sums(part) + panel * width, width, T(0));
  }
  const auto add_chunk = [&](const Chunk& chunk) {
    for (int64_t panel = units.begin / per_panel; panel * per_panel < units.end; ++panel) {
      const int64_t first = std::max(units.begin - panel * per_panel, int64_t{0});
      const int64_t last = std::min(units.end - panel * per_panel, per_panel);
      panel_in_chunk(team, chunk, panel, {first, last});
    }
  };
  const int64_t columns = c_.dy.shape[3];
  const int64_t piece = columns > kMaxChunkPixels ? kChunkColumns : columns;
  for (int64_t row = begin; row < end && !interrupted(team); row += chunk_rows_)
    for (int64_t column = 0; column < columns && !interrupted(team); column += piece)
      add_chunk({part, row, std::min(row + chunk_rows_, end), column, std::min(column + piece, columns)});
}

// Adds the products of a chunk of rows of dy to the sums of a panel: for some units, or by regions.
template <class T>
void WeightGradient<T>::panel_in_chunk(const OpenTeam& team, const Chunk& chunk, int64_t panel,
                                       Range units) const {
  if (c_.db.data && units.begin == 0) sum_bias(team, chunk, panel);
  if (!c_.dw.data) return;
  if (!by_tap_) {
    for (int64_t i = 0; i < rows_.classes(); ++i)
      for (int64_t j = 0; j < columns_.classes(); ++j) {
        const WeightJob job = job_of_region(rows_[i], columns_[j]);
        const int64_t taps = (job.r1 - job.r0) * (job.s1 - job.s0);
        run_job(team, chunk, job, panel, 0, taps * in_group_);
      }
    return;
  }
  if (copies_dy_) copy_dy(team, chunk, panel);
  const int64_t unit_rows = ceil_div(in_group_, tiles_per_tap_);
  for (int64_t unit = units.begin; unit < units.end;) {
    const int64_t tap = unit / tiles_per_tap_;
    const int64_t tile = unit % tiles_per_tap_;
    const int64_t count = std::min(tiles_per_tap_ - tile, units.end - unit);
    const int64_t first = tile * unit_rows;
    const int64_t last = std::min((tile + count) * unit_rows, in_group_);
    run_job(team, chunk, job_of_tap(tap), panel, first, last);
    unit += count;
  }
}

// Copies the channels of a panel from the rows of dy in a chunk, so that pixels follow each other without
// gaps.
template <class T>
void WeightGradient<T>::copy_dy(const OpenTeam& team, const Chunk& chunk, int64_t panel) const {
  const int64_t height = c_.dy.shape[2];
  const int64_t q = chunk.columns();
  const int64_t width = panels_.width;
  T* to = copied_by(team);
  for (int64_t row = chunk.first_row; row < chunk.last_row; ++row, to += q * width) {
    const T* from = dy_.pixel(row / height, row % height, chunk.first_column) + panels_.first(panel);
    matmul_kernels<T>().pack(q, panels_.columns(panel), static_cast<int>(width), from, dy_.stride_w,
                             /*cs=*/1, to, /*missing=*/0);
  }
}

// The pixels for which one tap meets the input.
template <class T>
WeightJob WeightGradient<T>::job_of_tap(int64_t tap) const {
  const Conv2dGeometry& g = c_.geometry;
  const int64_t r = tap / c_.taps[1];
  const int64_t s = tap % c_.taps[1];
  const Range p = positions_of_tap(r, c_.dy.shape[2], c_.x.shape[2], g.stride[0], g.pad[0], g.dilation[0]);
  const Range q = positions_of_tap(s, c_.dy.shape[3], c_.x.shape[3], g.stride[1], g.pad[1], g.dilation[1]);
  return {p.begin, p.end, q.begin, q.end, r, r + 1, s, s + 1};
}

// The pixels and taps of a class of rows and a class of columns. The positions and taps of a class have no
// gaps here, as the axes are not transposed.
template <class T>
WeightJob WeightGradient<T>::job_of_region(const Axis::Class& rows, const Axis::Class& columns) const {
  const int64_t p = rows.first_position;
  const int64_t q = columns.first_position;
  const int64_t r = rows.first_tap;
  const int64_t s = columns.first_tap;
  return {p, p + rows.size, q, q + columns.size, r, r + rows.tap_count, s, s + columns.tap_count};
}

// Lists the pixels of a job that are in a chunk as segments, runs of pixels; returns their number. copied: b
// is the copy of dy.
template <class T>
int64_t WeightGradient<T>::list_segments(const Chunk& chunk, const WeightJob& job, ConvSegment* segments,
                                         bool copied) const {
  const Conv2dGeometry& g = c_.geometry;
  const int64_t height = c_.dy.shape[2];
  const int64_t step_a = g.stride[1] * x_.stride_w;
  const int64_t step_b = copied ? panels_.width : dy_.stride_w;
  const int64_t first = std::max(job.q0, chunk.first_column);
  const int64_t width = std::min(job.q1, chunk.last_column) - first;
  const int64_t chain = c_.pairs ? kOneChain : kConvChain;
  ConvRuns runs{segments, step_a, step_b, chain};
  int64_t n = chunk.first_row / height;
  int64_t p = chunk.first_row % height;
  if (width <= 0) return 0;
  for (int64_t row = chunk.first_row; row < chunk.last_row; ++row) {
    if (p >= job.p0 && p < job.p1) {
      // a: the input of the first pixel for tap (0, 0), from which rows of a tile count their taps.
      const int64_t h = p * g.stride[0] - g.pad[0];
      const int64_t w = first * g.stride[1] - g.pad[1];
      const int64_t a = n * x_.stride_n + h * x_.stride_h + w * x_.stride_w;
      // b: the first pixel's dy, in the copy (rows of the chunk's columns) or in dy itself.
      const int64_t row_of_copy = (row - chunk.first_row) * chunk.columns() - chunk.first_column;
      const int64_t row_of_dy = n * dy_.stride_n + p * dy_.stride_h;
      const int64_t row_b = copied ? row_of_copy * step_b : row_of_dy;
      runs.add({a, row_b + first * step_b, width});
    }
    if (++p == height) {
      p = 0;
      ++n;
    }
  }
  return runs.count;
}

// Adds the products of a chunk to the rows of sums [first, last) of a job, in tiles of equal height. Rows are
// numbered tap by tap, channel by channel.
template <class T>
void WeightGradient<T>::run_job(const OpenTeam& team, const Chunk& chunk, const WeightJob& job, int64_t panel,
                                int64_t first, int64_t last) const {
  if (first >= last) return;
  const Conv2dGeometry& g = c_.geometry;
  ConvSegment* segments = segments_ + team.index() * segments_of_thread_;
  ConvTile<T> t;
  t.segments = segments;
  t.count = list_segments(chunk, job, segments, copies_dy_);
  if (t.count == 0) return;
  t.step_a = g.stride[1] * x_.stride_w;
  t.step_b = copies_dy_ ? panels_.width : dy_.stride_w;
  t.b = copies_dy_ ? copied_by(team) : dy_.data + panels_.first(panel);
  t.columns = panels_.columns(panel);
  t.accumulate = true;
  t.consecutive = by_tap_;
  t.row_step = by_tap_ ? 1 : 0;
  const T* x = x_.data + panels_.group(panel) * in_group_;
  T* out = sums(chunk.part, panel);
  const int64_t width = job.s1 - job.s0;
  const int64_t tiles = ceil_div(last - first, mr_);
  const int64_t even_height = ceil_div(last - first, tiles);
  const int64_t height = by_tap_ ? ceil_div(in_group_, tiles_per_tap_) : even_height;  // rows of a tile
  int64_t channel = first % in_group_;
  int64_t s = first / in_group_ % width;
  int64_t r = first / in_group_ / width;
  for (int64_t row = first; row < last; row += t.rows) {
    t.rows = static_cast<int>(std::min(height, last - row));
    for (int i = 0; i < t.rows; ++i) {
      const int64_t tap_r = job.r0 + r;
      const int64_t tap_s = job.s0 + s;
      t.a[i] = x + tap_r * g.dilation[0] * x_.stride_h + tap_s * g.dilation[1] * x_.stride_w + channel;
      t.c[i] = out + ((tap_r * c_.taps[1] + tap_s) * in_group_ + channel) * panels_.width;
      if (++channel < in_group_) continue;
      channel = 0;
      if (++s == width) {
        s = 0;
        ++r;
      }
    }
    tile_of<T>(c_.pairs)(t);
  }
}

// Adds dy of a chunk to the sums of db of a panel.
template <class T>
void WeightGradient<T>::sum_bias(const OpenTeam& team, const Chunk& chunk, int64_t panel) const {
  ConvSegment* segments = segments_ + team.index() * segments_of_thread_;
  const WeightJob all{0, c_.dy.shape[2], 0, c_.dy.shape[3], 0, 0, 0, 0};
  const int64_t count = list_segments(chunk, all, segments);
  conv_kernels<T>().sum(segments, count, dy_.data + panels_.first(panel), dy_.stride_w,
                        panels_.columns(panel), bias_sums(chunk.part) + panel * panels_.width);
}

template <class T>
void WeightGradient<T>::combine(const OpenTeam& team) const {
  combine_parts(team, panels_, parts_, in_group_, taps_, sums_, bias_sums_, c_.dw, c_.db);
}

template <class T>
void combine_parts(const OpenTeam& team, const Panels<T>& panels, int64_t parts, int64_t in, int64_t taps,
                   const T* sums, const T* bias, const TensorView<T>& dw, const TensorView<T>& db) {
  const int64_t elements = taps * in;
  const int64_t lanes = conv_kernels<T>().lanes;
  const int64_t squares = ceil_div(elements, lanes);
  const int64_t size = elements * panels.width;  // a panel's size
  const int64_t items = dw.data ? panels.count() * squares : 0;
  const Range share = even_share(team, items);
  for (int64_t at = share.begin; at < share.end;) {
    const int64_t panel = at / squares;
    const int64_t count = std::min(squares - at % squares, share.end - at);
    ConvPartials<T> p{};
    p.partial = sums + panel * size;
    p.partials = parts;
    p.stride_p = panels.count() * size;
    p.channels = in;
    p.taps = taps;
    p.begin = at % squares * lanes;
    p.end = std::min(p.begin + count * lanes, elements);
    p.columns = panels.columns(panel);
    p.width = panels.width;
    p.w = dw.data + panels.first(panel) * elements;
    p.stride_o = elements;
    conv_kernels<T>().combine(p);
    at += count;
  }
  if (!db.data || team.index() != 0) return;
  for (int64_t panel = 0; panel < panels.count(); ++panel)
    add_partials(bias + panel * panels.width, parts, panels.count() * panels.width, panels.columns(panel),
                 db.data + panels.first(panel) * db.strides[0], db.strides[0]);
}
template void combine_parts(const OpenTeam&, const Panels<float>&, int64_t, int64_t, int64_t, const float*,
                            const float*, const TensorView<float>&, const TensorView<float>&);

// It pays where the outputs of a group fill at most half a vector, and its inputs at least one. The exchange
// needs stride 1, and padding not larger than the reach of the taps, so that the exchanged
// padding (exchanged() in weight.h) is not negative.
template <class T>
bool ExchangedWeight<T>::pays(const Conv2dBackwardWeight<T>& call) {
  const Conv2dGeometry& g = call.geometry;
  if (!call.dw.data || !g.steps_by_one()) return false;
  for (int d = 0; d < 2; ++d)
    if (g.pad[d] > (call.taps[d] - 1) * g.dilation[d]) return false;
  const int64_t lanes = conv_kernels<T>().lanes;
  return 2 * call.dy.shape[1] <= lanes * g.groups && call.x.shape[1] >= lanes * g.groups;
}

template <class T>
ExchangedWeight<T>::ExchangedWeight(const Conv2dBackwardWeight<T>& call, Carver& carver, int threads)
    : call_(call),
      flipped_(carver.take<T>(call.dy.shape[1] * call.x.shape[1] / call.geometry.groups * call.taps[0] *
                              call.taps[1])),
      exchanged_(exchanged(call, flipped_), carver, threads),
      bias_(bias_only(call), carver, threads) {}

template <class T>
void ExchangedWeight<T>::run(const Team& team) const {
  exchanged_.run(team);
  const int64_t elements = call_.x.shape[1] / call_.geometry.groups * call_.taps[0] * call_.taps[1];
  team.parallel_for(call_.dy.shape[1], static_cast<double>(call_.dy.shape[1] * elements),
                    [&](int64_t begin, int64_t end) { flip_back(call_, flipped_, begin, end); });
  if (call_.db.data) bias_.run(team);
}

template class WeightGradient<float>;
template class WeightGradient<double>;
template class ExchangedWeight<float>;
template class ExchangedWeight<double>;

}  // namespace ranvier
