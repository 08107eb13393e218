#include <algorithm>
#include <vector>

#include "bindings/array_args.h"
#include "kernels/copy/copy.h"

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

// concatenate(arrays, axis): the arrays one after another; channels-last if all are.
py::object concatenate(py::handle arrays_, py::handle axis_) {
  constexpr const char* op = "cat";
  if (!PyTuple_Check(arrays_.ptr()) && !PyList_Check(arrays_.ptr()))
    fail_type(op,
              std::string("got ") + Py_TYPE(arrays_.ptr())->tp_name + "; expected a list or tuple of arrays");
  const auto arrays = py::reinterpret_borrow<py::sequence>(arrays_);
  if (arrays.size() == 0) fail_value(op, "got no tensors; expected at least one");
  std::vector<Input> inputs;
  bool channels_last = true;
  for (py::handle h : arrays) {
    inputs.push_back(Input::floating(op, "a tensor", h));
    channels_last = channels_last && is_channels_last(inputs.back());
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
  Output y = channels_last ? Output::channels_last(first.dtype(), shape[0], shape[1], shape[2], shape[3])
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

}  // namespace

void register_copy(py::module_& m) {
  m.def("copy", copy, py::arg("x"), py::arg("channels_last") = false, py::arg("out") = py::none());
  m.def("concatenate", concatenate, py::arg("arrays"), py::arg("axis") = 0);
}

}  // namespace ranvier::bind
