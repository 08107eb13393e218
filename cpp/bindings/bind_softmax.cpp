#include <algorithm>
#include <string>

#include "bindings/array_args.h"
#include "kernels/softmax/softmax.h"

namespace ranvier::bind {
namespace {

int checked_axis(const char* op, const char* name, const Input& x, py::handle value) {
  const int nd = x.ndim();
  const int64_t axis = whole_number(op, "axis", value);
  if (axis < -nd || axis >= nd)
    fail_value(op, "got axis " + std::to_string(axis) + " for " + name + " of shape " +
                       shape_text(nd, x.shape()) +
                       (nd ? "; expected " + std::to_string(-nd) + " to " + std::to_string(nd - 1)
                           : "; expected at least one dimension"));
  return static_cast<int>(axis < 0 ? axis + nd : axis);
}

template <bool is_log>
py::object forward(py::handle x_, py::handle axis_, py::handle out) {
  const char* op = is_log ? "log_softmax" : "softmax";
  const Input x = Input::floating(op, "x", x_);
  const int axis = checked_axis(op, "x", x, axis_);
  Output y = given(out) ? Output::given(op, out, x.dtype(), x.ndim(), x.shape()) : Output::like(x, x.dtype());
  if (given(out)) y.apart_from(op, x, true);
  with_float(x.dtype(), [&](auto tag) {
    using T = decltype(tag);
    invoke_released(SoftmaxForward<T>{is_log, axis, x.view<T>(), y.view<T>()});
  });
  return y.release();
}

template <bool is_log>
py::object backward(py::handle dy_, py::handle y_, py::handle axis_, py::handle out) {
  const char* op = is_log ? "log_softmax" : "softmax";
  const Input dy = Input::floating(op, "dy", dy_), y = Input::floating(op, "y", y_);
  require_same_dtype(op, "dy", dy, "y", y);
  if (dy.ndim() != y.ndim() || !std::equal(dy.shape(), dy.shape() + dy.ndim(), y.shape()))
    fail_value(op, "got dy of shape " + shape_text(dy.ndim(), dy.shape()) + " and y of shape " +
                       shape_text(y.ndim(), y.shape()) + "; expected equal shapes");
  const int axis = checked_axis(op, "y", y, axis_);
  Output dx =
      given(out) ? Output::given(op, out, y.dtype(), y.ndim(), y.shape()) : Output::like(y, y.dtype());
  if (given(out)) dx.apart_from(op, dy, true).apart_from(op, y, true);
  with_float(y.dtype(), [&](auto tag) {
    using T = decltype(tag);
    invoke_released(SoftmaxBackward<T>{is_log, axis, dy.view<T>(), y.view<T>(), dx.view<T>()});
  });
  return dx.release();
}

}  // namespace

void register_softmax(py::module_& m) {
  const auto x = py::arg("x"), dy = py::arg("dy"), y = py::arg("y");
  const auto axis = py::arg("axis") = -1;
  const auto out = py::arg("out") = py::none();
  m.def("softmax", forward<false>, x, axis, out);
  m.def("softmax_backward", backward<false>, dy, y, axis, out);
  m.def("log_softmax", forward<true>, x, axis, out);
  m.def("log_softmax_backward", backward<true>, dy, y, axis, out);
}

}  // namespace ranvier::bind
