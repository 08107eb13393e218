#include <algorithm>

#include "bindings/index_range.h"
#include "kernels/index/index.h"

namespace ranvier::bind {
namespace {

// The index repeated to the shape of the picked elements: size 1 repeats along every axis but the picked one.
TensorView<const int64_t> index_view(const char* op, const Input& index, int ndim, const int64_t* picked,
                                     int axis) {
  TensorView<const int64_t> v = index.view<int64_t>();
  bool fits = v.ndim == ndim;
  for (int d = 0; d < ndim && fits; ++d) {
    fits = v.shape[d] == picked[d] || (d != axis && v.shape[d] == 1);
    if (v.shape[d] == 1) v.strides[d] = 0;
    v.shape[d] = picked[d];
  }
  if (!fits)
    fail_value(op, "got index of shape " + shape_text(index.ndim(), index.shape()) +
                       "; expected one that broadcasts to " + shape_text(ndim, picked));
  return v;
}

// As many dimensions, and all sizes but that of the axis as x's.
void check_fits(const char* op, const char* name, const Input& part, const Input& x, int axis) {
  bool fits = part.ndim() == x.ndim();
  for (int d = 0; d < x.ndim() && fits; ++d) fits = d == axis || part.shape(d) == x.shape(d);
  if (!fits)
    fail_value(op, std::string("got ") + name + " of shape " + shape_text(part.ndim(), part.shape()) +
                       " for x of shape " + shape_text(x.ndim(), x.shape()) +
                       "; expected equal sizes but for axis " + std::to_string(axis));
}

// gather(x, index, axis, out): y[.., j, ..] = x[.., index[.., j, ..], ..]
py::object gather(py::handle x_, py::handle index_, py::handle axis_, py::handle out) {
  constexpr const char* op = "gather";
  const Input x = Input::floating(op, "x", x_);
  const Input index = Input::integers(op, "index", index_);
  const int axis = axis_number(op, axis_, x.ndim());
  if (index.ndim() != x.ndim())
    fail_value(op, "got index of shape " + shape_text(index.ndim(), index.shape()) + " for x of shape " +
                       shape_text(x.ndim(), x.shape()) + "; expected as many dimensions");
  int64_t shape[kMaxDims];
  std::copy(x.shape(), x.shape() + x.ndim(), shape);
  shape[axis] = index.shape(axis);
  const TensorView<const int64_t> where = index_view(op, index, x.ndim(), shape, axis);
  Output y = Output::given(op, out, x.dtype(), x.ndim(), shape);
  y.apart_from(op, x).apart_from(op, index);
  require_range(axis_range(op, index, x.shape(axis)));
  with_float(x.dtype(), [&](auto tag) {
    using T = decltype(tag);
    invoke_released(Gather<T>{axis, x.view<T>(), where, y.view<T>()});
  });
  return y.release();
}

// scatter_add(dy, index, axis, length, out): the gradient of gather; `length` is that of x's axis.
py::object scatter_add(py::handle dy_, py::handle index_, py::handle axis_, py::handle length_,
                       py::handle out) {
  constexpr const char* op = "scatter_add";
  const Input dy = Input::floating(op, "dy", dy_);
  const Input index = Input::integers(op, "index", index_);
  const int axis = axis_number(op, axis_, dy.ndim());
  const int64_t length = whole_number(op, "length", length_);
  if (length < 0) fail_value(op, "got length " + std::to_string(length) + "; expected at least 0");
  const TensorView<const int64_t> where = index_view(op, index, dy.ndim(), dy.shape(), axis);
  int64_t shape[kMaxDims];
  std::copy(dy.shape(), dy.shape() + dy.ndim(), shape);
  shape[axis] = length;
  Output dx = Output::given(op, out, dy.dtype(), dy.ndim(), shape);
  dx.apart_from(op, dy).apart_from(op, index);
  require_range(axis_range(op, index, length));
  with_float(dy.dtype(), [&](auto tag) {
    using T = decltype(tag);
    invoke_released(Scatter<T>{axis, true, {}, dy.view<T>(), where, dx.view<T>()});
  });
  return dx.release();
}

// scatter(x, index, src, axis, add, out): x, and src put or added where the index says.
py::object scatter(py::handle x_, py::handle index_, py::handle src_, py::handle axis_, py::handle add_,
                   py::handle out) {
  constexpr const char* op = "scatter";
  const Input x = Input::floating(op, "x", x_), src = Input::floating(op, "src", src_);
  require_same_dtype(op, "x", x, "src", src);
  const Input index = Input::integers(op, "index", index_);
  const int axis = axis_number(op, axis_, x.ndim());
  const bool add = truth(op, "add", add_);
  check_fits(op, "src", src, x, axis);
  const TensorView<const int64_t> where = index_view(op, index, src.ndim(), src.shape(), axis);
  Output y = Output::given(op, out, x.dtype(), x.ndim(), x.shape());
  y.apart_from(op, x).apart_from(op, src).apart_from(op, index);
  require_range(axis_range(op, index, x.shape(axis)));
  with_float(x.dtype(), [&](auto tag) {
    using T = decltype(tag);
    invoke_released(Scatter<T>{axis, add, x.view<T>(), src.view<T>(), where, y.view<T>()});
  });
  return y.release();
}

// scatter_backward(dy, index, axis): the gradients of x and src of scatter that puts; index has src's shape.
py::tuple scatter_backward(py::handle dy_, py::handle index_, py::handle axis_) {
  constexpr const char* op = "scatter_backward";
  const Input dy = Input::floating(op, "dy", dy_);
  const Input index = Input::integers(op, "index", index_);
  const int axis = axis_number(op, axis_, dy.ndim());
  check_fits(op, "index", index, dy, axis);
  require_range(axis_range(op, index, dy.shape(axis)));
  Output dx = Output::contiguous(dy.dtype(), dy.ndim(), dy.shape());
  Output dsrc = Output::contiguous(dy.dtype(), index.ndim(), index.shape());
  with_float(dy.dtype(), [&](auto tag) {
    using T = decltype(tag);
    invoke_released(
        ScatterBackward<T>{axis, dy.view<T>(), index.view<int64_t>(), dx.view<T>(), dsrc.view<T>()});
  });
  return py::make_tuple(dx.release(), dsrc.release());
}

}  // namespace

void register_index(py::module_& m) {
  const auto out = py::arg("out") = py::none();
  m.def("gather", gather, py::arg("x"), py::arg("index"), py::arg("axis"), out);
  m.def("scatter_add", scatter_add, py::arg("dy"), py::arg("index"), py::arg("axis"), py::arg("length"), out);
  m.def("scatter", scatter, py::arg("x"), py::arg("index"), py::arg("src"), py::arg("axis"),
        py::arg("add") = false, out);
  m.def("scatter_backward", scatter_backward, py::arg("dy"), py::arg("index"), py::arg("axis"));
}

}  // namespace ranvier::bind
