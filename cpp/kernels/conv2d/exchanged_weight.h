// The gradient to the weight where output channels are few and input channels many: with the roles of x and
// dy exchanged, since vectors of few output channels would be empty for the most part.
//
// At stride 1 the sum over outputs of dy[p] x[p + tap - pad] is the sum over inputs of x[h] dy[h + tap' -
// pad'] with tap' = taps - 1 - tap and pad' = (taps - 1) dilation - pad: a weight gradient with the taps
// turned.
#pragma once
#include <algorithm>
#include <utility>

#include "kernels/conv2d/weight_gradient.h"

namespace ranvier {

template <class T>
class ExchangedWeight {
 public:
  static bool pays(const Conv2dBackwardWeight<T>& call) {
    const Conv2dGeometry& g = call.geometry;
    if (!call.dw.data || g.stride[0] != 1 || g.stride[1] != 1) return false;
    for (int d = 0; d < 2; ++d)
      if (g.pad[d] > (call.taps[d] - 1) * g.dilation[d]) return false;
    const int64_t lanes = conv_kernels<T>().lanes;
    return 2 * call.dy.shape[1] <= lanes * g.groups && call.x.shape[1] >= lanes * g.groups;
  }

  ExchangedWeight(const Conv2dBackwardWeight<T>& call, void* workspace, int team)
      : call_(call),
        carver_(workspace),
        turned_(carver_.take<T>(call.dy.shape[1] * elements())),
        rest_(carver_.take<char>(0)),
        exchanged_(exchanged(call, turned_), rest_, team),
        bias_(bias_only(call), rest_, team) {}

  size_t workspace_bytes() const {
    return carver_.used() + std::max(exchanged_.workspace_bytes(), bias_.workspace_bytes());
  }

  void run(const Team& team) const {
    exchanged_.run(team);
    const int64_t groups = call_.geometry.groups, out_group = call_.dy.shape[1] / groups;
    const int64_t in_group = call_.x.shape[1] / groups, taps = call_.taps[0] * call_.taps[1];
    // turned (g, c, k, taps), dw (g, k, c, taps)
    team.parallel_for(groups * out_group, static_cast<double>(call_.dy.shape[1] * elements()),
                      [&](int64_t begin, int64_t end) {
                        for (int64_t k = begin; k < end; ++k)
                          for (int64_t c = 0; c < in_group; ++c) {
                            const int64_t channel = k / out_group * in_group + c;
                            const T* from = turned_ + (channel * out_group + k % out_group) * taps;
                            T* to = call_.dw.data + (k * in_group + c) * taps;
                            for (int64_t t = 0; t < taps; ++t) to[t] = from[taps - 1 - t];
                          }
                      });
    if (call_.db.data) bias_.run(team);
  }

 private:
  int64_t elements() const {  // of one output channel
    return call_.x.shape[1] / call_.geometry.groups * call_.taps[0] * call_.taps[1];
  }
  static Conv2dBackwardWeight<T> exchanged(Conv2dBackwardWeight<T> call, T* turned) {
    std::swap(call.x, call.dy);
    if (turned) call.dw.data = turned;  // else only sizes are asked for
    call.db.data = nullptr;
    for (int d = 0; d < 2; ++d)
      call.geometry.pad[d] = (call.taps[d] - 1) * call.geometry.dilation[d] - call.geometry.pad[d];
    return call;
  }
  static Conv2dBackwardWeight<T> bias_only(Conv2dBackwardWeight<T> call) {
    call.dw.data = nullptr;
    return call;
  }

  Conv2dBackwardWeight<T> call_;
  Carver carver_;
  T* turned_;
  void* rest_;
  WeightGradient<T> exchanged_, bias_;
};

}  // namespace ranvier
