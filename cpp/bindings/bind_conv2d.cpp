#include <atomic>
#include <cstdlib>

#include "bindings/conv_args.h"

namespace ranvier::bind {
namespace {

std::atomic<uint32_t> g_algorithms{~0u};

void allow(ConvAlgorithm a, bool allowed) {
  const uint32_t bit = 1u << static_cast<int>(a);
  allowed ? g_algorithms.fetch_or(bit) : g_algorithms.fetch_and(~bit);
}

// For tests and benchmarks. The names in the order of ConvAlgorithm.
void allow_conv_algorithm(Name name, Truth allowed) {
  const int i = name.one_of({"depthwise", "spread", "columns", "scattered", "winograd", "pixels", "pointwise",
                             "planes", "dots", "grouped", "exchanged"});
  allow(static_cast<ConvAlgorithm>(i), allowed);
}

// RANVIER_WINOGRAD=0 in the environment: as after set_winograd(False).
void init_winograd() {
  const char* wanted = std::getenv("RANVIER_WINOGRAD");
  if (!wanted || !*wanted) return;
  if ((*wanted != '0' && *wanted != '1') || wanted[1])
    fail_value("import", "got RANVIER_WINOGRAD=", wanted, "; expected 0 or 1");
  allow(ConvAlgorithm::winograd, *wanted == '1');
}

// activation(x * w + bias): x (n, c, h, w), w (k, c / groups, r, s), result (n, k, p, q).
template <int axes>
Output conv(const Floats& x, const Weight& w, const MaybeFloats& bias, PerAxis stride, Padding padding,
            PerAxis dilation, Groups groups, Name activation, Out out) {
  const ConvOp op{x.op(), axes};
  ConvArguments a = conv_arguments(op, w, stride, padding, dilation, true);
  a.groups = read_groups(op, groups);
  const ConvShapes s = conv_shapes(op, x, w, a);
  if (bias) bias.expect_shape({s.k});
  const Conv2dActivation act = conv_activation(activation);
  ConvResult y(op, out, x.dtype(), op.shape(s.n, s.k, s.p, s.q), x, w, bias);
  run<Conv2dForward>(x.dtype(), image(x, axes), image(w, axes), bias, image(y.array(), axes), a.geometry(),
                     act, conv_algorithms());
  return y.finish();
}

// (dx, dw, db) from dy, the gradient of conv's result; None for those not needed.
template <int axes>
Gradients::All conv_backward(const Floats& dy, const Floats& x, const Weight& w, PerAxis stride,
                             Padding padding, PerAxis dilation, Groups groups, Truth need_dx, Truth need_dw,
                             Truth need_db) {
  const ConvOp op{x.op(), axes};
  ConvArguments a = conv_arguments(op, w, stride, padding, dilation, true);
  a.groups = read_groups(op, groups);
  const ConvShapes s = conv_shapes(op, x, w, a);
  dy.expect_shape(op.shape(s.n, s.k, s.p, s.q));
  Gradients g;
  if (need_dx) {
    g.dx = conv_output(op, x.dtype(), op.shape(s.n, s.c, s.h, s.w));
    run<Conv2dBackwardInput>(x.dtype(), image(dy, axes), image(w, axes), image(g.dx, axes), a.geometry(),
                             conv_algorithms());
  }
  if (!need_dw && !need_db) return g.all();
  if (need_dw) g.dweight = Output::contiguous(x.dtype(), w.shape());
  if (need_db) g.dbias = Output::contiguous(x.dtype(), {s.k});
  with_float(x.dtype(), [&](auto tag) {
    invoke_released(Conv2dBackwardWeight<decltype(tag)>{image(dy, axes),
                                                        image(x, axes),
                                                        image(g.dweight, axes),
                                                        g.dbias,
                                                        a.geometry(),
                                                        {s.r, s.s},
                                                        conv_algorithms()});
  });
  return g.all();
}

template <int axes>
void define(Module m) {
  const std::string name = "conv" + std::to_string(axes) + "d";
  const std::string settings = "stride=1, padding=0, dilation=1, groups=1, ";
  def(m, name + "(x, w, bias=None, " + settings + "activation='none', out=None)", conv<axes>);
  def(m, name + "_backward(dy, x, w, " + settings + "need_dx=True, need_dw=True, need_db=True)",
      conv_backward<axes>);
}

}  // namespace

ConvAlgorithms conv_algorithms() { return {g_algorithms.load(std::memory_order_relaxed)}; }

void register_conv2d(Module m) {
  init_winograd();
  def(m, "get_winograd()", [] { return conv_algorithms().has(ConvAlgorithm::winograd); });
  def(m, "set_winograd(enabled)", [](Truth enabled) { allow(ConvAlgorithm::winograd, enabled); });
  def(m, "allow_conv_algorithm(name, allowed)", allow_conv_algorithm);
  define<1>(m);
  define<2>(m);
}

}  // namespace ranvier::bind
