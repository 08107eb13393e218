// 1x1 convolutions with few channels (pixels.h): prepares the weights as vectors, and shares the pixels among
// the threads. The second half is the gradient to the weights, PixelWeight.
#include "kernels/conv2d/pixels/pixels.h"

#include <algorithm>

#include "kernels/conv2d/direct/direct.h"
#include "kernels/conv2d/pixels/loops.h"
#include "kernels/conv2d/planes/planes.h"

namespace ranvier {

namespace {

// How many pixels fit into one vector, with their channels of both x and y.
int64_t pixels_together(int64_t in, int64_t out) { return pixel_kernels().lanes / std::max(in, out); }

}  // namespace

// A vector takes one step for each input channel, so with many of them a product of matrices takes less time.
bool Pixels::pays(const Correlation<float>& p) {
  constexpr int64_t kFewInputs = 4;
  const int64_t in = p.x.shape[1];
  const int64_t out = p.y.shape[1];
  const int64_t together = pixels_together(in, out);
  return has_few_channels(p) && p.geometry.groups == 1 && keeps_pixels(p) && together > 0 &&
         (in <= kFewInputs || (in <= out && together > 1)) && is_dense(p.x) && is_dense(p.y);
}

Pixels::Pixels(const Correlation<float>& p, Carver& carver)
    : p_(p),
      in_(p.x.shape[1]),
      out_(p.y.shape[1]),
      together_(pixels_together(in_, out_)),
      weights_(carver.take<float>(in_ * pixel_kernels().lanes)),
      lines_(carver.take<float>(4 * pixel_kernels().lanes)),
      pick_(carver.take<int32_t>(pixel_kernels().lanes)) {}

void Pixels::run(const Team& team) const {
  constexpr double kNsPerElement = 0.1;
  const double elements = static_cast<double>(numel(p_.x) + numel(p_.y));
  const double ns = kConvNsPerProduct * static_cast<double>(numel(p_.y)) * in_ + kNsPerElement * elements;
  team.region(ns, [&](const OpenTeam& team) {
    if (team.index() == 0) prepare();
    team.barrier();
    const int64_t pixels = p_.y.shape[0] * p_.y.shape[2] * p_.y.shape[3];
    const int64_t vectors = ceil_div(pixels, together_);
    for (Chunks c(team, vectors, Chunks::size(team, vectors)); c.next() && !interrupted(team);) {
      const int64_t first = c.begin * together_;
      const int64_t count = std::min(c.end * together_, pixels) - first;
      PixelOutputs t;
      t.x = p_.x.data + first * in_;
      t.y = p_.y.data + first * out_;
      t.inputs = count * in_;
      t.outputs = count * out_;
      t.channels = in_;
      t.in_step = together_ * in_;
      t.out_step = together_ * out_;
      t.pick = pick_;
      t.w = weights_;
      t.lines = lines_;
      t.norm = p_.norm != nullptr;
      t.relu = p_.relu;
      pixel_kernels().outputs(t);
    }
    team.barrier();
  });
}

// Fills pick_, weights_ and lines_: for each lane, which is output k of a pixel, where the inputs of this
// pixel begin in the vector of x, the weights of k, and the bias and norm of k.
void Pixels::prepare() const {
  const int64_t lanes = pixel_kernels().lanes;
  const int64_t* st = p_.w.strides;
  const int64_t stride_c = p_.transposed ? st[0] : st[1];
  const int64_t stride_k = p_.transposed ? st[1] : st[0];
  for (int64_t i = 0; i < lanes; ++i) {
    const int64_t k = i % out_;
    pick_[i] = static_cast<int32_t>(i / out_ * in_);
    for (int64_t c = 0; c < in_; ++c) weights_[c * lanes + i] = p_.w.data[c * stride_c + k * stride_k];
    lines_[i] = p_.bias.data ? p_.bias.data[k * p_.bias.strides[0]] : 0;
    for (int64_t line = 0; line < 3; ++line)
      lines_[(1 + line) * lanes + i] = p_.norm ? p_.norm[line * out_ + k] : 0;
  }
}

namespace {

constexpr int64_t kChunkElements = 8 << 10;  // elements of x and dy: a chunk stays in L1 for all channels

// x or dy as dense pixels.
struct PixelView {
  const float* data;
  int64_t channels;
};

// The layout of the sums of products of a wide and a narrow array (see PixelWeight): (blocks of channels of
// wide, channels of narrow, lanes). A block is a vector of channels; the last block overlaps the one before
// it. Where wide has less than a vector, the lanes are `together` pixels of `width` channels.
struct VectorSums {
  VectorSums(int64_t wide, int64_t narrow)
      : lanes(pixel_kernels().lanes),
        channels(wide),
        width(std::min(wide, lanes)),
        together(lanes / width),
        rows(round_up(narrow, kMostNarrow)) {}
  int64_t size() const { return ceil_div(channels, lanes) * rows * lanes; }
  int64_t first(int64_t block) const { return std::min(block * lanes, channels - width); }
  // The sum for channel `wide` of one array and `narrow` of the other, over all parts in order.
  float total(const float* sums, int64_t parts, int64_t wide, int64_t narrow) const {
    const int64_t block = wide / lanes;
    float total = 0;
    sums += (block * rows + narrow) * lanes + wide - first(block);
    for (int64_t part = 0; part < parts; ++part, sums += size()) {
      float sum = 0;
      for (int64_t pixel = 0; pixel < together; ++pixel) sum += sums[pixel * width];
      total += sum;
    }
    return total;
  }
  int64_t lanes, channels, width, together, rows;
};

// sums += the products of `count` pixels from `begin` on. If narrow has no channels, its one vector serves
// all pixels, and there is one row of sums.
void add_products(const PixelView& wide, const PixelView& narrow, int64_t begin, int64_t count, float* sums) {
  const int64_t rows = std::max<int64_t>(narrow.channels, 1);
  const VectorSums v(wide.channels, rows);
  PixelProducts t{};
  t.narrow = narrow.data + begin * narrow.channels;
  t.wide_step = wide.channels;
  t.narrow_step = narrow.channels;
  t.pixels = count;
  t.width = static_cast<int>(v.width);
  t.together = static_cast<int>(v.together);
  for (int64_t block = 0; block * v.lanes < v.channels; ++block)
    for (int64_t row = 0; row < rows; row += kMostNarrow) {
      t.wide = wide.data + begin * wide.channels + v.first(block);
      t.first = static_cast<int>(row);
      t.count = static_cast<int>(std::min<int64_t>(rows - row, kMostNarrow));
      t.sums = sums + (block * v.rows + row) * v.lanes;
      pixel_kernels().products(t);
    }
}

}  // namespace

bool PixelWeight::pays(const Conv2dBackwardWeight<float>& c) {
  const int64_t lanes = pixel_kernels().lanes;
  const int64_t in = c.x.shape[1];
  const int64_t out = c.dy.shape[1];
  const int64_t narrow = std::min(in, out);
  const int64_t wide = std::max(in, out);
  if (lanes == 0 || c.geometry.groups != 1 || narrow == 0) return false;
  if (!c.geometry.keeps_pixels(c.taps[0], c.taps[1], c.x.shape, c.dy.shape)) return false;
  // With more channels, the tiles of other algorithms have enough independent sums.
  int64_t most = 0;
  if (wide <= 2 * lanes) most = 2;
  if (wide <= lanes) most = 8;
  return narrow <= most && is_dense(c.x) && is_dense(c.dy);
}

PixelWeight::PixelWeight(const Conv2dBackwardWeight<float>& c, Carver& carver)
    : c_(c),
      in_(c.x.shape[1]),
      out_(c.dy.shape[1]),
      pixels_(c.dy.shape[0] * c.dy.shape[2] * c.dy.shape[3]),
      parts_(partial_sums(pixels_, pixels_)),
      chunk_(std::max<int64_t>(kChunkElements / (in_ + out_), 64)),
      sums_(carver.take<float>(parts_ * VectorSums(std::max(in_, out_), std::min(in_, out_)).size())),
      bias_sums_(carver.take<float>(parts_ * VectorSums(out_, 1).size())),
      ones_(carver.take<float>(pixel_kernels().lanes)) {}

void PixelWeight::run(const Team& team) const {
  constexpr double kNsPerElement = 0.1;
  const double products = c_.dw.data ? static_cast<double>(pixels_) * in_ * out_ : 0;
  const double ns =
      kConvNsPerProduct * products + kNsPerElement * static_cast<double>(pixels_) * (in_ + out_);
  team.region(ns, [&](const OpenTeam& team) {
    if (team.index() == 0) std::fill_n(ones_, pixel_kernels().lanes, 1.0f);
    team.barrier();
    for_my_parts(team, parts_, 1, [&](int64_t part, Range) { accumulate(team, part); });
    team.barrier();
    if (team.index() == 0) combine();
    team.barrier();
  });
}

// Computes the sums of a part of the pixels. The operand with more channels is read as vectors, which are
// multiplied by one channel of the other operand after another.
void PixelWeight::accumulate(const OpenTeam& team, int64_t part) const {
  const PixelView x{c_.x.data, in_};
  const PixelView dy{c_.dy.data, out_};
  const PixelView& wide = in_ < out_ ? dy : x;
  const PixelView& narrow = in_ < out_ ? x : dy;
  const int64_t size = VectorSums(wide.channels, narrow.channels).size();
  const int64_t bias_size = VectorSums(out_, 1).size();
  float* const sums = sums_ + part * size;
  float* const bias_sums = bias_sums_ + part * bias_size;
  std::fill_n(sums, size, 0.0f);
  std::fill_n(bias_sums, bias_size, 0.0f);
  const int64_t end = pixels_ * (part + 1) / parts_;
  for (int64_t p = pixels_ * part / parts_; p < end && !interrupted(team); p += chunk_) {
    const int64_t count = std::min(chunk_, end - p);
    if (c_.dw.data) add_products(wide, narrow, p, count, sums);
    if (c_.db.data) add_products(dy, {ones_, 0}, p, count, bias_sums);
  }
}

void PixelWeight::combine() const {
  const VectorSums all(std::max(in_, out_), std::min(in_, out_));
  const VectorSums bias(out_, 1);
  for (int64_t k = 0; k < out_; ++k) {
    for (int64_t c = 0; c_.dw.data && c < in_; ++c) {
      const int64_t wide = in_ < out_ ? k : c;
      const int64_t narrow = in_ < out_ ? c : k;
      c_.dw.data[k * in_ + c] = all.total(sums_, parts_, wide, narrow);
    }
    if (c_.db.data) c_.db.data[k * c_.db.strides[0]] = bias.total(bias_sums_, parts_, k, 0);
  }
}

}  // namespace ranvier
