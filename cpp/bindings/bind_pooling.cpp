#include <string>

#include "bindings/pool_args.h"
#include "kernels/pooling/pooling.h"

namespace ranvier::bind {
namespace {

template <class F>
auto with_offset(const PoolAxes& axes, F&& f) {
  return pool_taps(axes.rows) * pool_taps(axes.columns) <= 256 ? f(uint8_t{}) : f(int64_t{});
}

// (y, where) or, with return_indices, (y, where, indices)
py::tuple run_max(const PoolOp& op, const Input& x, const PoolAxes& axes, bool return_indices) {
  const bool last = pools_over_channels(op, x);
  const Pair size{axes.rows.out, axes.columns.out};
  return with_offset(axes, [&](auto offset) -> py::tuple {
    using Offset = decltype(offset);
    Output y = pooled_output(op, x.dtype(), last, x, size);
    Output where = pooled_output(op, dtype_of_type<Offset>::value, last, x, size);
    const auto offsets = as_image(where.view<Offset>(), op.axes);
    with_float(x.dtype(), [&](auto tag) {
      using T = decltype(tag);
      invoke_released(MaxPool2dForward<T, Offset>{as_image(x.view<T>(), op.axes),
                                                  as_image(y.view<T>(), op.axes), offsets, axes.rows,
                                                  axes.columns, last});
    });
    if (!return_indices) return py::make_tuple(y.release(), where.release());
    Output indices = pooled_output(op, DType::int64, last, x, size);
    invoke_released(MaxPool2dIndices<Offset>{as_const(offsets), as_image(indices.view<int64_t>(), op.axes),
                                             axes.rows, axes.columns});
    return py::make_tuple(y.release(), where.release(), indices.release());
  });
}

py::object run_max_backward(const PoolOp& op, const Input& dy, py::handle where_, const Pair& size,
                            const PoolAxes& axes) {
  check_pooled(op, "dy", dy, axes);
  return with_offset(axes, [&](auto offset) {
    using Offset = decltype(offset);
    const Input where = Input::exactly(op.name, "where", where_, dtype_of_type<Offset>::value);
    check_pooled(op, "where", where, axes);
    if (where.shape(0) != dy.shape(0) || where.shape(1) != dy.shape(1))
      fail_value(op.name, "got where of shape " + shape_text(where.ndim(), where.shape()) +
                              "; expected dy's, " + shape_text(dy.ndim(), dy.shape()));
    const bool last = pools_over_channels(op, where);
    Output dx = pooled_output(op, dy.dtype(), last, dy, size);
    with_float(dy.dtype(), [&](auto tag) {
      using T = decltype(tag);
      invoke_released(MaxPool2dBackward<T, Offset>{
          as_image(dy.view<T>(), op.axes), as_image(where.view<Offset>(), op.axes),
          as_image(dx.view<T>(), op.axes), axes.rows, axes.columns, last});
    });
    return dx.release();
  });
}

template <int axes>
py::tuple max_pool(py::handle x_, py::handle kernel, py::handle stride, py::handle padding,
                   py::handle dilation, py::handle ceil_mode_, py::handle return_indices_) {
  constexpr PoolOp op{axes == 1 ? "max_pool1d" : "max_pool2d", axes};
  const bool ceil_mode = truth(op.name, "ceil_mode", ceil_mode_);
  const bool return_indices = truth(op.name, "return_indices", return_indices_);
  const Input x = pooled_input(op, "x", x_);
  const Windows windows = read_windows(op, kernel, stride, padding, dilation);
  return run_max(op, x, pool_axes(op, image_size(op, x), windows, ceil_mode), return_indices);
}

template <int axes>
py::object max_pool_backward(py::handle dy_, py::handle where, py::handle shape, py::handle kernel,
                             py::handle stride, py::handle padding, py::handle dilation,
                             py::handle ceil_mode_) {
  constexpr PoolOp op{axes == 1 ? "max_pool1d_backward" : "max_pool2d_backward", axes};
  const bool ceil_mode = truth(op.name, "ceil_mode", ceil_mode_);
  const Input dy = pooled_input(op, "dy", dy_);
  const Windows windows = read_windows(op, kernel, stride, padding, dilation);
  const Pair size = size_of_shape(op, shape, dy);
  return run_max_backward(op, dy, where, size, pool_axes(op, size, windows, ceil_mode));
}

template <int axes>
py::tuple adaptive_max_pool(py::handle x_, py::handle output_size, py::handle return_indices_) {
  constexpr PoolOp op{axes == 1 ? "adaptive_max_pool1d" : "adaptive_max_pool2d", axes};
  const bool return_indices = truth(op.name, "return_indices", return_indices_);
  const Input x = pooled_input(op, "x", x_);
  return run_max(op, x, adaptive_axes(op, x, output_size), return_indices);
}

template <int axes>
py::object adaptive_max_pool_backward(py::handle dy_, py::handle where, py::handle shape) {
  constexpr PoolOp op{axes == 1 ? "adaptive_max_pool1d_backward" : "adaptive_max_pool2d_backward", axes};
  const Input dy = pooled_input(op, "dy", dy_);
  const Pair size = size_of_shape(op, shape, dy);
  return run_max_backward(op, dy, where, size, adaptive_axes(op, size, image_size(op, dy)));
}

template <int axes>
void define(py::module_& m, const char* max, const char* max_backward, const char* adaptive,
            const char* adaptive_backward) {
  using py::arg;
  m.def(max, max_pool<axes>, arg("x"), arg("kernel_size"), arg("stride") = py::none(), arg("padding") = 0,
        arg("dilation") = 1, arg("ceil_mode") = false, arg("return_indices") = false);
  m.def(max_backward, max_pool_backward<axes>, arg("dy"), arg("where"), arg("shape"), arg("kernel_size"),
        arg("stride") = py::none(), arg("padding") = 0, arg("dilation") = 1, arg("ceil_mode") = false);
  m.def(adaptive, adaptive_max_pool<axes>, arg("x"), arg("output_size"), arg("return_indices") = false);
  m.def(adaptive_backward, adaptive_max_pool_backward<axes>, arg("dy"), arg("where"), arg("shape"));
}

}  // namespace

void register_pooling(py::module_& m) {
  define<1>(m, "max_pool1d", "max_pool1d_backward", "adaptive_max_pool1d", "adaptive_max_pool1d_backward");
  define<2>(m, "max_pool2d", "max_pool2d_backward", "adaptive_max_pool2d", "adaptive_max_pool2d_backward");
}

}  // namespace ranvier::bind
