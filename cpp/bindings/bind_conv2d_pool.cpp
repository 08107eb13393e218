#include "bindings/conv_args.h"
#include "kernels/conv2d_pool/conv2d_pool.h"

namespace ranvier::bind {
namespace {

constexpr ConvOp kConv2dPool{"conv2d_pool", 2};

py::tuple conv_pool(py::handle x_, py::handle w_, py::handle bias_, py::handle stride, py::handle padding,
                    py::handle dilation, py::handle window_, py::handle activation, py::handle need_where_) {
  constexpr const ConvOp& op = kConv2dPool;
  const bool need_where = truth(op.name, "need_where", need_where_);
  const Input x = Input::exactly(op.name, "x", x_, DType::float32);
  const Input w = Input::exactly(op.name, "weight", w_, DType::float32);
  const Input bias = Input::optional(op.name, "bias", bias_, DType::float32);
  const ConvArguments a = conv_arguments(op, w, stride, padding, dilation, py::int_(1), true);
  const ConvShapes s = conv_shapes(op, x, w, a);
  require_conv_bias(op, bias, s.k);
  const PoolWindow window = pool_window(op, window_, s);
  const Conv2dActivation act = conv_activation(op, activation);
  Output y = Output::channels_last(DType::float32, s.n, s.k, window.rows, window.columns);
  Output where = Output::channels_last(DType::uint8, s.n, s.k, window.rows, window.columns);
  invoke_released(Conv2dPoolForward<float>{x.view<float>(),
                                           w.view<float>(),
                                           bias.view<float>(),
                                           y.view<float>(),
                                           need_where ? where.view<uint8_t>() : TensorView<uint8_t>{},
                                           a.geometry(),
                                           act,
                                           winograd_allowed(),
                                           {window.size[0], window.size[1]},
                                           {s.p, s.q}});
  return py::make_tuple(y.release(), need_where ? where.release() : py::none());
}

}  // namespace

void register_conv2d_pool(py::module_& m) {
  const py::int_ zero(0), one(1), two(2);
  m.def("conv2d_pool", conv_pool, py::arg("x"), py::arg("w"), py::arg("bias") = py::none(),
        py::arg("stride") = one, py::arg("padding") = zero, py::arg("dilation") = one,
        py::arg("window") = two, py::arg("activation") = "none", py::arg("need_where") = true,
        "(y, where): conv2d and the maximum over windows that do not overlap, with the maxima's offsets");
}

}  // namespace ranvier::bind
