// Binds reductions over axes: sums, means, extremes, variances, norms, arg-extremes; and expand, the gradient
// of a sum.
#include <cmath>

#include "bindings/binder/define.h"
#include "bindings/binder/moved.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/index/index.h"
#include "kernels/reduce/reduce.h"

namespace ranvier::bind {
namespace {

// The argument axis: None (all axes), an int, or a tuple or list of ints. Negative ints count from the end.
struct AxesArg : Arg {
  RANVIER_ANNOTATION("Axes");
  AxesArg(const Arg& arg) : Arg(arg) {}
};

// The axes of an array that are reduced, and the shape of the result.
struct Axes {
  bool reduced[kMaxDims] = {};
  int64_t count = 1;  // elements that go into one result
  int ndim;
  bool keepdims;
  Shape out;

  Axes(const AxesArg& axes, const Shape& shape, bool keepdims_) : ndim(shape.ndim), keepdims(keepdims_) {
    if (!axes.given()) {
      std::fill_n(reduced, ndim, true);
    } else if (PyTuple_Check(axes.value.ptr()) || PyList_Check(axes.value.ptr())) {
      for (py::handle axis : axes.value) add(axes.op, axis);
    } else {
      add(axes.op, axes.value);
    }
    for (int d = 0; d < ndim; ++d) {
      if (reduced[d]) count *= shape[d];
      if (!reduced[d]) out.append(shape[d]);
      if (reduced[d] && keepdims) out.append(1);
    }
  }

  // Adds an axis, an int, to those that are reduced.
  void add(const char* op, py::handle axis) {
    const auto index = py::reinterpret_steal<py::object>(index_of(axis.ptr()));
    if (!index) {
      PyErr_Clear();
      fail_type(op, "got an axis of type ", Py_TYPE(axis.ptr())->tp_name,
                "; expected None, an int or a tuple of ints");
    }
    const Py_ssize_t given = PyNumber_AsSsize_t(index.ptr(), nullptr);  // clamped to Py_ssize_t
    const Py_ssize_t d = given < 0 ? given + ndim : given;
    if (ndim == 0 && (given == 0 || given == -1)) return;  // NumPy and PyTorch allow these for scalars
    if (d < 0 || d >= ndim)
      fail(Fault::axis, op,
           {"got axis ", int64_t{given}, " for an array of ", ndim, " dimensions; expected ", -ndim, " to ",
            ndim - 1});
    if (reduced[d]) fail_value(op, "got axis ", int64_t{given}, " twice; expected distinct axes");
    reduced[d] = true;
  }

