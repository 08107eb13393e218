// Convolutions whose factors are rounded to bfloat16 (medium.h). A run rounds its operands to pairs of
// bfloat16 in the workspace, where a pair has the size of a float, and then runs the direct sum on the pairs.
// in, out: channels of the input and of the output.
#include "kernels/conv2d/medium/medium.h"

#include "base/precision.h"
#include "kernels/conv2d/pointwise/pointwise.h"
#include "kernels/conv2d/share.h"
#include "kernels/conv2d/winograd/winograd.h"
#include "kernels/matmul/pairs.h"

namespace ranvier {
namespace {

constexpr int64_t kLeast = 16;  // channels of the input and of the output: with fewer there is no gain

// The distance of pixels of this many elements: a vector more where all pixels would fall into the same sets
// of L1.
int64_t spread(int64_t elements) {
  const int64_t gap = elements % 1024 == 0 ? 16 : 0;
  return elements + gap;
}

// A view (n, c, h, w) of channels-last memory; `pixel`: elements from one pixel to the next.
TensorView<const float> images(const float* data, const int64_t* shape, int64_t n, int64_t c, int64_t pixel) {
  const int64_t h = shape[2];
  const int64_t w = shape[3];
  return {data, 4, {n, c, h, w}, {h * w * pixel, 1, w * pixel, pixel}};
}

// The convolution p on pairs: x has half as many channels, w half as many inputs.
Correlation<float> in_pairs(Correlation<float> p, const float* x, int64_t pixel, const float* w) {
  const int64_t in = p.x.shape[1] / 2;
  const int64_t taps = p.w.shape[2] * p.w.shape[3];
  p.x = images(x, p.x.shape, p.x.shape[0], in, pixel);
  p.w.data = w;
  const int inputs_dim = p.transposed ? 0 : 1;  // the dimension of w that has the inputs
  p.w.shape[inputs_dim] /= 2;
  const int64_t row = p.w.shape[1] * taps;
  p.w.strides[0] = row;
  p.w.strides[1] = taps;
  p.w.strides[2] = p.w.shape[3];
  p.w.strides[3] = 1;
  p.algorithms = {0};
  p.pairs = true;
  return p;
}

// The gradient to the weights on pairs: x and dy have half as many images, each made of two.
Conv2dBackwardWeight<float> in_pairs(Conv2dBackwardWeight<float> c, const float* x, const float* dy) {
  const int64_t n = ceil_div(c.x.shape[0], 2);
  c.x = images(x, c.x.shape, n, c.x.shape[1], c.x.shape[1]);
  c.dy = images(dy, c.dy.shape, n, c.dy.shape[1], c.dy.shape[1]);
  c.db.data = nullptr;
  c.pairs = true;
  return c;
}

// Rounds the images 2 i and 2 i + 1 of `rows`, of this shape (n, c, h, w), to image i of `to`, whose elements
// are pairs. The last image of an odd number is paired with zeros.
void round_images(const OpenTeam& team, const PixelRows<float>& rows, const int64_t* shape, float* to) {
  const int64_t images = shape[0];
  const int64_t c = shape[1];
  const int64_t h = shape[2];
  const int64_t w = shape[3];
  const int64_t line = c * w;
  const bool dense = rows.stride_w == c;  // then a row is one line of c * w numbers, else w lines of c
  const int64_t lines = dense ? 1 : w;
  const int columns = static_cast<int>(dense ? line : c);
  const Range share = even_share(team, ceil_div(images, 2) * h);
  for (int64_t i = share.begin; i < share.end && !interrupted(team); ++i) {
    const int64_t n = i / h * 2;
    const float* from = rows.pixel(n, i % h, 0);
    const int missing = n + 1 == images ? 1 : 0;  // the second image
    for (int64_t j = 0; j < lines; ++j)
      medium_kernels().pack(1, columns, columns, from + j * rows.stride_w, /*rs=*/2 * rows.stride_n,
                            /*cs=*/1, to + i * line + j * c, missing);
  }
}

// True if the call may use bfloat16, and there are enough channels for the rounding to pay.
bool is_wide(const ConvAlgorithms& algorithms, int64_t in, int64_t out) {
  return algorithms.has(ConvAlgorithm::medium) && has_bfloat16() && in >= kLeast && out >= kLeast;
}

}  // namespace

bool pays_in_pairs(const ConvAlgorithms& algorithms, int64_t in, int64_t out) {
  return in % 2 == 0 && is_wide(algorithms, in, out);
}

bool by_tiles(const ConvAlgorithms& algorithms) {
  return algorithms.has(ConvAlgorithm::medium) && has_tiles();
}

// Where AMX multiplies, 1x1 convolutions are left to matrix products (pointwise/); otherwise Winograd's
// algorithm takes those for which it pays, which then also uses pairs.
bool MediumSum::pays(const Correlation<float>& p) {
  const int64_t groups = p.geometry.groups;
  if (!pays_in_pairs(p.algorithms, p.x.shape[1] / groups, p.y.shape[1] / groups)) return false;
  if (has_tiles()) return p.w.shape[2] * p.w.shape[3] != 1;
  return !winograd_pays(p);
}

MediumSum::MediumSum(const Correlation<float>& p, Carver& carver, int threads)
    : p_(p),
      x_(p.x, 0, carver, /*spread=*/false),
      pairs_x_(carver.take<float>(p.x.shape[0] * p.x.shape[2] * p.x.shape[3] * spread(p.x.shape[1] / 2))),
      pairs_w_(carver.take<float>(numel(p.w) / 2)),
      stride_(spread(p.x.shape[1] / 2)),
      sum_(in_pairs(p, pairs_x_, stride_, pairs_w_), carver, threads) {}

// Rounds w (out, in, r, s), or (in, out, r, s) where transposed, to pairs of two input channels. An input
// channel is a line of `length` elements of w: the taps of one output, or, where inputs are the first
// dimension, the taps of all outputs.
void MediumSum::round_weights(const OpenTeam& team) const {
  const TensorView<const float>& w = p_.w;
  const bool inputs_first = p_.transposed;
  const bool dense = is_contiguous(w);
  const int64_t taps = w.shape[2] * w.shape[3];
  const int64_t lines = inputs_first ? 1 : w.shape[1] / 2;
  const int64_t length = inputs_first ? w.shape[1] * taps : taps;
  const int64_t apart = inputs_first ? w.strides[0] : w.strides[1];
  const auto pack = [](int64_t k, int64_t n, const float* from, int64_t rs, float* to) {
    const int columns = static_cast<int>(n);
    medium_kernels().pack(k, columns, columns, from, rs, /*cs=*/1, to, /*missing=*/0);
  };
  const int64_t step = inputs_first ? 2 : 1;  // indices of the first dimension that are packed together
  const Range share = even_share(team, w.shape[0] / step);
  for (int64_t i = share.begin; i < share.end; ++i) {
    const float* from = w.data + i * step * w.strides[0];
    float* to = pairs_w_ + i * lines * length;
    if (dense) {
      pack(lines, length, from, 2 * apart, to);
      continue;
    }
    for (int64_t line = 0; line < lines; ++line, from += 2 * apart)
      for (int64_t p = 0; p < length; ++p, ++to) {
        const int64_t tap = p % taps;
        const int64_t r = tap / w.shape[3];
        const int64_t s = tap % w.shape[3];
        pack(1, 1, from + p / taps * w.strides[1] + r * w.strides[2] + s * w.strides[3], 2 * apart, to);
      }
  }
}

void MediumSum::run(const Team& team) const {
  team.region(p_.ns() / 2, [&](const OpenTeam& team) {
    const TileScope scope;
    x_.copy_share(team);
    team.barrier();
    const int64_t h = p_.x.shape[2];
    const int64_t w = p_.x.shape[3];
    const int64_t half = p_.x.shape[1] / 2;
    const Range share = even_share(team, p_.x.shape[0] * h);
    // Row i of all images: one run of numbers if pixels follow each other without gaps, else pixel by pixel.
    const bool dense = x_.stride_w == 2 * half && stride_ == half;
    const int64_t runs = dense ? 1 : w;
    const int64_t factors = dense ? 2 * half * w : 2 * half;
    for (int64_t i = share.begin; i < share.end && !interrupted(team); ++i)
      round_rows(runs, factors, x_.pixel(i / h, i % h, 0), x_.stride_w, pairs_x_ + i * w * stride_, stride_);
    round_weights(team);
    team.barrier();
    sum_.run(team);
  });
}

// A call of one image is left to other algorithms, as its pairs would lack their second image.
bool MediumWeight::pays(const Conv2dBackwardWeight<float>& c) {
  const int64_t in = c.x.shape[1] / c.geometry.groups;
  const int64_t out = c.dy.shape[1] / c.geometry.groups;
  return c.dw.data && c.x.shape[0] > 1 && is_wide(c.algorithms, in, out) &&
         !(has_tiles() && PointwiseWeight<float>::pays(c));
}

MediumWeight::MediumWeight(const Conv2dBackwardWeight<float>& c, Carver& carver, int threads)
    : c_(c),
      x_(c.x, 0, carver, /*spread=*/false),
      dy_(c.dy, 0, carver, /*spread=*/false),
      pairs_x_(carver.take<float>(ceil_div(c.x.shape[0], 2) * c.x.shape[1] * c.x.shape[2] * c.x.shape[3])),
      pairs_dy_(
          carver.take<float>(ceil_div(c.x.shape[0], 2) * c.dy.shape[1] * c.dy.shape[2] * c.dy.shape[3])),
      weight_(in_pairs(c, pairs_x_, pairs_dy_), carver, threads),
      bias_(bias_only(c), carver, threads) {}

void MediumWeight::run(const Team& team) const {
  team.region(c_.ns() / 2, [&](const OpenTeam& team) {
    const TileScope scope;
    x_.copy_share(team);
    dy_.copy_share(team);
    team.barrier();
    round_images(team, x_, c_.x.shape, pairs_x_);
    round_images(team, dy_, c_.dy.shape, pairs_dy_);
    team.barrier();
    weight_.run(team);
  });
  if (c_.db.data) bias_.run(team);
}

}  // namespace ranvier
