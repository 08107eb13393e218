// Binds running sums, products and extremes along an axis.
#include "bindings/binder/define.h"
#include "kernels/scan/scan.h"

namespace ranvier::bind {
namespace {

template <ScanOp kind>
Output scan(const Floats& x, Axis axis, Truth reverse, Out out) {
  const int along = axis.of(x);
  Output y = out.like(x, x);
  run<Scan>(x.dtype(), kind, reverse.holds, along, x, y);
  return y;
}

// For each place along the axis the greatest, or least, element up to there, and its index.
std::tuple<Output, Output> running_extreme(const Numbers& x, Axis axis, Truth greatest) {
  const int along = axis.of(x);
  Output y = Output::contiguous(x.dtype(), x.shape());
  Output index = Output::contiguous(DType::int64, x.shape());
  const auto run = [&](auto tag) {
    invoke_released(RunningExtreme<decltype(tag)>{greatest, along, x, y, index});
  };
  if (x.dtype() == DType::float32 || x.dtype() == DType::float64)
    with_float(x.dtype(), run);
  else if (x.dtype() == DType::int64)
    run(int64_t{});
  else if (x.dtype() == DType::int32)
    run(int32_t{});
  else
    fail_type(x.op(), "got another dtype; expected float32, float64, int64 or int32");
  return {std::move(y), std::move(index)};
}

// dy has x's shape, or the size 1 along the axis: then it is the gradient of the last product only, as for
// prod.
Output cumprod_backward(const Floats& dy, const Floats& x, Axis axis) {
  const int along = axis.of(x);
  Shape last = x.shape();
  last[along] = 1;
  if (!dy.has_shape(x.shape()) && !dy.has_shape(last))
    fail_value(dy.op(), "got dy of shape ", dy.shape(), " and x of shape ", x.shape(),
               "; expected equal shapes, or length 1 along axis ", along);
  Output dx = Output::like(x, x.dtype());
  run<ProductBackward>(x.dtype(), along, dy, x, dx);
  return dx;
}

}  // namespace

void register_scan(Module m) {
  def(m, "cumsum(x, axis, reverse=False, out=None)", scan<ScanOp::sum>);
  def(m, "cumprod(x, axis, reverse=False, out=None)", scan<ScanOp::product>);
  def(m, "running_extreme(x, axis, greatest)", running_extreme);
  def(m, "cumprod_backward(dy, x, axis)", cumprod_backward);
}

}  // namespace ranvier::bind
