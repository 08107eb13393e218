#include <algorithm>

#include "bindings/conv_args.h"

namespace ranvier::bind {
namespace {

constexpr ConvOp kOp1d{"conv_transpose1d", 1}, kOp1dBackward{"conv_transpose1d_backward", 1};
constexpr ConvOp kOp2d{"conv_transpose2d", 2}, kOp2dBackward{"conv_transpose2d_backward", 2};

// Output size along one axis: that of the convolution's input.
int64_t output_size(const ConvOp& op, int64_t in, int64_t taps, const ConvArguments& a, int d) {
  const int64_t spread = (in - 1) * a.stride[d] + a.dilation[d] * (taps - 1) + 1 + a.extra[d];
  const int64_t out = spread - 2 * a.before[d];
  if (in < 1 || out < 1 || out > (int64_t{1} << 40) / taps)
    fail_value(op.name, std::string("got a size of ") + std::to_string(in) + " along " + op.axis(d) +
                            ", from which an output of " + std::to_string(out) +
                            " would come; expected at least 1, and a size that fits in memory");
  return out;
}

ConvShapes shapes_of(const ConvOp& op, const Input& x, const Input& w, const ConvArguments& a) {
  require_conv_dimensions(op, "x", x, op.image());
  require_conv_dimensions(op, "weight", w, op.axes == 1 ? "(c, k / groups, s)" : "(c, k / groups, r, s)");
  ConvShapes s{x.shape(0), x.shape(1), conv_size(op, x, 0), conv_size(op, x, 1), 0, 0, 0, 0, 0};
  const std::string channels = std::to_string(s.c), groups = std::to_string(a.groups);
  if (w.shape(0) != s.c)
    fail_value(op.name, "got x with " + channels + " channels and weight for " + std::to_string(w.shape(0)) +
                            "; expected weight of shape (" + channels + ", K / groups, " + op.taps() + ")");
  if (s.c % a.groups != 0)
    fail_value(op.name, "got x with " + channels + " channels and groups " + groups +
                            "; expected channels divisible by groups");
  s.k = w.shape(1) * a.groups;  // both below 2**31
  if (s.k > int64_t{1} << 30)
    fail_value(op.name, "got weight of shape " + shape_text(w.ndim(), w.shape()) + " and groups " + groups +
                            "; expected at most 2**30 output channels");
  require_conv_taps(op, w, &s);
  s.p = output_size(op, s.h, s.r, a, 0);
  s.q = output_size(op, s.w, s.s, a, 1);
  return s;
}

ConvArguments arguments(const ConvOp& op, const Input& w, py::handle stride, py::handle padding,
                        py::handle output_padding, py::handle groups, py::handle dilation) {
  ConvArguments a = conv_arguments(op, w, stride, padding, dilation, groups, false);
  read_conv_sizes(op, "output_padding", output_padding, 0, a.extra);
  for (int d = 2 - op.axes; d < 2; ++d)
    if (a.extra[d] >= std::max(a.stride[d], a.dilation[d]))
      fail_value(op.name, "got output_padding " + std::to_string(a.extra[d]) + " for stride " +
                              std::to_string(a.stride[d]) + " and dilation " + std::to_string(a.dilation[d]) +
                              "; expected less than the larger of them");
  return a;
}

template <const ConvOp& op>
py::object conv_transpose(py::handle x_, py::handle w_, py::handle bias_, py::handle stride,
                          py::handle padding, py::handle output_padding, py::handle groups,
                          py::handle dilation, py::handle out) {
  const Input x = Input::floating(op.name, "x", x_), w = Input::floating(op.name, "weight", w_);
  require_same_dtype(op.name, "x", x, "weight", w);
  const Input bias = Input::optional(op.name, "bias", bias_, x.dtype());
  const ConvArguments a = arguments(op, w, stride, padding, output_padding, groups, dilation);
  const ConvShapes s = shapes_of(op, x, w, a);
  require_conv_bias(op, bias, s.k);
  ConvResult y(op, out, x.dtype(), {op, s.n, s.k, s.p, s.q}, {&x, &w, &bias});
  with_float(x.dtype(), [&](auto tag) {
    using T = decltype(tag);
    invoke_released(ConvTranspose2dForward<T>{as_image(x.view<T>(), op.axes), as_image(w.view<T>(), op.axes),
                                              bias.view<T>(), y.view<T>(), a.geometry(), winograd_allowed()});
  });
  return y.release();
}

// db: the sum over images and pixels. The weight's gradient has none of dy, only of x.
template <class T>
Conv2dBackwardWeight<T> bias_gradient(const TensorView<const T>& dy, const TensorView<T>& db) {
  TensorView<const T> one_channel = dy;
  one_channel.shape[1] = 1;
  return {dy, one_channel, {}, db, {{1, 1}, {0, 0}, {1, 1}, 1}, {1, 1}};
}

template <const ConvOp& op>
py::tuple conv_transpose_backward(py::handle dy_, py::handle x_, py::handle w_, py::handle stride,
                                  py::handle padding, py::handle output_padding, py::handle groups,
                                  py::handle dilation, py::handle need_dx_, py::handle need_dw_,
                                  py::handle need_db_) {
  const bool need_dx = truth(op.name, "need_dx", need_dx_), need_dw = truth(op.name, "need_dw", need_dw_),
             need_db = truth(op.name, "need_db", need_db_);
  const Input x = Input::floating(op.name, "x", x_), w = Input::floating(op.name, "weight", w_);
  const Input dy = Input::floating(op.name, "dy", dy_);
  require_same_dtype(op.name, "x", x, "weight", w);
  require_same_dtype(op.name, "x", x, "dy", dy);
  const ConvArguments a = arguments(op, w, stride, padding, output_padding, groups, dilation);
  const ConvShapes s = shapes_of(op, x, w, a);
  require_conv_gradient(op, dy, {op, s.n, s.k, s.p, s.q});
  py::object dx = py::none(), dw = py::none(), db = py::none();
  with_float(x.dtype(), [&](auto tag) {
    using T = decltype(tag);
    const auto gradient = as_image(dy.view<T>(), op.axes);
    if (need_dx) {
      Output out = conv_output(op, x.dtype(), {op, s.n, s.c, s.h, s.w});
      invoke_released(Conv2dForward<T>{gradient,
                                       as_image(w.view<T>(), op.axes),
                                       {},
                                       as_image(out.view<T>(), op.axes),
                                       a.geometry(),
                                       Conv2dActivation::none,
                                       winograd_allowed()});
      dx = out.release();
    }
    if (need_dw) {
      Output out = Output::contiguous(x.dtype(), w.ndim(), w.shape());
      invoke_released(Conv2dBackwardWeight<T>{as_image(x.view<T>(), op.axes),
                                              gradient,
                                              as_image(out.view<T>(), op.axes),
                                              {},
                                              a.geometry(),
                                              {s.r, s.s}});
      dw = out.release();
    }
    if (need_db) {
      Output out = Output::contiguous(x.dtype(), {s.k});
      invoke_released(bias_gradient(gradient, out.view<T>()));
      db = out.release();
    }
  });
  return py::make_tuple(dx, dw, db);
}

template <const ConvOp& op, const ConvOp& backward>
void define(py::module_& m, const char* doc, const char* backward_doc) {
  const py::int_ zero(0), one(1);
  m.def(op.name, conv_transpose<op>, py::arg("x"), py::arg("w"), py::arg("bias") = py::none(),
        py::arg("stride") = one, py::arg("padding") = zero, py::arg("output_padding") = zero,
        py::arg("groups") = one, py::arg("dilation") = one, py::arg("out") = py::none(), doc);
  m.def(backward.name, conv_transpose_backward<backward>, py::arg("dy"), py::arg("x"), py::arg("w"),
        py::arg("stride") = one, py::arg("padding") = zero, py::arg("output_padding") = zero,
        py::arg("groups") = one, py::arg("dilation") = one, py::arg("need_dx") = true,
        py::arg("need_dw") = true, py::arg("need_db") = true, backward_doc);
}

}  // namespace

void register_conv_transpose(py::module_& m) {
  define<kOp1d, kOp1dBackward>(
      m, "conv1d's gradient to its input, plus bias: (n, c, l) with (c, k / groups, s) gives (n, k, q)",
      "(dx, dw, db) from dy, the gradient of conv_transpose1d's result; None for those not needed");
  define<kOp2d, kOp2dBackward>(
      m,
      "conv2d's gradient to its input, plus bias: (n, c, h, w) with (c, k / groups, r, s) gives (n, k, p, q)",
      "(dx, dw, db) from dy, the gradient of conv_transpose2d's result; None for those not needed");
}

}  // namespace ranvier::bind
