#include <algorithm>
#include <vector>

#include "bindings/array_args.h"
#include "kernels/copy/copy.h"
#include "kernels/copy/fill.h"

namespace ranvier::bind {
namespace {

// copy(x, channels_last, out): x in C order, or channels-last, or in the order of out.
py::object copy(py::handle x_, py::handle channels_last_, py::handle out) {
  const bool channels_last = truth("copy", "channels_last", channels_last_);
  const Input x = Input::floating("copy", "x", x_);
  if (channels_last && x.ndim() != 4)
    fail_value("copy", "got x of shape " + shape_text(x.ndim(), x.shape()) +
                           "; expected 4 dimensions for channels-last");
  Output y = channels_last && !given(out)
                 ? Output::channels_last(x.dtype(), x.shape(0), x.shape(1), x.shape(2), x.shape(3))
                 : Output::given("copy", out, x.dtype(), x.ndim(), x.shape());
  y.apart_from("copy", x);
  with_float(x.dtype(), [&](auto tag) {
    using T = decltype(tag);
    invoke_released(Copy<T>{x.view<T>(), y.view<T>()});
  });
  return y.release();
}

// copy_like(x, like): x in the memory order of an array of its shape
py::object copy_like(py::handle x_, py::handle like_) {
  constexpr const char* op = "copy_like";
  const Input x = Input::floating(op, "x", x_), like = Input::number(op, "like", like_);
  if (like.ndim() != x.ndim() || !std::equal(x.shape(), x.shape() + x.ndim(), like.shape()))
    fail_value(op, "got x of shape " + shape_text(x.ndim(), x.shape()) + " and like of shape " +
                       shape_text(like.ndim(), like.shape()) + "; expected equal shapes");
  Output y = Output::like(like, x.dtype());
  with_float(x.dtype(), [&](auto tag) {
    using T = decltype(tag);
    const Copy<T> call{x.view<T>(), y.view<T>()};
    invoke_sized(call, numel(call.y));
  });
  return y.release();
}

// concatenate(arrays, axis): the arrays one after another; channels-last if all are, and not all in C order
// too (by dimensions of length 1).
py::object concatenate(py::handle arrays_, py::handle axis_) {
  constexpr const char* op = "cat";
  if (!PyTuple_Check(arrays_.ptr()) && !PyList_Check(arrays_.ptr()))
    fail_type(op,
              std::string("got ") + Py_TYPE(arrays_.ptr())->tp_name + "; expected a list or tuple of arrays");
  const auto arrays = py::reinterpret_borrow<py::sequence>(arrays_);
  if (arrays.size() == 0) fail_value(op, "got no tensors; expected at least one");
  std::vector<Input> inputs;
  bool channels_last = true, all_contiguous = true;
  for (py::handle h : arrays) {
    inputs.push_back(Input::floating(op, "a tensor", h));
    channels_last = channels_last && is_channels_last(inputs.back());
    all_contiguous = all_contiguous && inputs.back().is_contiguous();
  }
  const Input& first = inputs[0];
  const int ndim = first.ndim();
  const int64_t axis = whole_number(op, "dim", axis_);
  if (axis < -ndim || axis >= ndim)
    fail_value(op, "got dim " + std::to_string(axis) + " for tensors of " + std::to_string(ndim) +
                       " dimensions; expected " + std::to_string(-ndim) + " to " + std::to_string(ndim - 1));
  const int d = static_cast<int>(axis < 0 ? axis + ndim : axis);
  int64_t shape[kMaxDims];
  std::copy(first.shape(), first.shape() + ndim, shape);
  shape[d] = 0;
  for (const Input& x : inputs) {
    require_same_dtype(op, "a tensor", first, "another", x);
    bool fits = x.ndim() == ndim;
    for (int e = 0; e < ndim && fits; ++e) fits = e == d || x.shape(e) == shape[e];
    if (!fits)
      fail_value(op, "got shapes " + shape_text(ndim, first.shape()) + " and " +
                         shape_text(x.ndim(), x.shape()) + "; expected shapes equal but for dimension " +
                         std::to_string(d));
    shape[d] += x.shape(d);
  }
  Output y = channels_last && !all_contiguous
                 ? Output::channels_last(first.dtype(), shape[0], shape[1], shape[2], shape[3])
                 : Output::contiguous(first.dtype(), ndim, shape);
  with_float(first.dtype(), [&](auto tag) {
    using T = decltype(tag);
    TensorView<T> part = y.view<T>();
    for (const Input& x : inputs) {
      part.shape[d] = x.shape(d);
      invoke_released(Copy<T>{x.view<T>(), part});
      part.data += part.shape[d] * part.strides[d];
    }
  });
  return y.release();
}

// f(T{}) for the element types that are filled and cast to.
template <class F>
void with_number(const char* op, DType dtype, const F& f) {
  switch (dtype) {
    case DType::float32:
      return f(float{});
    case DType::float64:
      return f(double{});
    case DType::int64:
      return f(int64_t{});
    case DType::boolean:
      return f(bool{});
    default:
      fail_type(op, "got another dtype; expected float32, float64, int64 or bool");
  }
}

void invoke_fill(const char* op, const Output& y, DType dtype, py::handle value) {
  with_number(op, dtype, [&](auto tag) {
    using T = decltype(tag);
    const T number = dtype == DType::int64 ? static_cast<T>(whole_number(op, "value", value))
                                           : static_cast<T>(real_number(op, "value", value));
    const Fill<T> call{number, y.view<T>()};
    invoke_sized(call, numel(call.y));
  });
}

// full(shape, dtype, value): a new array of one number, in C order
py::object full(py::handle shape_, py::handle dtype_, py::handle value) {
  constexpr const char* op = "full";
  const DType dtype = dtype_argument(op, dtype_);
  if (!PyTuple_Check(shape_.ptr()))
    fail_type(op, "got shape " + std::string(py::repr(shape_)) + "; expected a tuple");
  const auto ndim = static_cast<int>(PyTuple_GET_SIZE(shape_.ptr()));
  if (ndim > kMaxDims)
    fail_value(op, "got shape " + std::string(py::repr(shape_)) + "; expected at most " +
                       std::to_string(kMaxDims) + " dimensions");
  int64_t shape[kMaxDims];
  for (int d = 0; d < ndim; ++d) {
    shape[d] = whole_number(op, "a size", PyTuple_GET_ITEM(shape_.ptr(), d));
    if (shape[d] < 0) fail_value(op, "got shape " + std::string(py::repr(shape_)) + "; expected sizes >= 0");
  }
  Output y = Output::contiguous(dtype, ndim, shape);
  invoke_fill(op, y, dtype, value);
  return y.release();
}

// fill(y, value): every element of y becomes the number, in place
void fill(py::handle y_, py::handle value) {
  constexpr const char* op = "fill";
  const Input y = Input::number(op, "y", y_);
  invoke_fill(op, Output::given(op, y_, y.dtype(), y.ndim(), y.shape(), "y"), y.dtype(), value);
}

// cast(x, dtype, out): x in another dtype, in x's memory order
py::object cast(py::handle x_, py::handle dtype_, py::handle out) {
  constexpr const char* op = "cast";
  const DType to = dtype_argument(op, dtype_);
  const Input x = Input::number(op, "x", x_);
  with_number(op, to, [](auto) {});
  Output y = given(out) ? Output::given(op, out, to, x.ndim(), x.shape()) : Output::like(x, to);
  y.apart_from(op, x);
  invoke_cast(x, y, to);
  return y.release();
}

}  // namespace

void register_copy(py::module_& m) {
  m.def("copy", copy, py::arg("x"), py::arg("channels_last") = false, py::arg("out") = py::none());
  m.def("copy_like", copy_like, py::arg("x"), py::arg("like"));
  m.def("full", full, py::arg("shape"), py::arg("dtype"), py::arg("value"));
  m.def("fill", fill, py::arg("y"), py::arg("value"));
  m.def("cast", cast, py::arg("x"), py::arg("dtype"), py::arg("out") = py::none());
  m.def("concatenate", concatenate, py::arg("arrays"), py::arg("axis") = 0);
}

}  // namespace ranvier::bind
