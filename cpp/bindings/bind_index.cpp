#include "bindings/define.h"
#include "bindings/index_range.h"
#include "kernels/index/index.h"

namespace ranvier::bind {
namespace {

// The index repeated to the shape of the picked elements: size 1 repeats along every axis but the picked one.
TensorView<const int64_t> repeated(const Input& index, const Shape& picked, int axis) {
  TensorView<const int64_t> v = index.view<int64_t>();
  bool fits = v.ndim == picked.ndim;
  for (int d = 0; d < picked.ndim && fits; ++d) {
    fits = v.shape[d] == picked[d] || (d != axis && v.shape[d] == 1);
    if (v.shape[d] == 1) v.strides[d] = 0;
    v.shape[d] = picked[d];
  }
  if (!fits) index.fail("one that broadcasts to ", picked);
  return v;
}

// As many dimensions, and all sizes but that of the axis as x's.
void expect_fits(const Input& part, const Input& x, int axis) {
  Shape expected = x.shape();
  if (part.ndim() == x.ndim()) expected[axis] = part.shape(axis);
  if (!part.has_shape(expected))
    fail_value(x.op(), "got ", part.name(), " of shape ", part.shape(), " for x of shape ", x.shape(),
               "; expected equal sizes but for axis ", axis);
}

// y[.., j, ..] = x[.., index[.., j, ..], ..]. Negative indices count from the end, or fail with from_0.
Output gather(Floats x, Integers index, Axis axis, Out out, Truth from_0) {
  const int along = axis.of(x);
  if (index.ndim() != x.ndim())
    fail_value(x.op(), "got index of shape ", index.shape(), " for x of shape ", x.shape(),
               "; expected as many dimensions");
  Shape shape = x.shape();
  shape[along] = index.shape(along);
  const auto where = repeated(index, shape, along);
  Output y = out.shaped(x.dtype(), shape, x, index);
  require_places(index, x.shape(along), from_0);
  run<Gather>(x.dtype(), along, x, where, y);
  return y;
}

// The gradient of gather; `length` is that of x's axis.
Output scatter_add(Floats dy, Integers index, Axis axis, Whole length, Out out) {
  const int along = axis.of(dy);
  if (length < 0) length.fail("at least 0");
  const auto where = repeated(index, dy.shape(), along);
  Shape shape = dy.shape();
  shape[along] = length;
  Output dx = out.shaped(dy.dtype(), shape, dy, index);
  require_places(index, length);
  run<Scatter>(dy.dtype(), along, ScatterOp::sum, Input(), dy, where, dx);
  return dx;
}

// x, and src put or joined at the index.
Output joined(const Input& x, const Input& index, const Input& src, const Axis& axis, ScatterOp op,
              const Out& out, bool from_0) {
  const int along = axis.of(x);
  expect_fits(src, x, along);
  const auto where = repeated(index, src.shape(), along);
  Output y = out.shaped(x.dtype(), x.shape(), x, src, index);
  require_places(index, x.shape(along), from_0);
  run<Scatter>(x.dtype(), along, op, x, src, where, y);
  return y;
}
Output scatter(Floats x, Integers index, Floats src, Axis axis, Truth add, Out out, Truth from_0) {
  return joined(x, index, src, axis, add ? ScatterOp::sum : ScatterOp::put, out, from_0);
}
Output scatter_reduce(Floats x, Integers index, Floats src, Axis axis, Name reduce, Out out) {
  constexpr ScatterOp ops[] = {ScatterOp::product, ScatterOp::max, ScatterOp::min};
  return joined(x, index, src, axis, ops[reduce.one_of({"prod", "amax", "amin"})], out, true);
}

// The gradients of x and src of a scatter that puts; index has src's shape.
std::tuple<Output, Output> scatter_backward(Floats dy, Integers index, Axis axis) {
  const int along = axis.of(dy);
  expect_fits(index, dy, along);
  require_places(index, dy.shape(along));
  Output dx = Output::contiguous(dy.dtype(), dy.shape()),
         dsrc = Output::contiguous(dy.dtype(), index.shape());
  run<ScatterBackward>(dy.dtype(), along, dy, index, dx, dsrc);
  return {std::move(dx), std::move(dsrc)};
}

// Whether low <= x <= high everywhere, with `above` low < x. What raises an error depending on the values of
// an array asks this, so that a captured step asks it again.
bool inside(const Numbers& x, const Real& low, const Real& high, Truth above) {
  if (x.dtype() == DType::float32 || x.dtype() == DType::float64)
    return floats_are_inside(x, low, high, above);
  const auto whole = [](double limit) { return static_cast<int64_t>(limit); };
  return are_inside(Input::integers(Arg{x.op(), x.name(), x.object()}), whole(low) + above, whole(high));
}

}  // namespace

void register_index(Module m) {
  def(m, "inside(x, low, high, above=False)", inside);
  def(m, "gather(x, index, axis, out=None, from_0=False)", gather);
  def(m, "scatter_add(dy, index, axis, length, out=None)", scatter_add);
  def(m, "scatter(x, index, src, axis, add=False, out=None, from_0=False)", scatter);
  def(m, "scatter_reduce(x, index, src, axis, reduce, out=None)", scatter_reduce);
  def(m, "scatter_backward(dy, index, axis)", scatter_backward);
}

}  // namespace ranvier::bind