  // The view of a result with as many dimensions as x: size 1 and stride 0 along the reduced axes.
  template <class T>
  TensorView<T> widened(const TensorView<T>& v) const {
    TensorView<T> wide;
    wide.data = v.data;
    wide.ndim = ndim;
    wide.stored = v.stored;
    for (int d = 0, own = 0; d < ndim; ++d) {
      wide.shape[d] = reduced[d] ? 1 : v.shape[own];
      wide.strides[d] = reduced[d] ? 0 : v.strides[own];
      own += !reduced[d] || keepdims;
    }
    return wide;
  }
};

// What a reduction computes: op over the axes, divided by the count minus `correction` (mean), then its
// square root (root).
struct ReduceRule {
  ReduceOp op;
  bool mean = false, root = false;
  double correction = 0;
};

// center: an array of the result's shape that op subtracts from x or compares x with, or empty. rest: see
// spread().
Output reduce(const ReduceRule& rule, const Input& x, const Input& center, const Axes& axes, const Out& out,
              const Input& rest = Input()) {
  Output y = out.shaped(x.dtype(), axes.out, x, center, rest);
  if (center) center.expect_shape(axes.out);
  if (rest) rest.expect_shape(axes.out);
  const bool extreme = rule.op == ReduceOp::max || rule.op == ReduceOp::min;
  if (extreme && axes.count == 0)
    fail(Fault::index, x.op(),
         {"got x of shape ", x.shape(), ", empty along the axis; expected at least one element"});
  with_float(x.dtype(), [&](auto tag) {
    using T = decltype(tag);
    Reduce<T> call{};
    call.op = rule.op;
    call.x = x.view<T>();
    std::copy(axes.reduced, axes.reduced + kMaxDims, call.reduced);
    call.divisor = rule.mean ? std::fmax(static_cast<double>(axes.count) - rule.correction, 0) : 1;
    call.root = rule.root;
    if (center) call.center = axes.widened(center.view<T>());
    if (rest) call.rest = axes.widened(rest.view<T>());
    call.y = axes.widened(y.view<T>());
    invoke_sized(call, numel(call.x));
  });
  return y;
}

template <class Array = Reals>
void define(Module m, const char* name, const ReduceRule& rule) {
  def(m, std::string(name) + "(x, axis=None, keepdims=False, out=None)",
      [rule](const Array& x, AxesArg axis, Truth keepdims, Out out) {
        return reduce(rule, x, Input(), Axes(axis, x.shape(), keepdims), out);
      });
}

// The variance of x, or with root its standard deviation. mean: the mean of x, of the result's shape. rest:
// the mean of x - mean, not 0 if the mean was rounded; of the same shape, or None.
template <bool root>
Output spread(const Floats& x, const Floats& mean, AxesArg axis, Truth keepdims, Real correction,
              const MaybeFloats& rest, Out out) {
  const Axes axes(axis, x.shape(), keepdims);
  return reduce({ReduceOp::deviations, true, root, correction}, x, mean, axes, out, rest);
}

// A reduction that compares each element of x with y, which has the result's shape.
template <ReduceOp op>
Output compared(const Floats& x, const Floats& y, AxesArg axis, Truth keepdims) {
  return reduce({op}, x, y, Axes(axis, x.shape(), keepdims), Out({x.op(), "out", py::none()}));
}

// The index of the first greatest, or least, element along one axis.
template <bool maximum>
Output arg_reduce(const Reals& x, AxesArg axis, Truth keepdims) {
  const Axes axes(axis, x.shape(), keepdims);
  if (x.ndim() == 0) fail_value(x.op(), "got x without dimensions; expected at least one");
  const int several = static_cast<int>(std::count(axes.reduced, axes.reduced + kMaxDims, true));
  if (several != 1) fail_value(x.op(), "got ", several, " axes; expected one");
  if (axes.count == 0)
    fail(Fault::index, x.op(),
         {"got x of shape ", x.shape(), ", empty along the axis; expected at least one element"});
  Output y = Output::contiguous(DType::int64, axes.out);
  with_float(x.dtype(), [&](auto tag) {
    using T = decltype(tag);
    ArgReduce<T> call{};
    call.maximum = maximum;
    while (!axes.reduced[call.axis]) ++call.axis;
    call.x = x.view<T>();
    call.y = axes.widened(y.view<int64_t>());
    invoke_sized(call, numel(call.x));
  });
  return y;
}

// The greatest, or least, elements along an axis, and the indices of the first ones.
template <bool maximum>
std::tuple<Output, Output> extreme_along(const Reals& x, AxesArg axis, Truth keepdims) {
  Output index = arg_reduce<maximum>(x, axis, keepdims);
  const Axes axes(axis, x.shape(), keepdims);
  Output y = Output::contiguous(x.dtype(), axes.out);
  with_movable(x, [&](auto tag) {
    using T = decltype(tag);
    const auto places = axes.widened(index.view<int64_t>());
    Gather<T> call{0, false, x.view<T>(), {}, axes.widened(y.view<T>()), {}};
    while (!axes.reduced[call.axis]) ++call.axis;
    call.index.data = places.data;
    call.index.ndim = places.ndim;
    std::copy_n(places.shape, places.ndim, call.index.shape);
    std::copy_n(places.strides, places.ndim, call.index.strides);
    invoke_sized(call, numel(call.y));
  });
  return {std::move(y), std::move(index)};
}

// scale * dy, repeated along the axes to a shape: the gradient of a sum (scale 1) or of a mean (scale 1 /
// count). dy lacks the axes, or has them with size 1.
Output expand(const Reals& dy, ShapeArg sizes, AxesArg axes, Real scale, Truth channels_last) {
  const Shape shape = sizes.shape();
  if (channels_last && shape.ndim != 4) sizes.fail("4 sizes for channels-last");
  const Axes fits(axes, shape, dy.ndim() == shape.ndim);
  dy.expect_shape(fits.out);
  const auto new_output = channels_last ? &Output::channels_last : &Output::contiguous;
  Output dx = new_output(dy.dtype(), shape);
  with_float(dy.dtype(), [&](auto tag) {
    using T = decltype(tag);
    Elementwise<T> call{};
    call.op = ElementwiseOp::mul;
    call.operands = 2;
    call.x[0] = fits.widened(dy.view<T>());
    std::copy(shape.begin(), shape.end(), call.x[0].shape);
    call.scalar[1] = static_cast<T>(scale);
    call.y = dx.view<T>();
    invoke_sized(call, numel(call.y));
  });
  return dx;
}

}  // namespace

void register_reduce(Module m) {
  define(m, "sum", {ReduceOp::sum});
  define(m, "nansum", {ReduceOp::numbers});
  define(m, "mean", {ReduceOp::sum, true});
  define(m, "max", {ReduceOp::max});
  define(m, "min", {ReduceOp::min});
  define(m, "prod", {ReduceOp::product});
  define(m, "sum_abs", {ReduceOp::absolute});
  define<Floats>(m, "norm", {ReduceOp::squares, false, true});
  def(m, "var(x, mean, axis=None, keepdims=False, correction=0.0, rest=None, out=None)", spread<false>);
  def(m, "std(x, mean, axis=None, keepdims=False, correction=0.0, rest=None, out=None)", spread<true>);
  // how many elements of x equal y
  def(m, "count_equal(x, y, axis=None, keepdims=False)", compared<ReduceOp::equals>);
  // sum of exp(x - y); an infinite y counts as 0
  def(m, "sum_exp(x, y, axis=None, keepdims=False)", compared<ReduceOp::exps>);
  def(m, "argmax(x, axis, keepdims=False)", arg_reduce<true>);
  def(m, "argmin(x, axis, keepdims=False)", arg_reduce<false>);
  def(m, "_max_along(x, axis, keepdims)", extreme_along<true>, "max");
  def(m, "_min_along(x, axis, keepdims)", extreme_along<false>, "min");
  def(m, "expand(dy, shape, axes, scale, channels_last)", expand);
}

}  // namespace ranvier::bind
