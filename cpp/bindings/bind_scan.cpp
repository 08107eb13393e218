#include <algorithm>

#include "bindings/array_args.h"
#include "kernels/scan/scan.h"

namespace ranvier::bind {
namespace {

// cumsum(x, axis, reverse, out), cumprod the same
py::object scan(const char* op, ScanOp kind, py::handle x_, py::handle axis_, py::handle reverse,
                py::handle out) {
  const Input x = Input::floating(op, "x", x_);
  const int axis = axis_number(op, axis_, x.ndim());
  const bool backwards = truth(op, "reverse", reverse);
  Output y = given(out) ? Output::given(op, out, x.dtype(), x.ndim(), x.shape()) : Output::like(x, x.dtype());
  if (given(out)) y.apart_from(op, x);
  with_float(x.dtype(), [&](auto tag) {
    using T = decltype(tag);
    invoke_released(Scan<T>{kind, backwards, axis, x.view<T>(), y.view<T>()});
  });
  return y.release();
}

// cumprod_backward(dy, x, axis): dy of x's shape, or of length 1 along the axis (the gradient of the last).
py::object cumprod_backward(py::handle dy_, py::handle x_, py::handle axis_) {
  constexpr const char* op = "cumprod_backward";
  const Input dy = Input::floating(op, "dy", dy_), x = Input::floating(op, "x", x_);
  require_same_dtype(op, "dy", dy, "x", x);
  const int axis = axis_number(op, axis_, x.ndim());
  bool fits = dy.ndim() == x.ndim();
  for (int d = 0; d < x.ndim() && fits; ++d)
    fits = dy.shape(d) == x.shape(d) || (d == axis && dy.shape(d) == 1);
  if (!fits)
    fail_value(op, "got dy of shape " + shape_text(dy.ndim(), dy.shape()) + " and x of shape " +
                       shape_text(x.ndim(), x.shape()) + "; expected equal shapes, or length 1 along axis " +
                       std::to_string(axis));
  Output dx = Output::like(x, x.dtype());
  with_float(x.dtype(), [&](auto tag) {
    using T = decltype(tag);
    invoke_released(ProductBackward<T>{axis, dy.view<T>(), x.view<T>(), dx.view<T>()});
  });
  return dx.release();
}

}  // namespace

void register_scan(py::module_& m) {
  const auto plain = [&](const char* name, ScanOp op) {
    m.def(
        name,
        [=](py::handle x, py::handle axis, py::handle reverse, py::handle out) {
          return scan(name, op, x, axis, reverse, out);
        },
        py::arg("x"), py::arg("axis"), py::arg("reverse") = false, py::arg("out") = py::none());
  };
  plain("cumsum", ScanOp::sum);
  plain("cumprod", ScanOp::product);
  m.def("cumprod_backward", cumprod_backward, py::arg("dy"), py::arg("x"), py::arg("axis"));
}

}  // namespace ranvier::bind
