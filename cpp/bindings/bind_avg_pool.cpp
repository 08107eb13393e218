#include "bindings/pool_args.h"
#include "kernels/pooling/pooling.h"

namespace ranvier::bind {
namespace {

// What the average of a window is divided by.
struct Divisor {
  bool include_pad = false;
  int64_t count = 0;  // 0: the elements of the window
};

Output run_average(const PoolOp& op, const Input& x, const PoolAxes& axes, const Divisor& divisor) {
  const bool last = pools_over_channels(op, x);
  Output y = pooled_output(op, x.dtype(), last, x, {axes.rows.out, axes.columns.out});
  run<AvgPool2dForward>(x.dtype(), image(x, op.axes), image(y, op.axes), axes.rows, axes.columns, last,
                        divisor.include_pad, divisor.count);
  return y;
}

Output run_average_backward(const PoolOp& op, const Input& dy, const PoolAxes& axes, bool channels_last,
                            const Divisor& divisor) {
  Output dx = pooled_output(op, dy.dtype(), channels_last, dy, {axes.rows.in, axes.columns.in});
  run<AvgPool2dBackward>(dy.dtype(), image(dy, op.axes), image(dx, op.axes), axes.rows, axes.columns,
                         channels_last, divisor.include_pad, divisor.count);
  return dx;
}

int64_t count_of(const MaybeWhole& divisor_override) {
  if (!divisor_override.given()) return 0;
  const int64_t count = divisor_override.value_or(0);
  if (count < 1) divisor_override.fail("at least 1, or None");
  return count;
}

// D: the type of divisor_override, which avg_pool1d does not have.
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
  const PoolAxes found = pool_axes(op, size_of_shape(op, shape, dy), windows, ceil_mode);
  expect_pooled(op, dy, found);
  return run_average_backward(op, dy, found, channels_last, divisor);
}

template <int axes>
Output adaptive_avg_pool(const Pooled<axes>& x, OutputSize output_size) {
  const PoolOp op{x.op(), axes};
  return run_average(op, x, adaptive_axes(op, x, output_size), {});
}

template <int axes>
Output adaptive_avg_pool_backward(const Pooled<axes>& dy, ShapeOfX shape, Truth channels_last) {
  const PoolOp op{dy.op(), axes};
  const PoolAxes found = adaptive_axes(op, size_of_shape(op, shape, dy), image_size(op, dy));
  return run_average_backward(op, dy, found, channels_last, {});
}

template <int axes, class... D>
void define(Module m, const std::string& divisor) {
  const std::string average = "avg_pool" + std::to_string(axes) + "d", adaptive = "adaptive_" + average;
  const std::string windows =
      "kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True" + divisor;
  def(m, average + "(x, " + windows + ")", avg_pool<axes, D...>);
  def(m, average + "_backward(dy, shape, " + windows + ", channels_last=False)",
      avg_pool_backward<axes, D...>);
  def(m, adaptive + "(x, output_size)", adaptive_avg_pool<axes>);
  def(m, adaptive + "_backward(dy, shape, channels_last=False)", adaptive_avg_pool_backward<axes>);
}

// Whether pooling x gives channels-last images: what a gradient's layout is taken from.
bool over_channels_of(const Floats& x) {
  const PoolOp op{x.op(), x.ndim() == 3 ? 1 : 2};
  if (x.ndim() != 2 + op.axes) x.fail("images (N, C, H, W)");
  return pools_over_channels(op, x);
}

}  // namespace

void register_avg_pool(Module m) {
  define<1>(m, "");
  define<2, MaybeWhole>(m, ", divisor_override=None");
  def(m, "pools_over_channels(x)", over_channels_of, "pooling");
}

}  // namespace ranvier::bind
