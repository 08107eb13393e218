// Binds max-pools and average pools of signals and images, also adaptive ones, with their gradients. template
// <int axes>: 1 for signals, 2 for images.
#include "bindings/binder/copied.h"
#include "bindings/ops/pool_args.h"
#include "kernels/pooling/pooling.h"

namespace ranvier::bind {
namespace {

struct PoolResults : py::object {
  RANVIER_ANNOTATION("tuple[Array, ...]");
  PoolResults(py::object arrays) : py::object(std::move(arrays)) {}
};

// f(Offset{}) with an integer type that holds the index of an element within a window: uint8_t for windows of
// up to 256 elements.
template <class F>
auto with_offset(const PoolAxes& axes, F&& f) {
  return pool_taps(axes.rows) * pool_taps(axes.columns) <= 256 ? f(uint8_t{}) : f(int64_t{});
}

// Returns (y, where) or, with return_indices, (y, where, indices). where: the index of each maximum within
// its window, for backward; indices: its index in the image, as PyTorch returns it.
PoolResults run_max(const PoolOp& op, const Input& given_x, const PoolAxes& axes, bool return_indices) {
  const bool channels_last = pools_over_channels(op, given_x);
  const Input x = channels_last ? given_x : with_dense_rows(given_x);
  const HeightWidth size{axes.rows.out, axes.columns.out};
  return with_offset(axes, [&](auto offset) -> PoolResults {
    using Offset = decltype(offset);
    Output y = pooled_output(op, x.dtype(), channels_last, x, size);
    Output where = pooled_output(op, dtype_of<Offset>(), channels_last, x, size);
    const auto offsets = as_image(where.view<Offset>(), op.axes);
    with_float(x.dtype(), [&](auto tag) {
      invoke_images(x.dtype(),
                    MaxPool2dForward<decltype(tag), Offset>{image(x, op.axes), image(y, op.axes), offsets,
                                                            axes.rows, axes.columns, channels_last});
    });
    if (!return_indices) return tuple_of({y.release(), where.release()});
    Output indices = pooled_output(op, DType::int64, channels_last, x, size);
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
    const bool channels_last = pools_over_channels(op, where);
    Output dx = pooled_output(op, dy.dtype(), channels_last, dy, size);
    with_float(dy.dtype(), [&](auto tag) {
      invoke_images(dy.dtype(), MaxPool2dBackward<decltype(tag), Offset>{
                                    image(dy, op.axes), image(where, op.axes), image(dx, op.axes), axes.rows,
                                    axes.columns, channels_last});
    });
    return dx;
  });
}

template <int axes>
PoolResults max_pool(const Pooled<axes>& x, PerAxis kernel, MaybePerAxis stride, PerAxis padding,
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
PoolResults adaptive_max_pool(const Pooled<axes>& x, OutputSize output_size, Truth return_indices) {
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
void define_pooling(Module m) {
  const std::string max = "max_pool" + std::to_string(axes) + "d";
  const std::string adaptive = "adaptive_" + max;
  const std::string windows = "kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False";
  def(m, max + "(x, " + windows + ", return_indices=False)", max_pool<axes>);
  def(m, max + "_backward(dy, where, shape, " + windows + ")", max_pool_backward<axes>);
  def(m, adaptive + "(x, output_size, return_indices=False)", adaptive_max_pool<axes>);
  def(m, adaptive + "_backward(dy, where, shape)", adaptive_max_pool_backward<axes>);
}

// The divisor of the average of a window.
struct Divisor {
  bool include_pad = false;
  int64_t count = 0;  // divisor_override; 0: the number of elements of the window
};

Output run_average(const PoolOp& op, const Input& given_x, const PoolAxes& axes, const Divisor& divisor) {
  const bool channels_last = pools_over_channels(op, given_x);
  const Input x = channels_last ? given_x : with_dense_rows(given_x);
  Output y = pooled_output(op, x.dtype(), channels_last, x, {axes.rows.out, axes.columns.out});
  run_images<AvgPool2dForward>(x.dtype(), image(x, op.axes), image(y, op.axes), axes.rows, axes.columns,
                               channels_last, divisor.include_pad, divisor.count);
  return y;
}

Output run_average_backward(const PoolOp& op, const Input& dy, const PoolAxes& axes, bool channels_last,
                            const Divisor& divisor) {
  Output dx = pooled_output(op, dy.dtype(), channels_last, dy, {axes.rows.in, axes.columns.in});
  run_images<AvgPool2dBackward>(dy.dtype(), image(dy, op.axes), image(dx, op.axes), axes.rows, axes.columns,
                                channels_last, divisor.include_pad, divisor.count);
  return dx;
}

int64_t count_of(const MaybeWhole& divisor_override) {
  if (!divisor_override.given()) return 0;
  const int64_t count = divisor_override.value_or(0);
  if (count < 1) divisor_override.fail("at least 1, or None");
  return count;
}

// D: MaybeWhole, the type of divisor_override; empty for avg_pool1d, which has no such parameter.
template <int axes, class... D>
Output avg_pool(const Pooled<axes>& x, PerAxis kernel, MaybePerAxis stride, PerAxis padding, Truth ceil_mode,
                Truth count_include_pad, const D&... divisor_override) {
  const PoolOp op{x.op(), axes};
  const Windows windows = read_windows(op, kernel, stride, padding);
  const Divisor divisor{count_include_pad, (count_of(divisor_override) + ... + 0)};
  return run_average(op, x, pool_axes(op, image_size(op, x), windows, ceil_mode), divisor);
}

template <int axes, class... D>
Output avg_pool_backward(const Pooled<axes>& dy, ShapeOfX shape, PerAxis kernel, MaybePerAxis stride,
                         PerAxis padding, Truth ceil_mode, Truth count_include_pad,
                         const D&... divisor_override, Truth channels_last) {
  const PoolOp op{dy.op(), axes};
  const Windows windows = read_windows(op, kernel, stride, padding);
  const Divisor divisor{count_include_pad, (count_of(divisor_override) + ... + 0)};
  const PoolAxes windows_of_dy = pool_axes(op, size_of_shape(op, shape, dy), windows, ceil_mode);
  expect_pooled(op, dy, windows_of_dy);
  return run_average_backward(op, dy, windows_of_dy, channels_last, divisor);
}

template <int axes>
Output adaptive_avg_pool(const Pooled<axes>& x, OutputSize output_size) {
  const PoolOp op{x.op(), axes};
  return run_average(op, x, adaptive_axes(op, x, output_size), {});
}

template <int axes>
Output adaptive_avg_pool_backward(const Pooled<axes>& dy, ShapeOfX shape, Truth channels_last) {
  const PoolOp op{dy.op(), axes};
  const PoolAxes windows_of_dy = adaptive_axes(op, size_of_shape(op, shape, dy), image_size(op, dy));
  return run_average_backward(op, dy, windows_of_dy, channels_last, {});
}

template <int axes, class... D>
void define_pooling(Module m, const std::string& divisor) {
  const std::string average = "avg_pool" + std::to_string(axes) + "d";
  const std::string adaptive = "adaptive_" + average;
  const std::string windows =
      "kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True" + divisor;
  def(m, average + "(x, " + windows + ")", avg_pool<axes, D...>);
  def(m, average + "_backward(dy, shape, " + windows + ", channels_last=False)",
      avg_pool_backward<axes, D...>);
  def(m, adaptive + "(x, output_size)", adaptive_avg_pool<axes>);
  def(m, adaptive + "_backward(dy, shape, channels_last=False)", adaptive_avg_pool_backward<axes>);
}

// True if pooling x gives channels-last images. Python asks this to pass `channels_last` to the gradient.
bool over_channels_of(const Reals& x) {
  const int axes = x.ndim() == 3 ? 1 : 2;  // signals or images
  const PoolOp op{x.op(), axes};
  if (x.ndim() != 2 + op.axes) x.fail("images (N, C, H, W)");
  return pools_over_channels(op, x);
}

}  // namespace

void register_pooling(Module m) {
  define_pooling<1>(m);
  define_pooling<2>(m);
  define_pooling<1>(m, "");
  define_pooling<2, MaybeWhole>(m, ", divisor_override=None");
  def(m, "pools_over_channels(x)", over_channels_of, "pooling");
}

}  // namespace ranvier::bind
