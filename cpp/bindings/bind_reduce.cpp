#include <algorithm>
#include <cmath>

#include "bindings/array_args.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/reduce/reduce.h"

namespace ranvier::bind {
namespace {

// Which axes of an array are reduced, and the shape of the result.
struct Axes {
  bool reduced[kMaxDims] = {};
  int64_t count = 1;  // elements that go into one result
  int ndim;
  int ndim_out = 0;
  int64_t out[kMaxDims];
  bool keepdims;

  // axes: None (all), an int, or a tuple of ints; negative ones count from the end.
  Axes(const char* op, int ndim_in, const int64_t* shape, py::handle axes, bool keepdims_in)
      : ndim(ndim_in), keepdims(keepdims_in) {
    if (axes.is_none()) {
      for (int d = 0; d < ndim; ++d) reduced[d] = true;
    } else if (PyTuple_Check(axes.ptr()) || PyList_Check(axes.ptr())) {
      for (py::handle axis : axes) add(op, axis);
    } else {
      add(op, axes);
    }
    for (int d = 0; d < ndim; ++d) {
      if (reduced[d]) count *= shape[d];
      if (!reduced[d] || keepdims) out[ndim_out++] = reduced[d] ? 1 : shape[d];
    }
  }

  void add(const char* op, py::handle axis) {
    const Py_ssize_t given = PyNumber_AsSsize_t(axis.ptr(), nullptr);
    if (given == -1 && PyErr_Occurred()) {
      PyErr_Clear();
      fail_type(op, "got an axis of type " + std::string(Py_TYPE(axis.ptr())->tp_name) +
                        "; expected None, an int or a tuple of ints");
    }
    const Py_ssize_t d = given < 0 ? given + ndim : given;
    if (ndim == 0 && (given == 0 || given == -1)) return;  // as in NumPy's and PyTorch's scalars
    if (d < 0 || d >= ndim)
      fail_value(op, "got axis " + std::to_string(given) + " for an array of " + std::to_string(ndim) +
                         " dimensions; expected " + std::to_string(-ndim) + " to " +
                         std::to_string(ndim - 1));
    if (reduced[d]) fail_value(op, "got axis " + std::to_string(given) + " twice; expected distinct axes");
    reduced[d] = true;
  }

