#include "bindings/operand.h"

#include <algorithm>

#include "bindings/errors.h"
#include "bindings/guards.h"
#include "bindings/tape.h"
#include "bindings/tensors.h"

namespace ranvier::bind {
namespace {

PyObject *g_as_tensor, *g_sizes, *g_dim, *g_some_dim;

}  // namespace

void set_readers(PyObject* as_tensor, PyObject* sizes, PyObject* dim, PyObject* some_dim) {
  g_as_tensor = as_tensor, g_sizes = sizes, g_dim = dim, g_some_dim = some_dim;
}

int64_t clamped(PyObject* number) {
  constexpr int64_t most = int64_t{1} << 62;
  int overflow = 0;
  const int64_t n = PyLong_AsLongLongAndOverflow(number, &overflow);
  return overflow ? overflow * most : std::clamp(n, -most, most);
}

Operand::Operand(const Raw& op, const Raw& input) : op(op) {
  tensor =
      PyObject_TypeCheck(input.value.ptr(), tensor_class())
          ? py::reinterpret_borrow<py::object>(input.value)
          : checked(PyObject_CallFunctionObjArgs(g_as_tensor, op.value.ptr(), input.value.ptr(), nullptr));
  if (const Held own = slot_of(tensor.ptr(), tensor_slots().array); !own || !PyArray_Check(own.ptr()))
    fail_type(name(), "got a Tensor without a call of its __init__; expected one with data");
}

const char* Operand::name() const { return PyUnicode_AsUTF8(op.value.ptr()); }
PyArrayObject* Operand::array() const { return as_array(slot_of(tensor.ptr(), tensor_slots().array)); }

int Operand::dim(PyObject* number, int count) const {
  if (PyLong_CheckExact(number)) {
    int overflow = 0;
    const long d = PyLong_AsLongAndOverflow(number, &overflow);  // 0 beyond its range
    if (!overflow && -count <= d && d < count) return static_cast<int>(d < 0 ? d + count : d);
  }
  const py::object whole = checked(PyLong_FromLong(count));
  return static_cast<int>(whole_number(
      checked(PyObject_CallFunctionObjArgs(g_dim, op.value.ptr(), number, whole.ptr(), nullptr))));
}

int Operand::some_dim(const Raw& number) const {
  if (ndim() > 0) return dim(number);
  checked(
      PyObject_CallFunctionObjArgs(g_some_dim, op.value.ptr(), tensor.ptr(), number.value.ptr(), nullptr));
  return 0;  // not reached
}

py::object Operand::sizes(PyObject* arguments) const {
  PyObject* items = arguments;
  if (PyTuple_CheckExact(items) && PyTuple_GET_SIZE(items) == 1) items = PyTuple_GET_ITEM(items, 0);
  if (PyLong_CheckExact(items) && items != arguments) items = arguments;
  py::object tuple;
  if (PyTuple_CheckExact(items))
    tuple = py::reinterpret_borrow<py::object>(items);
  else if (PyTuple_Check(items) || PyList_CheckExact(items))
    tuple = checked(PySequence_Tuple(items));
  bool plain = static_cast<bool>(tuple);
  for (Py_ssize_t i = 0; plain && i < PyTuple_GET_SIZE(tuple.ptr()); ++i)
    plain = PyLong_CheckExact(PyTuple_GET_ITEM(tuple.ptr(), i));
  return plain ? tuple : checked(PyObject_CallFunctionObjArgs(g_sizes, op.value.ptr(), arguments, nullptr));
}

py::object Operand::sizes_of(const Raw& argument) const {
  return sizes(checked(PyTuple_Pack(1, argument.value.ptr())).ptr());
}

py::object Operand::view(const Kind& kind, const py::object& setting) const {
  const py::object node = new_object(kind.type);
  if (PyObject_SetAttr(node.ptr(), kind.attribute, setting.ptr()) < 0) throw py::error_already_set();
  return applied_to(node.ptr(), tensor.ptr());
}

py::object Operand::view(const Kind& kind, const std::vector<npy_intp>& numbers) const {
  return view(kind, checked(PyArray_IntTupleFromIntp(static_cast<int>(numbers.size()), numbers.data())));
}

py::object Operand::fitting(const Kind& kind, const py::object& setting) const {
  try {
    return view(kind, setting);
  } catch (py::error_already_set& error) {
    const auto is = [&](PyObject* type) { return error.matches(type); };
    if (!is(PyExc_TypeError) && !is(PyExc_ValueError) && !is(PyExc_OverflowError)) throw;
    return {};
  }
}

void Operand::fail_shape(const py::object& target, const char* expected) const {
  fail_value(name(), "got shape ", target, " for x of shape ", shape_of(array()), expected);
}

void Operand::fail(const char* expected) const {
  fail_value(name(), "got x of shape ", shape_of(array()), expected);
}

}  // namespace ranvier::bind
