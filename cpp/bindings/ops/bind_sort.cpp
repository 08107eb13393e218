// Binds sort, which may return only the first elements, and searchsorted.
#include "bindings/binder/define.h"
#include "bindings/binder/numpy_api.h"
#include "kernels/sort/places.h"
#include "kernels/sort/sort.h"

namespace ranvier::bind {
namespace {

// The first `count` elements along the axis in sorted order (None: all), and their indices.
std::tuple<Output, Output> sort(const Floats& x, Axis axis, Truth descending, MaybeWhole count) {
  const int along = axis.of(x);
  Shape shape = x.shape();
  const int64_t n = shape[along];
  const int64_t kept = count.value_or(n);
  if (kept < 0 || kept > n)
    fail_value(x.op(), "got count ", kept, " for an axis of length ", n, "; expected 0 to ", n);
  if (n >= int64_t{1} << 32) fail_value(x.op(), "got an axis of length ", n, "; expected less than 2**32");
  shape[along] = kept;
  Output values = Output::contiguous(x.dtype(), shape);
  Output indices = Output::contiguous(DType::int64, shape);
  run<Sort>(x.dtype(), descending.holds, along, x, values, indices);
  return {std::move(values), std::move(indices)};
}

// The index at which each value would be inserted into a sorted row. rows: one row for all values, or a row
// for each row of values. right: after equal elements, else before them. Python computes other calls.
Output searchsorted(const Numbers& rows, const Numbers& values, Truth right) {
  const int ndim = rows.ndim();
  const bool alike = ndim == 1 || (ndim > 1 && values.ndim() == ndim &&
                                   rows.shape().part(0, ndim - 1) == values.shape().part(0, ndim - 1));
  if (t_recording || !alike || rows.dtype() != values.dtype() || rows.dtype() == DType::boolean)
    fail_type(rows.op(), "got other shapes or dtypes; expected one row and values of its dtype");
  const auto read = [](const Input& x) {
    const py::object made = checked(reinterpret_cast<PyObject*>(PyArray_GETCONTIGUOUS(as_array(x.object()))));
    const Arg arg{x.op(), x.name(), made};
    return is_floating_array(made) ? Input::floating(arg) : Input::integers(arg);
  };
  const Input row = read(rows);
  const Input v = read(values);
  Output y = Output::contiguous(DType::int64, v.shape());
  const auto find = [&](auto tag) {
    using T = decltype(tag);
    const int64_t n = row.shape(row.ndim() - 1);
    const int64_t count = v.elements();
    const int64_t each = row.ndim() == 1 ? count : v.shape(v.ndim() - 1);
    find_places(row.view<T>().data, n, v.view<T>().data, count, each, right, y.view<int64_t>().data);
  };
  if (row.dtype() == DType::int64)
    find(int64_t{});
  else
    with_float(row.dtype(), find);
  return y;
}

}  // namespace

void register_sort(Module m) {
  def(m, "sort(x, axis, descending=False, count=None)", sort);
  def(m, "_searchsorted(rows, values, right)", searchsorted);
}

}  // namespace ranvier::bind
