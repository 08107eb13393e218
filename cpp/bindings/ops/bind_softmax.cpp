// Binds softmax and log_softmax, with their gradients.
#include "bindings/binder/define.h"
#include "kernels/softmax/softmax.h"

namespace ranvier::bind {
namespace {

template <bool is_log>
Output forward(const Reals& x, Axis axis, Out out) {
  Output y = out.like_or_onto(x, x);
  run<SoftmaxForward>(x.dtype(), is_log, axis.of(x), x, y);
  return y;
}

template <bool is_log>
Output backward(const Floats& dy, const Floats& y, Axis axis, Out out) {
  dy.expect_same_shape(y);
  const int along = axis.of(y);
  Output dx = out.like_or_onto(y, dy, y);
  run<SoftmaxBackward>(y.dtype(), is_log, along, dy, y, dx);
  return dx;
}

}  // namespace

void register_softmax(Module m) {
  def(m, "softmax(x, axis=-1, out=None)", forward<false>);
  def(m, "softmax_backward(dy, y, axis=-1, out=None)", backward<false>, "softmax");
  def(m, "log_softmax(x, axis=-1, out=None)", forward<true>);
  def(m, "log_softmax_backward(dy, y, axis=-1, out=None)", backward<true>, "log_softmax");
}

}  // namespace ranvier::bind
