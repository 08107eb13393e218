#include "bindings/conv_args.h"
#include "kernels/conv2d_pool/conv2d_pool.h"

namespace ranvier::bind {
namespace {

constexpr ConvOp kConv1d{"conv1d_pool_backward", 1}, kConv2d{"conv2d_pool_backward", 2};

void require_shape(const ConvOp& op, const char* name, const Input& array, const ConvShape& expected) {
  if (array.ndim() != expected.ndim ||
      !std::equal(array.shape(), array.shape() + array.ndim(), expected.shape))
    fail_value(op.name, std::string("got ") + name + " of shape " + shape_text(array.ndim(), array.shape()) +
                            "; expected " + shape_text(expected.ndim, expected.shape));
}

template <const ConvOp& op>
py::tuple conv_pool_backward(py::handle dy_, py::handle where_, py::handle x_, py::handle w_,
                             py::handle stride, py::handle padding, py::handle dilation, py::handle window_,
                             py::handle need_dx_, py::handle need_dw_, py::handle need_db_,
                             py::handle saved_) {
  const bool need_dx = truth(op.name, "need_dx", need_dx_), need_dw = truth(op.name, "need_dw", need_dw_),
             need_db = truth(op.name, "need_db", need_db_);
  const Input dy = Input::exactly(op.name, "dy", dy_, DType::float32);
  const Input where = Input::exactly(op.name, "where", where_, DType::uint8);
  const Input x = Input::exactly(op.name, "x", x_, DType::float32);
  const Input w = Input::exactly(op.name, "weight", w_, DType::float32);
  const Input saved = Input::optional(op.name, "saved", saved_, DType::float32);
  const ConvArguments a = conv_arguments(op, w, stride, padding, dilation, py::int_(1), true);
  const ConvShapes s = conv_shapes(op, x, w, a);
  const PoolWindow window = pool_window(op, window_, s);
  const ConvShape pooled(op, s.n, s.k, window.rows, window.columns), image(op, s.n, s.c, s.h, s.w);
  require_shape(op, "dy", dy, pooled);
  require_shape(op, "where", where, pooled);
  if (saved) require_shape(op, "saved", saved, image);
  const auto gradient = as_image(dy.view<float>(), op.axes);
  const auto offsets = as_image(where.view<uint8_t>(), op.axes);
  py::object dx = py::none(), dw = py::none(), db = py::none();
  if (need_dx) {
    Output out = conv_output(op, DType::float32, image);
    invoke_released(Conv2dPoolBackwardInput<float>{
        gradient,
        offsets,
        as_image(w.view<float>(), op.axes),
        saved ? as_image(saved.view<float>(), op.axes) : TensorView<const float>{},
        as_image(out.view<float>(), op.axes),
        a.geometry(),
        {window.size[0], window.size[1]}});
    dx = out.release();
  }
  if (need_dw || need_db) {
    const ConvShape like_w(op, need_dw ? s.k : 0, s.c, s.r, s.s);
    Output weight = Output::contiguous(DType::float32, like_w.ndim, like_w.shape);
    Output bias = Output::contiguous(DType::float32, {need_db ? s.k : 0});
    Conv2dPoolBackwardWeight<float> call{gradient,     offsets,    as_image(x.view<float>(), op.axes), {}, {},
                                         a.geometry(), {s.r, s.s}, {window.size[0], window.size[1]}};
    if (need_dw) call.dw = as_image(weight.view<float>(), op.axes);
    if (need_db) call.db = bias.view<float>();
    invoke_released(call);
    if (need_dw) dw = weight.release();
    if (need_db) db = bias.release();
  }
  return py::make_tuple(dx, dw, db);
}

template <const ConvOp& op>
void define(py::module_& m, const char* doc) {
  const py::int_ zero(0), one(1), two(2);
  using py::arg;
  m.def(op.name, conv_pool_backward<op>, arg("dy"), arg("where"), arg("x"), arg("w"), arg("stride") = one,
        arg("padding") = zero, arg("dilation") = one, arg("window") = two, arg("need_dx") = true,
        arg("need_dw") = true, arg("need_db") = true, arg("saved") = py::none(), doc);
}

}  // namespace

void register_conv2d_pool_backward(py::module_& m) {
  define<kConv1d>(m, "conv2d_pool_backward of signals (n, c, l)");
  define<kConv2d>(
      m,
      "(dx, dw, db) of conv2d_pool from dy, the gradient of its result, masked where that was cut off by its "
      "ReLU; None for those not needed. saved: x as the result of a ReLU, whose gradient dx then is");
}

}  // namespace ranvier::bind
