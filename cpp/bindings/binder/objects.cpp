// What objects.h declares.
#include "bindings/binder/objects.h"

namespace ranvier::bind::py {

object handle::attr(const char* name) const { return checked(PyObject_GetAttrString(object_, name)); }

void handle::set_attr(const char* name, handle value) const {
  check(PyObject_SetAttrString(object_, name, value.ptr()));
}

object caught() {
  PyObject *type, *error, *trace;
  PyErr_Fetch(&type, &error, &trace);
  if (!type) {  // a function has failed without saying why
    PyErr_SetString(PyExc_SystemError, "[_core] got a failure without an error; expected an error of Python");
    PyErr_Fetch(&type, &error, &trace);
  }
  PyErr_NormalizeException(&type, &error, &trace);
  if (trace) PyException_SetTraceback(error, trace);
  Py_XDECREF(type);
  Py_XDECREF(trace);
  return reinterpret_steal<object>(error);
}

void raise_again(const object& error) {
  PyErr_Restore(Py_NewRef(Py_TYPE(error.ptr())), Py_NewRef(error.ptr()),
                PyException_GetTraceback(error.ptr()));
}

str::str(const std::string& text)
    : object(checked(PyUnicode_FromStringAndSize(text.data(), static_cast<Py_ssize_t>(text.size())))) {}

str::operator std::string() const {
  Py_ssize_t size = 0;
  const char* const text = PyUnicode_AsUTF8AndSize(ptr(), &size);
  if (!text) throw error_already_set();
  return {text, static_cast<size_t>(size)};
}

object sequence::operator[](size_t i) const {
  if (i >= size()) raise(PyExc_IndexError, "[_core] got the place of an item that is not there");
  return reinterpret_borrow<object>(begin()[i]);
}

void raise(PyObject* type, const std::string& text) {
  PyErr_SetString(type, text.c_str());
  throw error_already_set();
}

}  // namespace ranvier::bind::py
