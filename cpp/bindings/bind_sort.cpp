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

// How many of a sorted row's elements are before each of a few values, or with `right` not after it, where
// NaN is the greatest. Without branches, which would be wrong half of the time; the steps of all values are
// alike, so that the processor does several at once.
template <bool right, bool nans, int few, class T>
void find_places(const T* row, int64_t n, const T* values, int64_t* places) {
  const T* first[few];
  std::fill_n(first, few, row);
  const auto is_before = [](T x, T v) {
    const bool is_less = right ? x <= v : x < v;
    return nans ? is_less | ((v != v) & (right | (x == x))) : is_less;
  };
  for (; n > 1; n -= n / 2)
    for (int k = 0; k < few; ++k) {
      const T* const next = first[k] + n / 2;
      first[k] = is_before(next[-1], values[k]) ? next : first[k];
    }
  for (int k = 0; k < few; ++k) places[k] = first[k] - row + (n == 1 && is_before(*first[k], values[k]));
}

template <bool right, class T>
void places_of(const Input& rows, const Input& v, int64_t* to) {
  constexpr int kFew = 8;
  const int64_t n = rows.shape(rows.ndim() - 1), count = v.elements();
  const int64_t each = rows.ndim() == 1 ? count : v.shape(v.ndim() - 1);
  const T *row = rows.view<T>().data, *values = v.view<T>().data;
  for (int64_t done = 0; done < count; row += n) {
    const int64_t end = done + each;
    while (done < end) {
      bool several = done + kFew <= end;
      for (int k = 0; several && k < kFew; ++k) several = values[done + k] == values[done + k];
      several ? find_places<right, false, kFew>(row, n, values + done, to + done)
              : find_places<right, true, 1>(row, n, values + done, to + done);
      done += several ? kFew : 1;
    }
  }
}

// The places of values in sorted rows, one row or one for each row of values.
Output searchsorted(Numbers rows, Numbers values, Truth right) {
  const int ndim = rows.ndim();
  const bool alike = ndim == 1 || (ndim > 1 && values.ndim() == ndim &&
                                   rows.shape().part(0, ndim - 1) == values.shape().part(0, ndim - 1));
  if (t_recording || !alike || rows.dtype() != values.dtype() || rows.dtype() == DType::boolean)
    fail_type(rows.op(), "got other shapes or dtypes; expected one row and values of its dtype");
  const auto read = [](const Input& x) {
    const auto made = py::reinterpret_steal<py::object>(
        reinterpret_cast<PyObject*>(PyArray_GETCONTIGUOUS(as_array(x.object()))));
    if (!made) throw py::error_already_set();
    const Arg arg{x.op(), x.name(), made};
    return is_floating_array(made) ? Input::floating(arg) : Input::integers(arg);
  };
  const Input row = read(rows), v = read(values);
  Output y = Output::contiguous(DType::int64, v.shape());
  const auto find = [&](auto tag) {
    using T = decltype(tag);
    int64_t* const to = y.view<int64_t>().data;
    right ? places_of<true, T>(row, v, to) : places_of<false, T>(row, v, to);
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
