// Makes new arrays for the functions that make Tensors: reads sizes, and fills arrays from arithmetic
// progressions and from nested lists of Python's numbers.
#include "bindings/binder/define.h"
#include "bindings/binder/numpy_api.h"
#include "bindings/tensors/tensors.h"
#include "kernels/copy/copy.h"

namespace ranvier::bind {
namespace {

struct Object : py::object {
  RANVIER_ANNOTATION("Any");
};

// The shape of f(2, 3), f((2, 3)) or f([2, 3]), from the tuple of f's arguments.
Object shape_from(Raw size, Name op) {
  PyObject* sizes = size.value.ptr();
  if (PyTuple_GET_SIZE(sizes) == 1 &&
      (PyTuple_Check(PyTuple_GET_ITEM(sizes, 0)) || PyList_Check(PyTuple_GET_ITEM(sizes, 0))))
    sizes = PyTuple_GET_ITEM(sizes, 0);
  const auto given = py::reinterpret_steal<py::object>(PySequence_Tuple(sizes));
  const Py_ssize_t count = given ? PyTuple_GET_SIZE(given.ptr()) : 0;
  auto shape = py::reinterpret_steal<py::object>(PyTuple_New(count));
  for (Py_ssize_t d = 0; d < count; ++d) {
    PyObject* number = index_of(PyTuple_GET_ITEM(given.ptr(), d));
    if (!number) {
      if (!PyErr_ExceptionMatches(PyExc_TypeError)) throw py::error_already_set();
      PyErr_Clear();
      fail_type(std::string(op.text).c_str(), "got size ", py::handle(given), "; expected whole numbers");
    }
    PyTuple_SET_ITEM(shape.ptr(), d, number);
  }
  return {shape};
}

// The array first, first + step, ... of `count` numbers. last: the value of the last number, which the
// progression might miss by rounding, or None.
Object progression(Raw first, Raw step, Whole count, DTypeArg dtype, MaybeReal last) {
  const Shape shape{count};
  if (count < 0) count.fail("at least 0");
  Output y = Output::contiguous(dtype.dtype, shape);
  const auto fill = [&](auto* out) {
    ranvier::progression(Real(first), Real(step), count, out);
    if (last.given() && count > 1)
      out[count - 1] = static_cast<std::decay_t<decltype(*out)>>(Real(last).number);
  };
  if (dtype.dtype == DType::float32)
    fill(y.view<float>().data);
  else if (dtype.dtype == DType::float64)
    fill(y.view<double>().data);
  else if (dtype.dtype == DType::int64)
    ranvier::progression(Whole(first), Whole(step), count, y.view<int64_t>().data);
  else
    dtype.wrong_type("float32, float64 or int64");
  return {y.release()};
}

// Reads nested lists of Python's own numbers: their shape, and the highest kind among them (bool, int,
// float).
class Literal {
 public:
  enum Kind { truths, wholes, reals };
  Kind kind = truths;
  Shape shape;

  // Reads `data` at a nesting depth. False if it is no such list, if lists of one depth have different
  // lengths or are empty, or if an int is not exact as a float64.
  bool read(PyObject* data, int depth = 0) {
    if (PyList_CheckExact(data) || PyTuple_CheckExact(data)) {
      const Py_ssize_t n = PySequence_Fast_GET_SIZE(data);
      if (depth == shape.ndim && (found_number_ || depth == kMaxDims)) return false;
      if (depth == shape.ndim) shape.append(n);
      if (n == 0 || n != shape[depth]) return false;
      PyObject* const* items = PySequence_Fast_ITEMS(data);
      for (Py_ssize_t i = 0; i < n; ++i)
        if (!read(items[i], depth + 1)) return false;
      return true;
    }
    found_number_ = true;
    return depth == shape.ndim && read_number(data);
  }

  // Writes the numbers to y, in C order, after read() has returned true. Returns the end.
  template <class T>
  T* write_numbers(PyObject* data, T* y) const {
    if (!PyList_CheckExact(data) && !PyTuple_CheckExact(data)) {
      if constexpr (std::is_floating_point_v<T>) {
        const double number = PyFloat_CheckExact(data) ? PyFloat_AS_DOUBLE(data) : PyLong_AsDouble(data);
        *y = static_cast<T>(number);
      } else {
        *y = static_cast<T>(PyLong_AsLongLong(data));
      }
      return y + 1;
    }
    PyObject* const* items = PySequence_Fast_ITEMS(data);
    for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(data); ++i) y = write_numbers(items[i], y);
    return y;
  }

 private:
  bool read_number(PyObject* x) {
    if (PyFloat_CheckExact(x)) {
      kind = reals;
      return true;
    }
    if (PyBool_Check(x)) return true;
    if (!PyLong_CheckExact(x)) return false;
    // float64 is exact up to here. Beyond, write_numbers() would round to float64 and then to float32; NumPy
    // rounds once.
    constexpr int64_t kExact = int64_t{1} << 53;
    int overflow = 0;
    const int64_t number = PyLong_AsLongLongAndOverflow(x, &overflow);
    if (overflow || number > kExact || number < -kExact) return false;
    kind = std::max(kind, wholes);
    return true;
  }

  bool found_number_ = false;
};

// The array of nested lists of numbers. Its dtype is `floats` if one of them is a float, or if `always`; else
// it is int64, or bool for bools only. None if `data` is no such list (Literal), or has floats while `floats`
// is int64.
Object literal(Raw data, DTypeArg floats, Truth always) {
  Literal list;
#ifdef Py_GIL_DISABLED  // another thread may change the lists meanwhile
  return {py::none()};
#endif
  if (!list.read(data.value.ptr())) return {py::none()};
  const bool real = always || list.kind == Literal::reals;
  DType dtype = DType::boolean;
  if (list.kind == Literal::wholes) dtype = DType::int64;
  if (real) dtype = floats.dtype;
  if (dtype == DType::int64 && list.kind == Literal::reals) return {py::none()};
  Output y = Output::contiguous(dtype, list.shape);
  switch (dtype) {
    case DType::float32:
      list.write_numbers(data.value.ptr(), y.view<float>().data);
      break;
    case DType::float64:
      list.write_numbers(data.value.ptr(), y.view<double>().data);
      break;
    case DType::int64:
      list.write_numbers(data.value.ptr(), y.view<int64_t>().data);
      break;
    case DType::boolean:
      list.write_numbers(data.value.ptr(), y.view<bool>().data);
      break;
    default:
      return {py::none()};
  }
  return {y.release()};
}

}  // namespace

void register_making(Module m) {
  def(m, "_shape(size, op)", shape_from);
  def(m, "_progression(first, step, count, dtype, last=None)", progression);
  def(m, "_literal(data, floats, always=False)", literal);
}

}  // namespace ranvier::bind
