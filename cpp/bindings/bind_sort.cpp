#include <algorithm>

#include "bindings/array_args.h"
#include "kernels/sort/sort.h"

namespace ranvier::bind {
namespace {

// sort(x, axis, descending, count): the first count (all) along the axis in order, and their indices
py::tuple sort(py::handle x_, py::handle axis_, py::handle descending_, py::handle count_) {
  constexpr const char* op = "sort";
  const Input x = Input::floating(op, "x", x_);
  const int axis = axis_number(op, axis_, x.ndim());
  const bool descending = truth(op, "descending", descending_);
  const int64_t n = x.shape(axis), count = count_.is_none() ? n : whole_number(op, "count", count_);
  if (count < 0 || count > n)
    fail_value(op, "got count " + std::to_string(count) + " for an axis of length " + std::to_string(n) +
                       "; expected 0 to " + std::to_string(n));
  if (n >= int64_t(1) << 32)
    fail_value(op, "got an axis of length " + std::to_string(n) + "; expected less than 2**32");
  int64_t shape[kMaxDims];
  std::copy(x.shape(), x.shape() + x.ndim(), shape);
  shape[axis] = count;
  Output values = Output::contiguous(x.dtype(), x.ndim(), shape);
  Output indices = Output::contiguous(DType::int64, x.ndim(), shape);
  with_float(x.dtype(), [&](auto tag) {
    using T = decltype(tag);
    invoke_released(Sort<T>{descending, axis, x.view<T>(), values.view<T>(), indices.view<int64_t>()});
  });
  return py::make_tuple(values.release(), indices.release());
}

}  // namespace

void register_sort(py::module_& m) {
  m.def("sort", sort, py::arg("x"), py::arg("axis"), py::arg("descending") = false,
        py::arg("count") = py::none());
}

}  // namespace ranvier::bind
