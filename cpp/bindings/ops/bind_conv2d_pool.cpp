// Binds conv2d_pool: a convolution, an activation and a max-pool in one call, and its gradient.
#include "bindings/ops/conv_args.h"
#include "kernels/conv2d_pool/conv2d_pool.h"

namespace ranvier::bind {
namespace {

using Floats32 = Exactly<DType::float32>;
using MaybeFloats32 = MaybeExactly<DType::float32>;
using Weight32 = Named<Floats32>;

// Returns (y, where): the maxima of conv2d's result over windows that do not overlap, and their places in the
// windows (uint8), or None. The result of the convolution itself is never stored as a whole.
std::tuple<Output, MaybeOutput> conv_pool(const Floats32& x, const Weight32& w, const MaybeFloats32& bias,
                                          PerAxis stride, Padding padding, PerAxis dilation, PerAxis window_,
                                          Name activation, Truth need_where) {
  const ConvOp op{x.op(), 2};
  const ConvArguments a = conv_arguments(op, w, stride, padding, dilation, true);
  const ConvShapes s = conv_shapes(op, x, w, a);
  if (bias) bias.expect_shape({s.k});
  const ResultWindow window = result_window(op, window_, s);
  const Conv2dActivation act = conv_activation(activation);
  const Shape shape{s.n, s.k, window.rows, window.columns};
  Output y = Output::channels_last(DType::float32, shape);
  MaybeOutput where;
  if (need_where) where = Output::channels_last(DType::uint8, shape);
  const TensorView<float> z{nullptr, 4, {s.n, s.k, s.p, s.q}, {}};  // conv2d's result: a shape without data
  invoke_released(
      Conv2dPoolForward{{x, w, bias, z, a.geometry(), act, conv_algorithms(DType::float32), {}, {}, true},
                        y,
                        where,
                        {window.size[0], window.size[1]}});
  return {std::move(y), std::move(where)};
}

// Returns (dx, dw, db) of conv2d_pool. dy: the gradient of its result, already 0 where its ReLU gave 0.
// Gradients that are not needed are None. saved: x, if x is itself the result of a ReLU; dx is then the
// gradient of the input of that ReLU.
template <int axes>
Gradients::All conv_pool_backward(const Reals& dy, const Exactly<DType::uint8>& where, const Reals& x,
                                  const Weight& w, PerAxis stride, Padding padding, PerAxis dilation,
                                  PerAxis window_, Truth need_dx, Truth need_dw, Truth need_db,
                                  const MaybeReals& saved) {
  const ConvOp op{x.op(), axes};
  if (x.dtype() == DType::float64) fail_type(x.op(), "got x of float64; expected float32 or halves");
  const ConvArguments a = conv_arguments(op, w, stride, padding, dilation, true);
  const ConvShapes s = conv_shapes(op, x, w, a);
  const ResultWindow window = result_window(op, window_, s);
  const Shape pooled = op.shape(s.n, s.k, window.rows, window.columns);
  const Shape whole = op.shape(s.n, s.c, s.h, s.w);
  dy.expect_shape(pooled);
  where.expect_shape(pooled);
  if (saved) saved.expect_shape(whole);
  Gradients g;
  if (need_dx) {
    g.dx = conv_output(op, x.dtype(), whole);
    invoke_images(x.dtype(), Conv2dPoolBackwardInput{image(dy, axes),
                                                     image(where, axes),
                                                     image(w, axes),
                                                     image(saved, axes),
                                                     image(g.dx, axes),
                                                     a.geometry(),
                                                     {window.size[0], window.size[1]},
                                                     conv_algorithms(x.dtype())});
  }
  if (!need_dw && !need_db) return g.all();
  if (need_dw) g.dweight = Output::contiguous(x.dtype(), w.shape());
  if (need_db) g.dbias = Output::contiguous(x.dtype(), {s.k});
  invoke_images(x.dtype(), Conv2dPoolBackwardWeight{image(dy, axes),
                                                    image(where, axes),
                                                    image(x, axes),
                                                    image(g.dweight, axes),
                                                    g.dbias,
                                                    a.geometry(),
                                                    {s.r, s.s},
                                                    {window.size[0], window.size[1]},
                                                    conv_algorithms(x.dtype())});
  return g.all();
}

}  // namespace

void register_conv2d_pool(Module m) {
  const std::string settings = "stride=1, padding=0, dilation=1, window=2, ";
  const std::string needs = "need_dx=True, need_dw=True, need_db=True, saved=None)";
  def(m, "conv2d_pool(x, w, bias=None, " + settings + "activation='none', need_where=True)", conv_pool);
  def(m, "conv1d_pool_backward(dy, where, x, w, " + settings + needs, conv_pool_backward<1>);
  def(m, "conv2d_pool_backward(dy, where, x, w, " + settings + needs, conv_pool_backward<2>);
}

}  // namespace ranvier::bind
