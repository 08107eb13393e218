#include <atomic>
#include <cstdlib>

#include "bindings/conv_args.h"

namespace ranvier::bind {
namespace {

constexpr ConvOp kConv1d{"conv1d", 1}, kConv1dBackward{"conv1d_backward", 1};
constexpr ConvOp kConv2d{"conv2d", 2}, kConv2dBackward{"conv2d_backward", 2};

std::atomic<bool> g_winograd{true};

// RANVIER_WINOGRAD=0 in the environment: as after set_winograd(False).
void init_winograd() {
  const char* wanted = std::getenv("RANVIER_WINOGRAD");
  if (!wanted || !*wanted) return;
  if ((*wanted != '0' && *wanted != '1') || wanted[1])
    fail_value("import", std::string("got RANVIER_WINOGRAD=") + wanted + "; expected 0 or 1");
  g_winograd.store(*wanted == '1');
}

template <const ConvOp& op>
py::object conv(py::handle x_, py::handle w_, py::handle bias_, py::handle stride, py::handle padding,
                py::handle dilation, py::handle groups, py::handle activation, py::handle out) {
  const Input x = Input::floating(op.name, "x", x_), w = Input::floating(op.name, "weight", w_);
  require_same_dtype(op.name, "x", x, "weight", w);
  const Input bias = Input::optional(op.name, "bias", bias_, x.dtype());
  const ConvArguments a = conv_arguments(op, w, stride, padding, dilation, groups, true);
  const ConvShapes s = conv_shapes(op, x, w, a);
  require_conv_bias(op, bias, s.k);
  const Conv2dActivation act = conv_activation(op, activation);
  ConvResult y(op, out, x.dtype(), {op, s.n, s.k, s.p, s.q}, {&x, &w, &bias});
  with_float(x.dtype(), [&](auto tag) {
    using T = decltype(tag);
    invoke_released(Conv2dForward<T>{as_image(x.view<T>(), op.axes), as_image(w.view<T>(), op.axes),
                                     bias.view<T>(), y.view<T>(), a.geometry(), act, winograd_allowed()});
  });
  return y.release();
}

template <const ConvOp& op>
py::tuple conv_backward(py::handle dy_, py::handle x_, py::handle w_, py::handle stride, py::handle padding,
                        py::handle dilation, py::handle groups, py::handle need_dx_, py::handle need_dw_,
                        py::handle need_db_) {
  const bool need_dx = truth(op.name, "need_dx", need_dx_), need_dw = truth(op.name, "need_dw", need_dw_),
             need_db = truth(op.name, "need_db", need_db_);
  const Input x = Input::floating(op.name, "x", x_), w = Input::floating(op.name, "weight", w_);
  const Input dy = Input::floating(op.name, "dy", dy_);
  require_same_dtype(op.name, "x", x, "weight", w);
  require_same_dtype(op.name, "x", x, "dy", dy);
  const ConvArguments a = conv_arguments(op, w, stride, padding, dilation, groups, true);
  const ConvShapes s = conv_shapes(op, x, w, a);
  require_conv_gradient(op, dy, {op, s.n, s.k, s.p, s.q});
  py::object dx = py::none(), dw = py::none(), db = py::none();
  with_float(x.dtype(), [&](auto tag) {
    using T = decltype(tag);
    const auto gradient = as_image(dy.view<T>(), op.axes);
    if (need_dx) {
      Output out = conv_output(op, x.dtype(), {op, s.n, s.c, s.h, s.w});
      invoke_released(Conv2dBackwardInput<T>{gradient, as_image(w.view<T>(), op.axes),
                                             as_image(out.view<T>(), op.axes), a.geometry(),
                                             winograd_allowed()});
      dx = out.release();
    }
    if (!need_dw && !need_db) return;
    const ConvShape like_w(op, need_dw ? s.k : 0, s.c / a.groups, s.r, s.s);
    Output weight = Output::contiguous(x.dtype(), like_w.ndim, like_w.shape);
    Output bias = Output::contiguous(x.dtype(), {need_db ? s.k : 0});
    Conv2dBackwardWeight<T> call{gradient, as_image(x.view<T>(), op.axes), {}, {}, a.geometry(), {s.r, s.s}};
    if (need_dw) call.dw = as_image(weight.view<T>(), op.axes);
    if (need_db) call.db = bias.view<T>();
    invoke_released(call);
    if (need_dw) dw = weight.release();
    if (need_db) db = bias.release();
  });
  return py::make_tuple(dx, dw, db);
}

template <const ConvOp& op, const ConvOp& backward>
void define(py::module_& m, const char* doc, const char* backward_doc) {
  const py::int_ zero(0), one(1);
  m.def(op.name, conv<op>, py::arg("x"), py::arg("w"), py::arg("bias") = py::none(), py::arg("stride") = one,
        py::arg("padding") = zero, py::arg("dilation") = one, py::arg("groups") = one,
        py::arg("activation") = "none", py::arg("out") = py::none(), doc);
  m.def(backward.name, conv_backward<backward>, py::arg("dy"), py::arg("x"), py::arg("w"),
        py::arg("stride") = one, py::arg("padding") = zero, py::arg("dilation") = one,
        py::arg("groups") = one, py::arg("need_dx") = true, py::arg("need_dw") = true,
        py::arg("need_db") = true, backward_doc);
}

}  // namespace

bool winograd_allowed() { return g_winograd.load(std::memory_order_relaxed); }

void register_conv2d(py::module_& m) {
  init_winograd();
  m.def("get_winograd", winograd_allowed);
  m.def(
      "set_winograd", [](py::handle enabled) { g_winograd.store(truth("set_winograd", "enabled", enabled)); },
      py::arg("enabled"));
  define<kConv1d, kConv1dBackward>(
      m, "y = activation(x * w + bias): (n, c, l) with (k, c / groups, s) gives (n, k, q)",
      "(dx, dw, db) from dy, the gradient of conv1d's result; None for those not needed");
  define<kConv2d, kConv2dBackward>(
      m, "y = activation(x * w + bias): (n, c, h, w) with (k, c / groups, r, s) gives (n, k, p, q)",
      "(dx, dw, db) from dy, the gradient of conv2d's result; None for those not needed");
}

}  // namespace ranvier::bind
