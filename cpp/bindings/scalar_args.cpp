// Attributes of a call: numbers, words, truth values and axes.
#define NPY_NO_DEPRECATED_API NPY_1_22_API_VERSION
#define NPY_TARGET_VERSION NPY_1_22_API_VERSION
#define PY_ARRAY_UNIQUE_SYMBOL ranvier_array_api
#define NO_IMPORT_ARRAY
#include <numpy/arrayobject.h>

#include "bindings/array_args.h"

namespace ranvier::bind {

double real_number(const char* op, const char* name, py::handle value) {
  const PyNumberMethods* methods = Py_TYPE(value.ptr())->tp_as_number;
  const bool number =
      methods && (methods->nb_float || methods->nb_index) && !PyArray_IsScalar(value.ptr(), ComplexFloating);
  const double x = number ? PyFloat_AsDouble(value.ptr()) : -1;
  if (!number || (x == -1 && PyErr_Occurred())) {
    const bool large = number && PyErr_ExceptionMatches(PyExc_OverflowError);
    PyErr_Clear();
    const std::string text = std::string("got ") + name + " ";
    if (large) fail_value(op, text + "beyond the largest float64; expected a number");
    fail_type(op, text + std::string(py::repr(value)) + "; expected a number");
  }
  return x;
}

int64_t whole_number(const char* op, const char* name, py::handle value, const char* expected) {
  const bool number = PyIndex_Check(value.ptr()) && !PyBool_Check(value.ptr());
  const py::object index = py::reinterpret_steal<py::object>(number ? PyNumber_Index(value.ptr()) : nullptr);
  if (!index) {
    PyErr_Clear();
    fail_type(op, std::string("got ") + name + " " + std::string(py::repr(value)) + "; expected " + expected);
  }
  int overflow = 0;
  const int64_t n = PyLong_AsLongLongAndOverflow(index.ptr(), &overflow);
  return overflow ? (overflow > 0 ? INT64_MAX : INT64_MIN) : n;
}

std::string word(const char* op, const char* name, py::handle value) {
  if (!PyUnicode_Check(value.ptr()))
    fail_type(op, std::string("got ") + name + " " + std::string(py::repr(value)) + "; expected a string");
  const char* text = PyUnicode_AsUTF8(value.ptr());  // kept by the string: no bytes object in between
  if (!text) throw py::error_already_set();
  return text;
}

bool truth(const char* op, const char* name, py::handle value) {
  if (!PyBool_Check(value.ptr()) && !PyArray_IsScalar(value.ptr(), Bool))
    fail_type(op,
              std::string("got ") + name + " " + std::string(py::repr(value)) + "; expected True or False");
  return PyObject_IsTrue(value.ptr()) == 1;
}

int axis_number(const char* op, py::handle value, int ndim) {
  const int64_t axis = whole_number(op, "axis", value);
  if (axis < -ndim || axis >= ndim)
    fail_value(op, "got axis " + std::to_string(axis) + " for an array of " + std::to_string(ndim) +
                       " dimensions; expected " +
                       (ndim ? std::to_string(-ndim) + " to " + std::to_string(ndim - 1)
                             : "at least one dimension"));
  return static_cast<int>(axis < 0 ? axis + ndim : axis);
}

}  // namespace ranvier::bind
