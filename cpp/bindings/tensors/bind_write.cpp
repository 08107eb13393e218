// Binds functions that write to an array in place: fill, write (copies or casts into it), _put (array[key] =
// value).
#include <cstdlib>
#include <cstring>
#include <vector>

#include "bindings/binder/define.h"
#include "bindings/binder/moved.h"
#include "bindings/binder/numpy_api.h"
#include "kernels/elementwise/elementwise.h"

namespace ranvier::bind {
namespace {

// Sets every element of y to the number, in place.
void fill(InPlace y, Raw value) {
  const Input x = Input::number(y);
  invoke_fill(y.of(x.dtype(), x.shape()), x.dtype(), value);
}

// Writes a number to out, or the values of an array: broadcast to out's shape if the dtypes are equal, else
// cast to out's dtype, from an array of the same shape.
void write(Raw value, InPlace out) {
  const Input before = Input::number(out);
  Output y = out.of(before.dtype(), before.shape());
  if (PyFloat_Check(value.value.ptr()) || PyLong_Check(value.value.ptr())) {
    // Numbers of the size `most` and above are refused. Without max(), std::abs would overflow for the least
    // int64.
    int64_t most = 0;  // any number
    if (before.dtype() == DType::int64) most = INT64_MAX;
    if (before.dtype() == DType::int32) most = INT32_MAX;
    if (most && std::abs(std::max(Whole(value).number, -INT64_MAX)) >= most) value.fail("a smaller number");
    return invoke_fill(y, before.dtype(), value);
  }
  const Input x = Input::number(value);
  y.apart_from(x);
  // In a recording, integers and bools are cast also where the dtypes are equal, since it knows copies of
  // floats alone (moved.h).
  if (x.dtype() != before.dtype() || (t_recording && computed_in(x.dtype()) > DType::float64)) {
    with_number(out.op, before.dtype(), [](auto) {});  // fails for a dtype that nothing is cast to
    x.expect_same_shape(before);
    return invoke_cast(x, y, before.dtype());
  }
  if (!x.shape().broadcasts_to(before.shape())) x.fail("a shape that broadcasts");
  with_size(x, [&](auto tag) {
    Copy<decltype(tag)> call{};
    repeat(x.view<decltype(tag)>(), before.shape(), call.x);
    call.y = y;
    invoke_sized(call, before.elements());
  });
}

// The view array[parts]. The Ellipsis at its end makes a single element a view as well, not a scalar.
py::object part_of(py::handle array, const py::object& parts) {
  const Py_ssize_t count = PyTuple_GET_SIZE(parts.ptr());
  const py::tuple places(count + 1);
  for (Py_ssize_t i = 0; i < count; ++i)
    PyTuple_SET_ITEM(places.ptr(), i, Py_NewRef(PyTuple_GET_ITEM(parts.ptr(), i)));
  PyTuple_SET_ITEM(places.ptr(), count, Py_NewRef(Py_Ellipsis));
  py::object view = checked(PyObject_GetItem(array.ptr(), places.ptr()));
  return view;
}

// For all that put() does not compute: `setitem` in Python then computes it, or raises. The message does not
// have the key, whose text may be long.
[[noreturn]] void fail_key(const Arg& key) {
  fail_type(key.op, "got another key; expected whole numbers, slices and None, a mask, or rows");
}

// out[mask] = number, for a mask of out's shape.
void put_masked(const Input& mask, const Arg& value, const InPlace& out) {
  const Input x = Input::real(out);
  mask.expect_same_shape(x);
  const Output y = out.of(x.dtype(), x.shape());
  with_float(x.dtype(), [&](auto tag) {
    using T = decltype(tag);
    Where<T> call{mask.view<bool>(), {}, {}, y};
    call.x[1] = x.view<T>();
    call.scalar[0] = static_cast<T>(Real(value));
    invoke_sized(call, x.elements());
  });
}

// out[rows] = value, for a C-contiguous out. The value is a number, one row for all indices, or one row for
// each index. If an index occurs several times, its last row stays.
void put_rows(const Input& rows, const Arg& value, const InPlace& out) {
  const Input x = Input::number(out);
  const Output y = out.of(x.dtype(), x.shape());
  if (rows.ndim() != 1 || x.ndim() == 0 || !x.is_contiguous()) fail_key(value);
  const int64_t n = x.shape(0);
  const int64_t count = rows.elements();
  if (count == 0 || n == 0) fail_key(value);
  const int64_t bytes = x.elements() / n * PyArray_ITEMSIZE(as_array(x.object()));
  const auto index = rows.view<int64_t>();
  std::vector<char*> places(count);  // made before the first write: out may share the memory of the indices
  for (int64_t i = 0; i < count; ++i) {
    const int64_t at = index.data[i * index.strides[0]];
    if (at < -n || at >= n) fail_key(value);
    places[i] = PyArray_BYTES(as_array(out.value)) + (at < 0 ? at + n : at) * bytes;
  }
  if (PyArray_Check(value.value.ptr()) && PyArray_NDIM(as_array(value.value)) == x.ndim()) {
    const Input given = Input::exactly(value, x.dtype());
    Shape shape = x.shape();
    shape[0] = count;
    given.expect_shape(shape);
    y.apart_from(given);
    if (!given.is_contiguous()) fail_key(value);
    const char* from = PyArray_BYTES(as_array(given.object()));
    for (int64_t i = 0; i < count; ++i) std::memcpy(places[i], from + i * bytes, size_t(bytes));
    return;
  }
  const py::object first = part_of(out.value, tuple_of({py::int_(index.data[0])}));
  write(Raw(value), InPlace({out.op, out.name, first}));
  for (char* place : places)
    if (place != places[0]) std::memcpy(place, places[0], size_t(bytes));
}

// out[key] = value, where the key consists of integers, slices and None, or is a mask, or an array of row
// numbers.
void put(Raw key, Raw value, InPlace out) {
  PyObject* given = key.value.ptr();
  if (PyArray_Check(given)) {
    if (PyArray_ISBOOL(as_array(given))) return put_masked(Input::exactly(key, DType::boolean), value, out);
    if (PyArray_TYPE(as_array(given)) == NPY_UINT8) fail_key(key);  // a mask in PyTorch
    return put_rows(Input::integers(key), value, out);
  }
  const py::object parts = PyTuple_CheckExact(given) ? py::reinterpret_borrow<py::object>(given)
                                                     : tuple_of({py::reinterpret_borrow<py::object>(given)});
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(parts.ptr()); ++i) {
    PyObject* part = PyTuple_GET_ITEM(parts.ptr(), i);
    if (!PyLong_CheckExact(part) && !PySlice_Check(part) && part != Py_None) fail_key(key);
  }
  const py::object view = part_of(out.value, parts);
  write(value, InPlace({out.op, out.name, view}));
}

}  // namespace

void register_write(Module m) {
  def(m, "fill(y, value)", fill);
  def(m, "write(value, out)", write);
  def(m, "_put(key, value, out)", put);
}

}  // namespace ranvier::bind
