// Reads the arguments of shape ops, and makes their views (shape_operand.h).
#include "bindings/ops/shape_operand.h"

#include <algorithm>

#include "bindings/binder/batched.h"
#include "bindings/binder/held.h"
#include "bindings/tape/observers.h"
#include "bindings/tape/tape.h"
#include "bindings/tensors/tensors.h"

namespace ranvier::bind {
namespace {

PyObject* g_readers;  // the tuple of set_readers(), in the order of Reader
enum Reader { kAsTensor, kSizes, kDim, kSomeDim };

py::object read_by(Reader reader, PyObject* op, PyObject* a, PyObject* b = nullptr) {
  return checked(PyObject_CallFunctionObjArgs(PyTuple_GET_ITEM(g_readers, reader), op, a, b, nullptr));
}

}  // namespace

void set_readers(PyObject* functions) { g_readers = Py_NewRef(functions); }

int64_t clamped(PyObject* number) {
  constexpr int64_t most = int64_t{1} << 62;
  int overflow = 0;
  const int64_t n = PyLong_AsLongLongAndOverflow(number, &overflow);
  return overflow ? overflow * most : std::clamp(n, -most, most);
}

py::object tuple_of(PyObject* argument) { return checked(PyTuple_Pack(1, argument)); }

ShapeOperand::ShapeOperand(PyObject* const* arguments) : op(arguments[0]) {
  if (PyObject_TypeCheck(arguments[1], tensor_class())) {
    tensor = py::reinterpret_borrow<py::object>(arguments[1]);
  } else {
    tensor = read_by(kAsTensor, op, arguments[1]);
  }
  if (!has_array(tensor.ptr()) || !PyArray_Check(slot_of(tensor.ptr(), tensor_slots().array).ptr()))
    fail(Fault::type, "got a Tensor without a call of its __init__; expected one with data");
  if (is_batched(reinterpret_cast<PyObject*>(array())) && !is_observed())
    fail(Fault::type, "got a Tensor from within a call of vmap that has ended; expected its result");
}

PyArrayObject* ShapeOperand::array() const { return as_array(slot_of(tensor.ptr(), tensor_slots().array)); }

int ShapeOperand::dim(PyObject* number, int count) const {
  if (PyLong_CheckExact(number)) {
    const int64_t d = clamped(number);
    const int64_t from_front = d < 0 ? d + count : d;
    if (0 <= from_front && from_front < count) return static_cast<int>(from_front);
  }
  const py::object whole = checked(PyLong_FromLong(count));
  return static_cast<int>(whole_number(read_by(kDim, op, number, whole.ptr())));
}

int ShapeOperand::some_dim(PyObject* number) const {
  if (ndim() == 0) read_by(kSomeDim, op, tensor.ptr(), number);  // raises
  return dim(number);
}

py::object ShapeOperand::sizes(PyObject* arguments) const {
  PyObject* items = arguments;
  if (PyTuple_CheckExact(items) && PyTuple_GET_SIZE(items) == 1 &&
      !PyLong_CheckExact(PyTuple_GET_ITEM(items, 0)))
    items = PyTuple_GET_ITEM(items, 0);
  if (!PyTuple_Check(items) && !PyList_CheckExact(items)) return read_by(kSizes, op, arguments);
  // A Size is a subclass of tuple; it becomes a plain tuple.
  py::object tuple;
  if (PyTuple_CheckExact(items)) {
    tuple = py::reinterpret_borrow<py::object>(items);
  } else {
    tuple = checked(PySequence_Tuple(items));
  }
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(tuple.ptr()); ++i)
    if (!PyLong_CheckExact(PyTuple_GET_ITEM(tuple.ptr(), i))) return read_by(kSizes, op, arguments);
  return tuple;
}

py::object ShapeOperand::view(const Kind& kind, const py::object& setting) const {
  const py::object node = new_object(kind.type);
  if (PyObject_SetAttr(node.ptr(), kind.attribute, setting.ptr()) < 0) throw py::error_already_set();
  return applied_to(node.ptr(), tensor.ptr());
}

py::object ShapeOperand::view(const Kind& kind, const Setting& setting) const {
  return view(kind, checked(PyArray_IntTupleFromIntp(setting.count, setting.at)));
}

py::object ShapeOperand::fitting(const Kind& kind, const py::object& setting) const {
  try {
    return view(kind, setting);
  } catch (py::error_already_set& error) {
    for (PyObject* type : {PyExc_TypeError, PyExc_ValueError, PyExc_OverflowError})
      if (error.matches(type)) return {};
    throw;
  }
}

void ShapeOperand::fail_shape(const py::object& target, const char* expected) const {
  fail(Fault::value, "got shape ", target, " for x of shape ", shape_of(array()), "; expected ", expected);
}

}  // namespace ranvier::bind
