#include "bindings/conv_args.h"
#include "kernels/conv2d/pooled.h"

namespace ranvier::bind {
namespace {

constexpr ConvOp kOp{"conv2d_pool_backward", 2};

void require_shape(const char* name, const Input& array, const ConvShape& expected) {
  if (array.ndim() != 4 || !std::equal(array.shape(), array.shape() + 4, expected.shape))
    fail_value(kOp.name, std::string("got ") + name + " of shape " + shape_text(array.ndim(), array.shape()) +
                             "; expected " + shape_text(4, expected.shape));
}

py::tuple conv_pool_backward(py::handle dy_, py::handle where_, py::handle x_, py::handle w_,
                             py::handle stride, py::handle padding, py::handle dilation, py::handle window_,
                             py::handle need_dx_, py::handle need_dw_, py::handle need_db_,
                             py::handle saved_) {
  const bool need_dx = truth(kOp.name, "need_dx", need_dx_), need_dw = truth(kOp.name, "need_dw", need_dw_),
             need_db = truth(kOp.name, "need_db", need_db_);
  const Input dy = Input::exactly(kOp.name, "dy", dy_, DType::float32);
  const Input where = Input::exactly(kOp.name, "where", where_, DType::uint8);
  const Input x = Input::exactly(kOp.name, "x", x_, DType::float32);
  const Input w = Input::exactly(kOp.name, "weight", w_, DType::float32);
  const Input saved = Input::optional(kOp.name, "saved", saved_, DType::float32);
  const ConvArguments a = conv_arguments(kOp, w, stride, padding, dilation, py::int_(1), true);
  const ConvShapes s = conv_shapes(kOp, x, w, a);
  const PoolWindow window = pool_window(kOp, window_, s);
  const ConvShape pooled(kOp, s.n, s.k, window.rows, window.columns), image(kOp, s.n, s.c, s.h, s.w);
  require_shape("dy", dy, pooled);
  require_shape("where", where, pooled);
  if (saved) require_shape("saved", saved, image);
  py::object dx = py::none(), dw = py::none(), db = py::none();
  if (need_dx) {
    Output out = conv_output(kOp, DType::float32, image);
    invoke_released(Conv2dPoolBackwardInput<float>{dy.view<float>(),
                                                   where.view<uint8_t>(),
                                                   w.view<float>(),
                                                   saved.view<float>(),
                                                   out.view<float>(),
                                                   a.geometry(),
                                                   {window.size[0], window.size[1]}});
    dx = out.release();
  }
  if (need_dw || need_db) {
    Output weight = Output::contiguous(DType::float32, {need_dw ? s.k : 0, s.c, s.r, s.s});
    Output bias = Output::contiguous(DType::float32, {need_db ? s.k : 0});
    Conv2dPoolBackwardWeight<float> call{
        dy.view<float>(), where.view<uint8_t>(),           x.view<float>(), {}, {}, a.geometry(),
        {s.r, s.s},       {window.size[0], window.size[1]}};
    if (need_dw) call.dw = weight.view<float>();
    if (need_db) call.db = bias.view<float>();
    invoke_released(call);
    if (need_dw) dw = weight.release();
    if (need_db) db = bias.release();
  }
  return py::make_tuple(dx, dw, db);
}

}  // namespace

void register_conv2d_pool_backward(py::module_& m) {
  const py::int_ zero(0), one(1), two(2);
  using py::arg;
  m.def(
      kOp.name, conv_pool_backward, arg("dy"), arg("where"), arg("x"), arg("w"), arg("stride") = one,
      arg("padding") = zero, arg("dilation") = one, arg("window") = two, arg("need_dx") = true,
      arg("need_dw") = true, arg("need_db") = true, arg("saved") = py::none(),
      "(dx, dw, db) of conv2d_pool from dy, the gradient of its result, masked where that was cut off by its "
      "ReLU; None for those not needed. saved: x as the result of a ReLU, whose gradient dx then is");
}

}  // namespace ranvier::bind
