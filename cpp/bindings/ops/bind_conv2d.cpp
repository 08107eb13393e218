// Binds convolutions of signals and images (conv1d, conv2d), transposed convolutions, their gradients, and
// the choice of algorithms. template <int axes>: 1 for signals, 2 for images.
#include <cstdlib>

#include "base/precision.h"
#include "bindings/ops/conv_args.h"
#include "kernels/conv2d/allowed_algorithms.h"

namespace ranvier::bind {
namespace {

// For tests and benchmarks. The names are in the order of ConvAlgorithm.
void allow_conv_algorithm(Name name, Truth allowed) {
  const int i = name.one_of({"depthwise", "spread", "columns", "scattered", "winograd", "pixels", "pointwise",
                             "planes", "dots", "grouped", "exchanged"});
  allow_algorithm(static_cast<ConvAlgorithm>(i), allowed);
}

// The environment variable RANVIER_WINOGRAD=0 or 1 acts as set_winograd().
void init_winograd() {
  const char* wanted = std::getenv("RANVIER_WINOGRAD");
  if (!wanted || !*wanted) return;
  if ((*wanted != '0' && *wanted != '1') || wanted[1])
    fail_value("import", "got RANVIER_WINOGRAD=", wanted, "; expected 0 or 1");
  allow_algorithm(ConvAlgorithm::winograd, *wanted == '1');
}

// True if x has 2 to 4 channels, is not channels-last, and is filtered channel by channel, as pictures are.
// The result is then in C order, too. (Other results are channels-last, as images within networks are.)
bool keeps_planes(const Reals& x, const ConvArguments& a, const ConvShapes& s) {
  constexpr int64_t kMostColors = 4;
  return a.groups == s.c && s.k == s.c && s.c > 1 && s.c <= kMostColors && !over_channels(x.view<char>());
}

// Slice i of an array along an axis, as a field of run().
template <class A>
auto one_of(const A& array, int axis, int64_t i) {
  return viewed(array, [axis, i](auto v) {
    if (v.data) {
      v.data += i * v.strides[axis];
      v.shape[axis] = 1;
    }
    return v;
  });
}

// Filters each channel as an image of its own. Vectors then hold pixels, which is 3 times as fast as vectors
// of 3 channels.
Output conv_by_channel(const Reals& x, const Weight& w, const MaybeReals& bias, ConvArguments a,
                       const Shape& shape, Conv2dActivation act) {
  Output y = new_images(x.dtype(), 2, false, shape);
  a.groups = 1;
  for (int64_t c = 0; c < shape.sizes[1]; ++c)
    run_images<Conv2dForward>(x.dtype(), one_of(x, 1, c), one_of(w, 0, c), one_of(bias, 0, c),
                              one_of(y, 1, c), a.geometry(), act, conv_algorithms(x.dtype()));
  return y;
}

// activation(x * w + bias): x (n, c, h, w), w (k, c / groups, r, s), result (n, k, p, q).
template <int axes>
Output conv(const Reals& x, const Weight& w, const MaybeReals& bias, PerAxis stride, Padding padding,
            PerAxis dilation, Groups groups, Name activation, Out out) {
  const ConvOp op{x.op(), axes};
  ConvArguments a = conv_arguments(op, w, stride, padding, dilation, true);
  a.groups = read_groups(op, groups);
  const ConvShapes s = conv_shapes(op, x, w, a);
  if (bias) bias.expect_shape({s.k});
  const Conv2dActivation act = conv_activation(activation);
  const Shape shape = op.shape(s.n, s.k, s.p, s.q);
  const bool planes = axes == 2 && !out.given() && keeps_planes(x, a, s);
  if (planes && x.dtype() == DType::float32 && a.stride[0] == 1 && a.stride[1] == 1)
    return conv_by_channel(x, w, bias, a, shape, act);
  ConvResult y(op, out, x.dtype(), shape, planes, x, w, bias);
  run_images<Conv2dForward>(x.dtype(), image(x, axes), image(w, axes), bias, image(y.array(), axes),
                            a.geometry(), act, conv_algorithms(x.dtype()));
  return y.finish();
}

// Returns (dx, dw, db) from dy, the gradient of conv's result. Gradients that are not needed are None.
template <int axes>
Gradients::All conv_backward(const Reals& dy, const Reals& x, const Weight& w, PerAxis stride,
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
    run_images<Conv2dBackwardInput>(x.dtype(), image(dy, axes), image(w, axes), image(g.dx, axes),
                                    a.geometry(), conv_algorithms(x.dtype()));
  }
  if (!need_dw && !need_db) return g.all();
  if (need_dw) g.dweight = Output::contiguous(x.dtype(), w.shape());
  if (need_db) g.dbias = Output::contiguous(x.dtype(), {s.k});
  with_float(x.dtype(), [&](auto tag) {
    invoke_images(x.dtype(), Conv2dBackwardWeight<decltype(tag)>{image(dy, axes),
                                                                 image(x, axes),
                                                                 image(g.dweight, axes),
                                                                 g.dbias,
                                                                 a.geometry(),
                                                                 {s.r, s.s},
                                                                 conv_algorithms(x.dtype())});
  });
  return g.all();
}

// The size of a transposed convolution's result along axis d: that of the input of the convolution whose
// gradient it is.
int64_t transposed_size(const ConvOp& op, int64_t in, int64_t taps, const ConvArguments& a, int d) {
  const int64_t spread = (in - 1) * a.stride[d] + a.dilation[d] * (taps - 1) + 1 + a.extra[d];
  const int64_t out = spread - 2 * a.before[d];
  if (in < 1 || out < 1 || out > (int64_t{1} << 40) / taps)
    fail_value(op.name, "got a size of ", in, " along ", op.axis(d), ", from which an output of ", out,
               " would come; expected at least 1, and a size that fits in memory");
  return out;
}

// The shapes of a transposed convolution; fails if x and w do not fit.
ConvShapes shapes_of(const ConvOp& op, const Input& x, const Input& w, const ConvArguments& a) {
  expect_conv_dimensions(op, x, op.image());
  const char* const dimensions_of_w = op.axes == 1 ? "(c, k / groups, s)" : "(c, k / groups, r, s)";
  expect_conv_dimensions(op, w, dimensions_of_w);
  ConvShapes s{x.shape(0), x.shape(1), conv_size(op, x, 0), conv_size(op, x, 1), 0, 0, 0, 0, 0};
  if (w.shape(0) != s.c)
    fail_value(op.name, "got x with ", s.c, " channels and weight for ", w.shape(0),
               "; expected weight of shape (", s.c, ", K / groups, ", op.taps(), ")");
  if (s.c % a.groups != 0)
    fail_value(op.name, "got x with ", s.c, " channels and groups ", a.groups,
               "; expected channels divisible by groups");
  s.k = w.shape(1) * a.groups;  // no overflow: both factors are below 2**31
  if (s.k > int64_t{1} << 30)
    fail_value(op.name, "got weight of shape ", w.shape(), " and groups ", a.groups,
               "; expected at most 2**30 output channels");
  read_conv_taps(op, w, &s);
  s.p = transposed_size(op, s.h, s.r, a, 0);
  s.q = transposed_size(op, s.w, s.s, a, 1);
  return s;
}

// The settings of a transposed convolution.
ConvArguments arguments(const ConvOp& op, const Input& w, const PerAxis& stride, const PerAxis& padding,
                        const PerAxis& output_padding, const Arg& groups, const PerAxis& dilation) {
  ConvArguments a = conv_arguments(op, w, stride, padding, dilation, false);
  a.groups = read_groups(op, groups);
  read_conv_sizes(op, output_padding, 0, a.extra);
  for (int d = 2 - op.axes; d < 2; ++d)
    if (a.extra[d] >= std::max(a.stride[d], a.dilation[d]))
      fail_value(op.name, "got output_padding ", a.extra[d], " for stride ", a.stride[d], " and dilation ",
                 a.dilation[d], "; expected less than the larger of them");
  return a;
}

// A transposed convolution: the gradient of a convolution with respect to its input, plus a bias. x (n, c, h,
// w), w (c, k / groups, r, s), result (n, k, p, q).
template <int axes>
Output conv_transpose(const Reals& x, const Weight& w, const MaybeReals& bias, PerAxis stride,
                      PerAxis padding, PerAxis output_padding, Groups groups, PerAxis dilation, Out out) {
  const ConvOp op{x.op(), axes};
  const ConvArguments a = arguments(op, w, stride, padding, output_padding, groups, dilation);
  const ConvShapes s = shapes_of(op, x, w, a);
  if (bias) bias.expect_shape({s.k});
  ConvResult y(op, out, x.dtype(), op.shape(s.n, s.k, s.p, s.q), false, x, w, bias);
  run_images<ConvTranspose2dForward>(x.dtype(), image(x, axes), image(w, axes), bias, image(y.array(), axes),
                                     a.geometry(), conv_algorithms(x.dtype()));
  return y.finish();
}

// The call that computes db of a transposed convolution, the sum of dy over images and pixels. The kernel for
// a weight's gradient sums its first array so; the second one is only needed for dw, which is left out here.
template <class T>
Conv2dBackwardWeight<T> bias_gradient(const TensorView<const T>& dy, const TensorView<T>& db, DType dtype) {
  TensorView<const T> one_channel = dy;
  one_channel.shape[1] = 1;
  return {dy, one_channel, {}, db, {{1, 1}, {0, 0}, {1, 1}, 1}, {1, 1}, conv_algorithms(dtype)};
}

// Returns (dx, dw, db) from dy, the gradient of conv_transpose's result. Gradients that are not needed are
// None.
template <int axes>
Gradients::All conv_transpose_backward(const Reals& dy, const Reals& x, const Weight& w, PerAxis stride,
                                       PerAxis padding, PerAxis output_padding, Groups groups,
                                       PerAxis dilation, Truth need_dx, Truth need_dw, Truth need_db) {
  const ConvOp op{x.op(), axes};
  const ConvArguments a = arguments(op, w, stride, padding, output_padding, groups, dilation);
  const ConvShapes s = shapes_of(op, x, w, a);
  dy.expect_shape(op.shape(s.n, s.k, s.p, s.q));
  Gradients g;
  if (need_dx) g.dx = conv_output(op, x.dtype(), op.shape(s.n, s.c, s.h, s.w));
  if (need_dw) g.dweight = Output::contiguous(x.dtype(), w.shape());
  if (need_db) g.dbias = Output::contiguous(x.dtype(), {s.k});
  if (need_dx)
    run_images<Conv2dForward>(x.dtype(), image(dy, axes), image(w, axes), Input(), image(g.dx, axes),
                              a.geometry(), Conv2dActivation::none, conv_algorithms(x.dtype()));
  with_float(x.dtype(), [&](auto tag) {
    using T = decltype(tag);
    if (need_dw)
      invoke_images(x.dtype(), Conv2dBackwardWeight<T>{image(x, axes),
                                                       image(dy, axes),
                                                       image(g.dweight, axes),
                                                       {},
                                                       a.geometry(),
                                                       {s.r, s.s},
                                                       conv_algorithms(x.dtype())});
    if (need_db) invoke_images(x.dtype(), bias_gradient<T>(image(dy, axes), g.dbias, x.dtype()));
  });
  return g.all();
}

template <int axes>
void define(Module m) {
  const std::string name = "conv" + std::to_string(axes) + "d";
  const std::string settings = "stride=1, padding=0, dilation=1, groups=1, ";
  def(m, name + "(x, w, bias=None, " + settings + "activation='none', out=None)", conv<axes>);
  const std::string backward = "_backward(dy, x, w, ";
  const std::string needed = "need_dx=True, need_dw=True, need_db=True)";
  def(m, name + backward + settings + needed, conv_backward<axes>);
  const std::string transposed = "conv_transpose" + std::to_string(axes) + "d";
  const std::string with_output = "stride=1, padding=0, output_padding=0, groups=1, dilation=1, ";
  def(m, transposed + "(x, w, bias=None, " + with_output + "out=None)", conv_transpose<axes>);
  def(m, transposed + backward + with_output + needed, conv_transpose_backward<axes>);
}

}  // namespace

ConvAlgorithms conv_algorithms(DType dtype) {
  const ConvAlgorithms all = allowed_algorithms();
  return dtype == DType::bfloat16 || is_medium() ? all : all.without(ConvAlgorithm::medium);
}

void register_conv2d(Module m) {
  init_winograd();
  def(m, "get_winograd()", [] { return allowed_algorithms().has(ConvAlgorithm::winograd); });
  def(m, "set_winograd(enabled)", [](Truth enabled) { allow_algorithm(ConvAlgorithm::winograd, enabled); });
  def(m, "allow_conv_algorithm(name, allowed)", allow_conv_algorithm);
  define<1>(m);
  define<2>(m);
}

}  // namespace ranvier::bind