  // A view of a result with x's rank: stride 0 along the reduced axes.
  template <class T>
  TensorView<T> widened(const TensorView<T>& v) const {
    TensorView<T> wide;
    wide.data = v.data, wide.ndim = ndim;
    for (int d = 0, own = 0; d < ndim; ++d) {
      wide.shape[d] = reduced[d] ? 1 : v.shape[own];
      wide.strides[d] = reduced[d] ? 0 : v.strides[own];
      own += !reduced[d] || keepdims;
    }
    return wide;
  }
};

py::object reduce(const char* op, ReduceOp kind, py::handle x_, py::handle center_, py::handle axes_,
                  py::handle keepdims, py::handle out, double correction, bool mean, bool root) {
  const Input x = Input::floating(op, "x", x_);
  const Input center = Input::optional(op, "center", center_, x.dtype());
  const Axes axes(op, x.ndim(), x.shape(), axes_, truth(op, "keepdims", keepdims));
  Output y = Output::given(op, out, x.dtype(), axes.ndim_out, axes.out);
  y.apart_from(op, x).apart_from(op, center);
  if (center &&
      (center.ndim() != axes.ndim_out || !std::equal(axes.out, axes.out + axes.ndim_out, center.shape())))
    fail_value(op, "got center of shape " + shape_text(center.ndim(), center.shape()) + "; expected " +
                       shape_text(axes.ndim_out, axes.out));
  with_float(x.dtype(), [&](auto tag) {
    using T = decltype(tag);
    Reduce<T> call{};
    call.op = kind;
    call.x = x.view<T>();
    std::copy(axes.reduced, axes.reduced + kMaxDims, call.reduced);
    call.divisor = mean ? std::fmax(static_cast<double>(axes.count) - correction, 0) : 1;
    call.root = root;
    if (center) call.center = axes.widened(center.view<T>());
    call.y = axes.widened(y.view<T>());
    if ((kind == ReduceOp::max || kind == ReduceOp::min) && axes.count == 0 && numel(call.y) > 0)
      fail_value(op, "got x of shape " + shape_text(x.ndim(), x.shape()) +
                         ", empty along the axis; expected at least one element");
    invoke_sized(call, numel(call.x));
  });
  return y.release();
}

// argmax(x, axis, keepdims)
py::object arg_reduce(const char* op, bool maximum, py::handle x_, py::handle axis, py::handle keepdims) {
  const Input x = Input::floating(op, "x", x_);
  const Axes axes(op, x.ndim(), x.shape(), axis, truth(op, "keepdims", keepdims));
  if (x.ndim() == 0) fail_value(op, "got x without dimensions; expected at least one");
  const auto several = std::count(axes.reduced, axes.reduced + kMaxDims, true);
  if (several != 1) fail_value(op, "got " + std::to_string(several) + " axes; expected one");
  if (axes.count == 0)
    fail_value(op, "got x of shape " + shape_text(x.ndim(), x.shape()) +
                       ", empty along the axis; expected at least one element");
  Output y = Output::contiguous(DType::int64, axes.ndim_out, axes.out);
  with_float(x.dtype(), [&](auto tag) {
    using T = decltype(tag);
    ArgReduce<T> call{};
    call.maximum = maximum;
    while (!axes.reduced[call.axis]) ++call.axis;
    call.x = x.view<T>();
    call.y = axes.widened(y.view<int64_t>());
    invoke_sized(call, numel(call.x));
  });
  return y.release();
}

// expand(dy, shape, axes, scale, channels_last): scale * dy repeated along the axes (which dy lacks, or has
// with size 1) to the shape: the gradient of a sum (scale 1) or mean (1 / count).
py::object expand(py::handle dy_, const py::tuple& shape_, py::handle axes_, double scale,
                  bool channels_last) {
  constexpr const char* op = "expand";
  const Input dy = Input::floating(op, "dy", dy_);
  const int ndim = static_cast<int>(shape_.size());
  int64_t shape[kMaxDims];
  if (ndim > kMaxDims) fail_value(op, "got a shape of more than 8 dimensions; expected at most 8");
  for (int d = 0; d < ndim; ++d) shape[d] = whole_number(op, "a size", shape_[d]);
  if (std::any_of(shape, shape + ndim, [](int64_t n) { return n < 0; }) || (channels_last && ndim != 4))
    fail_value(op, "got shape " + shape_text(ndim, shape) + "; expected sizes >= 0, 4 for channels-last");
  const Axes axes(op, ndim, shape, axes_, false), kept(op, ndim, shape, axes_, true);
  const bool keepdims = dy.ndim() == ndim;
  const Axes& fits = keepdims ? kept : axes;
  if (dy.ndim() != fits.ndim_out || !std::equal(fits.out, fits.out + fits.ndim_out, dy.shape()))
    fail_value(op, "got dy of shape " + shape_text(dy.ndim(), dy.shape()) + "; expected " +
                       shape_text(fits.ndim_out, fits.out));
  Output dx = channels_last ? Output::channels_last(dy.dtype(), shape[0], shape[1], shape[2], shape[3])
                            : Output::contiguous(dy.dtype(), ndim, shape);
  with_float(dy.dtype(), [&](auto tag) {
    using T = decltype(tag);
    Elementwise<T> call{};
    call.op = ElementwiseOp::mul;
    call.operands = 2;
    call.x[0] = fits.widened(dy.view<T>());
    std::copy(shape, shape + ndim, call.x[0].shape);
    call.scalar[1] = static_cast<T>(scale);
    call.y = dx.view<T>();
    invoke_sized(call, numel(call.y));
  });
  return dx.release();
}

}  // namespace

void register_reduce(py::module_& m) {
  const auto x = py::arg("x"), needed_axis = py::arg("axis");
  const auto axis = py::arg("axis") = py::none(), keepdims = py::arg("keepdims") = false;
  const auto out = py::arg("out") = py::none();
  const auto plain = [&](const char* name, ReduceOp op, bool mean) {
    m.def(
        name,
        [=](py::handle x, py::handle axes, py::handle keepdims, py::handle out) {
          return reduce(name, op, x, py::none(), axes, keepdims, out, 0, mean, false);
        },
        x, axis, keepdims, out);
  };
  plain("sum", ReduceOp::sum, false);
  plain("mean", ReduceOp::sum, true);
  plain("max", ReduceOp::max, false);
  plain("min", ReduceOp::min, false);
  plain("prod", ReduceOp::product, false);
  plain("sum_abs", ReduceOp::absolute, false);
  // mean: that of x, in the shape of the result
  const auto spread = [&](const char* name, bool root) {
    m.def(
        name,
        [=](py::handle x, py::handle mean, py::handle axes, py::handle keepdims, py::handle correction,
            py::handle out) {
          return reduce(name, ReduceOp::squares, x, mean, axes, keepdims, out,
                        real_number(name, "correction", correction), true, root);
        },
        x, py::arg("mean"), axis, keepdims, py::arg("correction") = 0.0, out);
  };
  spread("var", false);
  spread("std", true);
  // how many elements of x equal the result's element y that they go into
  m.def(
      "count_equal",
      [](py::handle x, py::handle y, py::handle axes, py::handle keepdims) {
        return reduce("count_equal", ReduceOp::equals, x, y, axes, keepdims, py::none(), 0, false, false);
      },
      x, py::arg("y"), axis, keepdims);
  // sum of exp(x - y), where y is the result's element that x goes into; an infinite y counts as 0
  m.def(
      "sum_exp",
      [](py::handle x, py::handle y, py::handle axes, py::handle keepdims) {
        return reduce("sum_exp", ReduceOp::exps, x, y, axes, keepdims, py::none(), 0, false, false);
      },
      x, py::arg("y"), axis, keepdims);
  // the square root of the sum of squares
  m.def(
      "norm",
      [](py::handle x, py::handle axes, py::handle keepdims, py::handle out) {
        return reduce("norm", ReduceOp::squares, x, py::none(), axes, keepdims, out, 0, false, true);
      },
      x, axis, keepdims, out);
  const auto arg = [&](const char* name, bool maximum) {
    m.def(
        name,
        [=](py::handle x, py::handle axis, py::handle keepdims) {
          return arg_reduce(name, maximum, x, axis, keepdims);
        },
        x, needed_axis, keepdims);
  };
  arg("argmax", true);
  arg("argmin", false);
  m.def("expand", expand);
}

}  // namespace ranvier::bind
