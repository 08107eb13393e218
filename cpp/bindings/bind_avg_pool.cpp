#include "bindings/pool_args.h"
#include "kernels/pooling/pooling.h"

namespace ranvier::bind {
namespace {

py::object run_average(const PoolOp& op, const Input& x, const PoolAxes& axes, bool include_pad,
                       int64_t divisor) {
  const bool last = pools_over_channels(op, x);
  Output y = pooled_output(op, x.dtype(), last, x, {axes.rows.out, axes.columns.out});
  with_float(x.dtype(), [&](auto tag) {
    using T = decltype(tag);
    invoke_released(AvgPool2dForward<T>{as_image(x.view<T>(), op.axes), as_image(y.view<T>(), op.axes),
                                        axes.rows, axes.columns, last, include_pad, divisor});
  });
  return y.release();
}

py::object run_average_backward(const PoolOp& op, const Input& dy, const PoolAxes& axes, bool channels_last,
                                bool include_pad, int64_t divisor) {
  Output dx = pooled_output(op, dy.dtype(), channels_last, dy, {axes.rows.in, axes.columns.in});
  with_float(dy.dtype(), [&](auto tag) {
    using T = decltype(tag);
    invoke_released(AvgPool2dBackward<T>{as_image(dy.view<T>(), op.axes), as_image(dx.view<T>(), op.axes),
                                         axes.rows, axes.columns, channels_last, include_pad, divisor});
  });
  return dx.release();
}

int64_t divisor_of(const PoolOp& op, py::handle value) {
  if (value.is_none()) return 0;
  const int64_t divisor = whole_number(op.name, "divisor_override", value);
  if (divisor < 1)
    fail_value(op.name, "got divisor_override " + std::to_string(divisor) + "; expected at least 1, or None");
  return divisor;
}

// What avg_pool1d and avg_pool2d have in common; the first has no divisor_override.
py::object average(const PoolOp& op, py::handle x_, py::handle kernel, py::handle stride, py::handle padding,
                   py::handle ceil_mode_, py::handle include_pad_, py::handle divisor_) {
  const bool ceil_mode = truth(op.name, "ceil_mode", ceil_mode_);
  const bool include_pad = truth(op.name, "count_include_pad", include_pad_);
  const Input x = pooled_input(op, "x", x_);
  const Windows windows = read_windows(op, kernel, stride, padding, py::none());
  const int64_t divisor = divisor_of(op, divisor_);
  return run_average(op, x, pool_axes(op, image_size(op, x), windows, ceil_mode), include_pad, divisor);
}

py::object average_backward(const PoolOp& op, py::handle dy_, py::handle shape, py::handle kernel,
                            py::handle stride, py::handle padding, py::handle ceil_mode_,
                            py::handle include_pad_, py::handle divisor_, py::handle channels_last_) {
  const bool ceil_mode = truth(op.name, "ceil_mode", ceil_mode_);
  const bool include_pad = truth(op.name, "count_include_pad", include_pad_);
  const bool channels_last = truth(op.name, "channels_last", channels_last_);
  const Input dy = pooled_input(op, "dy", dy_);
  const Windows windows = read_windows(op, kernel, stride, padding, py::none());
  const int64_t divisor = divisor_of(op, divisor_);
  const PoolAxes axes = pool_axes(op, size_of_shape(op, shape, dy), windows, ceil_mode);
  check_pooled(op, "dy", dy, axes);
  return run_average_backward(op, dy, axes, channels_last, include_pad, divisor);
}

py::object avg_pool1d(py::handle x, py::handle kernel, py::handle stride, py::handle padding,
                      py::handle ceil_mode, py::handle include_pad) {
  return average({"avg_pool1d", 1}, x, kernel, stride, padding, ceil_mode, include_pad, py::none());
}

py::object avg_pool1d_backward(py::handle dy, py::handle shape, py::handle kernel, py::handle stride,
                               py::handle padding, py::handle ceil_mode, py::handle include_pad,
                               py::handle channels_last) {
  return average_backward({"avg_pool1d_backward", 1}, dy, shape, kernel, stride, padding, ceil_mode,
                          include_pad, py::none(), channels_last);
}

py::object avg_pool2d(py::handle x, py::handle kernel, py::handle stride, py::handle padding,
                      py::handle ceil_mode, py::handle include_pad, py::handle divisor) {
  return average({"avg_pool2d", 2}, x, kernel, stride, padding, ceil_mode, include_pad, divisor);
}

py::object avg_pool2d_backward(py::handle dy, py::handle shape, py::handle kernel, py::handle stride,
                               py::handle padding, py::handle ceil_mode, py::handle include_pad,
                               py::handle divisor, py::handle channels_last) {
  return average_backward({"avg_pool2d_backward", 2}, dy, shape, kernel, stride, padding, ceil_mode,
                          include_pad, divisor, channels_last);
}

template <int axes>
py::object adaptive_avg_pool(py::handle x_, py::handle output_size) {
  constexpr PoolOp op{axes == 1 ? "adaptive_avg_pool1d" : "adaptive_avg_pool2d", axes};
  const Input x = pooled_input(op, "x", x_);
  return run_average(op, x, adaptive_axes(op, x, output_size), false, 0);
}

template <int axes>
py::object adaptive_avg_pool_backward(py::handle dy_, py::handle shape, py::handle channels_last_) {
  constexpr PoolOp op{axes == 1 ? "adaptive_avg_pool1d_backward" : "adaptive_avg_pool2d_backward", axes};
  const bool channels_last = truth(op.name, "channels_last", channels_last_);
  const Input dy = pooled_input(op, "dy", dy_);
  const PoolAxes found = adaptive_axes(op, size_of_shape(op, shape, dy), image_size(op, dy));
  return run_average_backward(op, dy, found, channels_last, false, 0);
}

// Whether pooling x gives channels-last images: what a gradient's layout is taken from.
bool over_channels_of(py::handle x_) {
  const PoolOp op{"pooling", Input::floating("pooling", "x", x_).ndim() == 3 ? 1 : 2};
  return pools_over_channels(op, pooled_input(op, "x", x_));
}

}  // namespace

void register_avg_pool(py::module_& m) {
  using py::arg;
  m.def("avg_pool1d", avg_pool1d, arg("x"), arg("kernel_size"), arg("stride") = py::none(),
        arg("padding") = 0, arg("ceil_mode") = false, arg("count_include_pad") = true);
  m.def("avg_pool1d_backward", avg_pool1d_backward, arg("dy"), arg("shape"), arg("kernel_size"),
        arg("stride") = py::none(), arg("padding") = 0, arg("ceil_mode") = false,
        arg("count_include_pad") = true, arg("channels_last") = false);
  m.def("avg_pool2d", avg_pool2d, arg("x"), arg("kernel_size"), arg("stride") = py::none(),
        arg("padding") = 0, arg("ceil_mode") = false, arg("count_include_pad") = true,
        arg("divisor_override") = py::none());
  m.def("avg_pool2d_backward", avg_pool2d_backward, arg("dy"), arg("shape"), arg("kernel_size"),
        arg("stride") = py::none(), arg("padding") = 0, arg("ceil_mode") = false,
        arg("count_include_pad") = true, arg("divisor_override") = py::none(), arg("channels_last") = false);
  m.def("adaptive_avg_pool1d", adaptive_avg_pool<1>, arg("x"), arg("output_size"));
  m.def("adaptive_avg_pool1d_backward", adaptive_avg_pool_backward<1>, arg("dy"), arg("shape"),
        arg("channels_last") = false);
  m.def("adaptive_avg_pool2d", adaptive_avg_pool<2>, arg("x"), arg("output_size"));
  m.def("adaptive_avg_pool2d_backward", adaptive_avg_pool_backward<2>, arg("dy"), arg("shape"),
        arg("channels_last") = false);
  m.def("pools_over_channels", over_channels_of);
}

}  // namespace ranvier::bind
