#include <string>

#include "bindings/conv_args.h"
#include "kernels/conv2d/pooled.h"

namespace ranvier::bind {
namespace {

constexpr ConvOp kConv2dPool{"conv2d_pool", 2};

std::string size_text(int64_t h, int64_t w) { return std::to_string(h) + " x " + std::to_string(w); }

// The windows that fit into the convolution's result.
void check_window(const ConvOp& op, const int64_t (&window)[2], const ConvShapes& s) {
  const std::string got = "got a window of " + size_text(window[0], window[1]);
  if (window[0] > 256 || window[1] > 256 || window[0] * window[1] > 256)
    fail_value(op.name, got + "; expected at most 256 elements");
  if (window[0] > s.p || window[1] > s.q)
    fail_value(op.name, got + " and a convolution's result of " + size_text(s.p, s.q) +
                            "; expected a result of at least one window");
}

py::tuple conv_pool(py::handle x_, py::handle w_, py::handle bias_, py::handle stride, py::handle padding,
                    py::handle dilation, py::handle window_, py::handle activation) {
  constexpr const ConvOp& op = kConv2dPool;
  const Input x = Input::exactly(op.name, "x", x_, DType::float32);
  const Input w = Input::exactly(op.name, "weight", w_, DType::float32);
  const Input bias = Input::optional(op.name, "bias", bias_, DType::float32);
  const ConvArguments a = conv_arguments(op, w, stride, padding, dilation, py::int_(1), true);
  const ConvShapes s = conv_shapes(op, x, w, a);
  require_conv_bias(op, bias, s.k);
  int64_t window[2];
  read_conv_sizes(op, "window", window_, 1, window);
  check_window(op, window, s);
  const Conv2dActivation act = conv_activation(op, activation);
  const int64_t rows = s.p / window[0], columns = s.q / window[1];
  Output y = Output::channels_last(DType::float32, s.n, s.k, rows, columns);
  Output where = Output::channels_last(DType::uint8, s.n, s.k, rows, columns);
  invoke_released(Conv2dPoolForward<float>{x.view<float>(),
                                           w.view<float>(),
                                           bias.view<float>(),
                                           y.view<float>(),
                                           where.view<uint8_t>(),
                                           a.geometry(),
                                           act,
                                           winograd_allowed(),
                                           {window[0], window[1]},
                                           {s.p, s.q}});
  return py::make_tuple(y.release(), where.release());
}

}  // namespace

void register_conv2d_pool(py::module_& m) {
  const py::int_ zero(0), one(1), two(2);
  m.def("conv2d_pool", conv_pool, py::arg("x"), py::arg("w"), py::arg("bias") = py::none(),
        py::arg("stride") = one, py::arg("padding") = zero, py::arg("dilation") = one,
        py::arg("window") = two, py::arg("activation") = "none",
        "(y, where): conv2d and the maximum over windows that do not overlap, with the maxima's offsets");
}

}  // namespace ranvier::bind
