#include "bindings/define.h"
#include "bindings/numpy_api.h"
#include "kernels/sort/sort.h"

namespace ranvier::bind {
namespace {

// The first `count` elements (all) along the axis in order, and their indices.
std::tuple<Output, Output> sort(Floats x, Axis axis, Truth descending, MaybeWhole count) {
  const int along = axis.of(x);
  Shape shape = x.shape();
  const int64_t n = shape[along], kept = count.value_or(n);
  if (kept < 0 || kept > n)
    fail_value(x.op(), "got count ", kept, " for an axis of length ", n, "; expected 0 to ", n);
  if (n >= int64_t{1} << 32) fail_value(x.op(), "got an axis of length ", n, "; expected less than 2**32");
  shape[along] = kept;
  Output values = Output::contiguous(x.dtype(), shape), indices = Output::contiguous(DType::int64, shape);
  run<Sort>(x.dtype(), descending.holds, along, x, values, indices);
  return {std::move(values), std::move(indices)};
}

// How many of a sorted row's elements are before v, or with `right` not after it. NaN is the greatest.
// Without branches, which would be wrong half of the time.
template <class T>
int64_t place_of(const T* row, int64_t n, T v, bool right) {
  const bool is_nan = v != v;
  const auto is_before = [=](T x) { return is_nan ? right | (x == x) : right ? x <= v : x < v; };
  const T* first = row;
  for (; n > 1; n -= n / 2) first += (n / 2) & -int64_t{is_before(first[n / 2 - 1])};
  return first - row + (n == 1 && is_before(*first));
}

template <class T, class I>
void places_of(const Input& rows, const Input& v, I* to, bool right) {
  const int64_t n = rows.shape(rows.ndim() - 1), count = v.elements();
  const int64_t each = rows.ndim() == 1 ? count : v.shape(v.ndim() - 1);
  const T *row = rows.view<T>().data, *values = v.view<T>().data;
  for (int64_t i = 0; i < count; ++i) to[i] = place_of(row + (i / each) * n, n, values[i], right);
}

// The places of values in sorted rows, one row or one for each row of values, as int64 or int32.
Output searchsorted(Movable rows, Movable values, Truth right, Truth narrow) {
  const int ndim = rows.ndim();
  const bool alike = ndim == 1 || (ndim > 1 && values.ndim() == ndim &&
                                   rows.shape().part(0, ndim - 1) == values.shape().part(0, ndim - 1));
  if (t_recording || !alike || rows.dtype() != values.dtype() || rows.dtype() == DType::uint32)
    fail_type(rows.op(), "got other shapes or dtypes; expected one row and values of its dtype");
  const auto contiguous = [&](const Input& x) {
    const auto made = py::reinterpret_steal<py::object>(
        reinterpret_cast<PyObject*>(PyArray_GETCONTIGUOUS(as_array(x.object()))));
    if (!made) throw py::error_already_set();
    return Input::movable(Arg{x.op(), x.name(), made});
  };
  const Input row = contiguous(rows), v = contiguous(values);
  Output y = Output::contiguous(narrow ? DType::int32 : DType::int64, v.shape());
  const auto find = [&](auto tag) {
    using T = decltype(tag);
    narrow ? places_of<T>(row, v, y.view<int32_t>().data, right)
           : places_of<T>(row, v, y.view<int64_t>().data, right);
  };
  const DType dtype = rows.dtype();
  dtype == DType::float32   ? find(0.0f)
  : dtype == DType::float64 ? find(0.0)
  : dtype == DType::int32   ? find(int32_t{})
                            : find(int64_t{});
  return y;
}

}  // namespace

void register_sort(Module m) {
  def(m, "sort(x, axis, descending=False, count=None)", sort);
  def(m, "_searchsorted(rows, values, right, narrow)", searchsorted);
}

}  // namespace ranvier::bind
