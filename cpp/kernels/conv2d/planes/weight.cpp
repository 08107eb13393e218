// The gradient to the weights of a convolution with few channels: see weight.h. Each part of the images has
// separate sums, which are added at the end.
#include "kernels/conv2d/planes/weight.h"

#include <algorithm>

#include "kernels/conv2d/direct/weight.h"

namespace ranvier {
namespace {

constexpr int64_t kBlockElements = 6 << 10;  // elements of x and of a tile's channels of dy: they stay in L1
constexpr int64_t kFewestRows = 4;           // of a block

PlanarAxis axis(const Conv2dBackwardWeight<float>& c, int d) {
  return axis_geometry(c.geometry, d, c.dy.shape[2 + d], c.x.shape[2 + d], c.taps[d]);
}

// The call of one group.
Conv2dBackwardWeight<float> part_of(Conv2dBackwardWeight<float> c, int64_t group) {
  const int64_t groups = c.geometry.groups;
  const int64_t in = c.x.shape[1] / groups;
  const int64_t out = c.dy.shape[1] / groups;
  c.x.data += group * in * c.x.strides[1];
  c.dy.data += group * out * c.dy.strides[1];
  c.x.shape[1] = in;
  c.dy.shape[1] = out;
  c.geometry.groups = 1;
  if (c.dw.data) {
    c.dw.data += group * out * c.dw.strides[0];
    c.dw.shape[0] = out;
  }
  if (c.db.data) {
    c.db.data += group * out * c.db.strides[0];
    c.db.shape[0] = out;
  }
  return c;
}

// True if x and dy are exchanged (exchanged() in direct/weight.h), because dy has one channel and x several.
// A tile loads each vector of x once for several channels of dy; with one channel it would wait for the
// loads, most of which cross cache lines.
bool exchanges(const Conv2dBackwardWeight<float>& c) {
  const int64_t in = c.x.shape[1];
  const int64_t out = c.dy.shape[1];
  for (int d = 0; d < 2; ++d)
    if (c.geometry.pad[d] < 0 || c.geometry.pad[d] > (c.taps[d] - 1) * c.geometry.dilation[d]) return false;
  return c.geometry.groups == 1 && c.taps[0] * c.taps[1] > 1 && out == 1 && in > 1 && numel(c.x) > 0;
}

}  // namespace

// The alternative, the direct sum, has vectors of output channels. Up to 8 outputs leave a vector empty in
// part or, where they fill it, give a tile too few chains to hide the latency of FMAs; so planes pay. With 9
// to 12 outputs planes pay only if a quarter of the direct sum's vectors would be empty. Whole vectors of
// input channels are faster than planes (ExchangedWeight). If in x taps is less than kFewestProducts, the
// products take less time than copying dy.
bool PlanarWeights::pays(const Conv2dBackwardWeight<float>& c) {
  constexpr int64_t kMostInputs = 8, kMostOutputs = 12, kFewestProducts = 4;
  const Conv2dGeometry& g = c.geometry;
  const int64_t lanes = planar_kernels().lanes;
  const int64_t in = c.x.shape[1] / g.groups;
  const int64_t out = c.dy.shape[1] / g.groups;
  if (lanes == 0 || numel(c.dy) == 0 || !g.steps_by_one()) return false;
  const int64_t before_vectors = std::max<int64_t>(kMostInputs, lanes - 1);  // less than a vector of inputs
  if (exchanges(c)) return in <= std::max(kMostOutputs, before_vectors);
  const bool part_of_vector = out <= 8 || 4 * out <= 3 * round_up(out, lanes);
  const int64_t most_inputs = out <= 8 ? before_vectors : kMostInputs;
  return in <= most_inputs && out <= kMostOutputs && part_of_vector &&
         in * c.taps[0] * c.taps[1] >= kFewestProducts;
}

int64_t PlanarWeight::rows_at_once() const {
  const int64_t row = c_.x.shape[1] * (columns_.in + columns_.taps) +
                      std::min<int64_t>(out_, planar_kernels().weight_outs) * columns_.out;
  const int64_t fits = std::max(kBlockElements / row - rows_.spread(), kFewestRows);
  return ceil_div(rows_.out, ceil_div(rows_.out, fits));
}

PlanarWeight::PlanarWeight(const Conv2dBackwardWeight<float>& c, int64_t group, Carver& carver, int threads)
    : c_(part_of(c, group)),
      out_(c_.dy.shape[1]),
      products_(c_.x.shape[1] * c.taps[0] * c.taps[1]),
      rows_(axis(c, 0)),
      columns_(axis(c, 1)),
      rows_at_once_(rows_at_once()),
      planes_(rows_, columns_, c_.x.shape[1], rows_at_once_) {
  const PlanarKernels& kernels = planar_kernels();
  const int64_t flat = planes_.flat(rows_at_once_);
  const int64_t images = c.dy.shape[0];
  dy_plane_ = round_up(flat, kernels.lanes) + kernels.lanes;
  const int64_t image = planes_.size() + std::min<int64_t>(out_, kernels.weight_outs) * dy_plane_;
  const int64_t bands = ceil_div(rows_.out, rows_at_once_);
  images_at_once_ = bands > 1 ? 1 : std::clamp<int64_t>(kBlockElements / image, 1, images);
  blocks_ = ceil_div(images, images_at_once_) * bands;
  parts_ = partial_sums(images * rows_.out * columns_.out, blocks_);
  units_ = ceil_div(out_, kernels.weight_outs);
  step_ = round_up(products_, kernels.weight_rows);
  sums_ = carver.take<float>(c.dw.data ? parts_ * out_ * step_ : 0);
  bias_sums_ = carver.take<float>(parts_ * out_);
  offsets_ = carver.take<int64_t>(step_);
  x_ = carver.take<float>(threads * images_at_once_ * planes_.size());
  dy_ = carver.take<float>(threads * images_at_once_ * out_ * dy_plane_);
}

PlanarWeight::Block PlanarWeight::block(int64_t index) const {
  const int64_t bands = ceil_div(rows_.out, rows_at_once_);
  const int64_t image = index / bands * images_at_once_;
  const int64_t first = index % bands * rows_at_once_;
  return {image, std::min(images_at_once_, c_.dy.shape[0] - image), first,
          std::min(rows_at_once_, rows_.out - first)};
}

PlanarWeights::PlanarWeights(const Conv2dBackwardWeight<float>& c, Carver& carver, int threads)
    : c_(c), threads_(threads), exchanges_(exchanges(c)), flipped_(nullptr), workspace_(carver) {
  // The objects made here only reserve memory: run() makes them again, from workspace_ on.
  if (exchanges_) {
    flipped_ = carver.take<float>(c.x.shape[1] * c.dy.shape[1] * c.taps[0] * c.taps[1]);
    workspace_ = carver;
    PlanarWeight(exchanged(c, flipped_), 0, carver, threads);
    PlanarWeight(bias_only(c), 0, carver, threads);
  } else {
    PlanarWeight(c, 0, carver, threads);
  }
}

bool PlanarWeights::run(const OpenTeam& team) const {
  Carver workspace = workspace_;
  bool finite = true;
  if (exchanges_) {
    const PlanarWeight weight(exchanged(c_, flipped_), 0, workspace, threads_);
    const PlanarWeight bias(bias_only(c_), 0, workspace, threads_);
    if (c_.dw.data) {
      finite = weight.run(team);
      const Range outputs = even_share(team, c_.dy.shape[1]);
      flip_back(c_, flipped_, outputs.begin, outputs.end);
    }
    if (c_.db.data) bias.run(team);
    return finite;
  }
  for (int64_t group = 0; group < c_.geometry.groups; ++group, workspace = workspace_)
    finite = PlanarWeight(c_, group, workspace, threads_).run(team) && finite;
  return finite;
}

// The offsets beyond products_ are 0; the sums for them are not used.
bool PlanarWeight::run(const OpenTeam& team) const {
  if (team.index() == 0) {
    planes_.list_offsets(/*channels_fastest=*/false, offsets_);
    std::fill(offsets_ + products_, offsets_ + step_, 0);
  }
  team.barrier();
  for_my_parts(team, parts_, units_, [&](int64_t part, Range units) { accumulate(team, part, units); });
  team.barrier();
  combine(team);
  team.barrier();
  return !c_.dw.data || all_finite(as_const(c_.dw));
}

// Adds the products of a part of the images to its sums, for some of the output channels.
void PlanarWeight::accumulate(const OpenTeam& team, int64_t part, Range units) const {
  const int64_t outs_of_unit = ceil_div(out_, units_);
  const Range outs{units.begin * outs_of_unit, std::min(units.end * outs_of_unit, out_)};
  if (outs.empty()) return;
  if (c_.dw.data)
    std::fill(sums_ + (part * out_ + outs.begin) * step_, sums_ + (part * out_ + outs.end) * step_, 0.0f);
  std::fill(bias_sums_ + part * out_ + outs.begin, bias_sums_ + part * out_ + outs.end, 0.0f);
  float* const x = x_ + team.index() * images_at_once_ * planes_.size();
  float* const dy = dy_ + team.index() * images_at_once_ * out_ * dy_plane_;
  const int64_t end = blocks_ * (part + 1) / parts_;
  for (int64_t i = blocks_ * part / parts_; i < end && !interrupted(team); ++i) {
    if (i == blocks_ * part / parts_) {
      std::fill_n(x, images_at_once_ * planes_.size(), 0.0f);
      std::fill_n(dy, images_at_once_ * (outs.end - outs.begin) * dy_plane_, 0.0f);
    }
    fill(block(i), outs, x, dy);
    add_block(block(i), outs, x, dy, part);
  }
}

void PlanarWeight::fill(const Block& b, Range outs, float* x, float* dy) const {
  TensorView<const float> gradient = c_.dy;
  gradient.data += outs.begin * gradient.strides[1];
  gradient.shape[1] = outs.end - outs.begin;
  for (int64_t n = 0; n < b.images; ++n) {
    if (c_.dw.data) planes_.fill(c_.x, b.image + n, b.first_row, b.rows, x + n * planes_.size());
    float* const to = dy + n * gradient.shape[1] * dy_plane_;
    for (int64_t k = 0; k < gradient.shape[1]; ++k)  // zeros where an earlier block had more rows
      std::fill(to + k * dy_plane_ + planes_.flat(b.rows), to + (k + 1) * dy_plane_, 0.0f);
    split_pixels(gradient, b.image + n, {b.first_row, b.first_row + b.rows}, {0, columns_.out}, to,
                 planes_.pitch, dy_plane_);
  }
}

// Adds the products of a block of images, for some outputs, to the sums of a part. x and dy are planes.
void PlanarWeight::add_block(const Block& b, Range outs, const float* x, const float* dy,
                             int64_t part) const {
  const PlanarKernels& kernels = planar_kernels();
  const int64_t count = outs.end - outs.begin;
  const int64_t tiles = ceil_div(count, kernels.weight_outs);
  PlanarProducts t{};
  t.x = x;
  t.x_step = planes_.size();
  t.images = b.images;
  t.dy_step = count * dy_plane_;
  t.dy_plane = dy_plane_;
  t.pixels = planes_.flat(b.rows);
  t.step = step_;
  for (int64_t tile = 0; c_.dw.data && tile < tiles; ++tile) {
    const Range k = ranvier::part({0, count}, tile, tiles);
    t.dy = dy + k.begin * dy_plane_;
    t.outs = static_cast<int>(k.end - k.begin);
    float* const sums = sums_ + (part * out_ + outs.begin + k.begin) * step_;
    for (int64_t j = 0; j < products_; j += kernels.weight_rows) {
      t.offsets = offsets_ + j;
      t.sums = sums + j;
      kernels.products(t);
    }
  }
  if (!c_.db.data) return;
  for (int64_t n = 0; n < b.images; ++n)
    for (int64_t k = 0; k < count; ++k)
      bias_sums_[part * out_ + outs.begin + k] += kernels.total(dy + (n * count + k) * dy_plane_, dy_plane_);
}

void PlanarWeight::combine(const OpenTeam& team) const {
  const Range outs = even_share(team, out_);
  for (int64_t k = outs.begin; k < outs.end; ++k) {
    if (c_.dw.data)
      add_partials(sums_ + k * step_, parts_, out_ * step_, products_, c_.dw.data + k * products_, 1);
    if (c_.db.data)
      add_partials(bias_sums_ + k, parts_, out_, 1, c_.db.data + k * c_.db.strides[0], c_.db.strides[0]);
  }
}

}  // namespace ranvier
