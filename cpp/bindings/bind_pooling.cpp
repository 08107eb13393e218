#include "bindings/pool_args.h"
#include "kernels/pooling/pooling.h"

namespace ranvier::bind {
namespace {

struct Results : py::object {
  RANVIER_ANNOTATION("tuple[Array, ...]");
  Results(py::object arrays) : py::object(std::move(arrays)) {}
};

// f(Offset{}) for the type that counts the elements of a window.
template <class F>
auto with_offset(const PoolAxes& axes, F&& f) {
  return pool_taps(axes.rows) * pool_taps(axes.columns) <= 256 ? f(uint8_t{}) : f(int64_t{});
}

// (y, where) or, with return_indices, (y, where, indices); where: the maximum's place in its window
Results run_max(const PoolOp& op, const Input& x, const PoolAxes& axes, bool return_indices) {
  const bool last = pools_over_channels(op, x);
  const HeightWidth size{axes.rows.out, axes.columns.out};
  return with_offset(axes, [&](auto offset) -> Results {
    using Offset = decltype(offset);
    Output y = pooled_output(op, x.dtype(), last, x, size);
    Output where = pooled_output(op, dtype_of<Offset>(), last, x, size);
    const auto offsets = as_image(where.view<Offset>(), op.axes);
    with_float(x.dtype(), [&](auto tag) {
      invoke_released(MaxPool2dForward<decltype(tag), Offset>{image(x, op.axes), image(y, op.axes), offsets,
                                                              axes.rows, axes.columns, last});
    });
    if (!return_indices) return tuple_of({y.release(), where.release()});
    Output indices = pooled_output(op, DType::int64, last, x, size);
    invoke_released(
        MaxPool2dIndices<Offset>{as_const(offsets), image(indices, op.axes), axes.rows, axes.columns});
    return tuple_of({y.release(), where.release(), indices.release()});
  });
}

Output run_max_backward(const PoolOp& op, const Input& dy, const Raw& where_, const HeightWidth& size,
                        const PoolAxes& axes) {
  expect_pooled(op, dy, axes);
  return with_offset(axes, [&](auto offset) {
    using Offset = decltype(offset);
    const Input where = Input::exactly(where_, dtype_of<Offset>());
    expect_pooled(op, where, axes);
    if (!where.has_shape(dy.shape())) where.fail("dy's, ", dy.shape());
    const bool last = pools_over_channels(op, where);
    Output dx = pooled_output(op, dy.dtype(), last, dy, size);
    with_float(dy.dtype(), [&](auto tag) {
      invoke_released(MaxPool2dBackward<decltype(tag), Offset>{
          image(dy, op.axes), image(where, op.axes), image(dx, op.axes), axes.rows, axes.columns, last});
    });
    return dx;
  });
}

template <int axes>
Results max_pool(const Pooled<axes>& x, PerAxis kernel, MaybePerAxis stride, PerAxis padding,
                 PerAxis dilation, Truth ceil_mode, Truth return_indices) {
  const PoolOp op{x.op(), axes};
  const Windows windows = read_windows(op, kernel, stride, padding, &dilation);
  return run_max(op, x, pool_axes(op, image_size(op, x), windows, ceil_mode), return_indices);
}

template <int axes>
Output max_pool_backward(const Pooled<axes>& dy, Raw where, ShapeOfX shape, PerAxis kernel,
                         MaybePerAxis stride, PerAxis padding, PerAxis dilation, Truth ceil_mode) {
  const PoolOp op{dy.op(), axes};
  const Windows windows = read_windows(op, kernel, stride, padding, &dilation);
  const HeightWidth size = size_of_shape(op, shape, dy);
  return run_max_backward(op, dy, where, size, pool_axes(op, size, windows, ceil_mode));
}

template <int axes>
Results adaptive_max_pool(const Pooled<axes>& x, OutputSize output_size, Truth return_indices) {
  const PoolOp op{x.op(), axes};
  return run_max(op, x, adaptive_axes(op, x, output_size), return_indices);
}

template <int axes>
Output adaptive_max_pool_backward(const Pooled<axes>& dy, Raw where, ShapeOfX shape) {
  const PoolOp op{dy.op(), axes};
  const HeightWidth size = size_of_shape(op, shape, dy);
  return run_max_backward(op, dy, where, size, adaptive_axes(op, size, image_size(op, dy)));
}

template <int axes>
void define(Module m) {
  const std::string max = "max_pool" + std::to_string(axes) + "d", adaptive = "adaptive_" + max;
  const std::string windows = "kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False";
  def(m, max + "(x, " + windows + ", return_indices=False)", max_pool<axes>);
  def(m, max + "_backward(dy, where, shape, " + windows + ")", max_pool_backward<axes>);
  def(m, adaptive + "(x, output_size, return_indices=False)", adaptive_max_pool<axes>);
  def(m, adaptive + "_backward(dy, where, shape)", adaptive_max_pool_backward<axes>);
}

}  // namespace

void register_pooling(Module m) {
  define<1>(m);
  define<2>(m);
}

}  // namespace ranvier::bind
