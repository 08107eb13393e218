#include "kernels/conv2d/pixels/pixels.h"

#include <algorithm>

#include "kernels/conv2d/pixels/loops.h"
#include "kernels/conv2d/planes/planes.h"

namespace ranvier {
namespace {

int64_t pixels_together(int64_t in, int64_t out) { return pixel_kernels().lanes / std::max(in, out); }

}  // namespace

// A vector takes one step for each input channel: with many of these a product of matrices takes less.
bool Pixels::pays(const Correlation<float>& p) {
  constexpr int64_t kFewInputs = 4;
  const int64_t in = p.x.shape[1], out = p.y.shape[1], together = pixels_together(in, out);
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
      const int64_t first = c.begin * together_, count = std::min(c.end * together_, pixels) - first;
      pixel_kernels().outputs({p_.x.data + first * in_, p_.y.data + first * out_, count * in_, count * out_,
                               in_, together_ * in_, together_ * out_, pick_, weights_, lines_,
                               p_.norm != nullptr, p_.relu});
    }
    team.barrier();
  });
}

void Pixels::prepare() const {
  const int64_t lanes = pixel_kernels().lanes, *st = p_.w.strides;
  const int64_t stride_c = st[p_.transposed ? 0 : 1], stride_k = st[p_.transposed ? 1 : 0];
  for (int64_t i = 0; i < lanes; ++i) {
    const int64_t k = i % out_;
    pick_[i] = static_cast<int32_t>(i / out_ * in_);
    for (int64_t c = 0; c < in_; ++c) weights_[c * lanes + i] = p_.w.data[c * stride_c + k * stride_k];
    lines_[i] = p_.bias.data ? p_.bias.data[k * p_.bias.strides[0]] : 0;
    for (int64_t line = 0; line < 3; ++line)
      lines_[(1 + line) * lanes + i] = p_.norm ? p_.norm[line * out_ + k] : 0;
  }
}

}  // namespace ranvier
