// Makes PyMethodDefs of C++ functions ("bodies") that Python calls with positional arguments only and that
// check their arguments themselves. They serve the Python layer of the library, not users, and need less code
// and memory for each than def() (define.h), which reads names, defaults and types.
#pragma once
#include <pybind11/pytypes.h>

namespace ranvier::bind {

namespace py = pybind11;

// A function as the void* that a PyType_Slot holds.
template <class F>
void* slot(F* function) {
  return reinterpret_cast<void*>(function);
}

using Body = py::object (*)(PyObject* self, PyObject* const* arguments, Py_ssize_t count);

// Runs the body on the of_call arguments of a call: its result, or null with Python's error set. count: how
// many arguments the body takes; -1: any number.
PyObject* run_body(Body body, PyObject* self, PyObject* const* given, Py_ssize_t of_call, Py_ssize_t count);

template <Body body, int count>
PyObject* run_method(PyObject* self, PyObject* const* given, Py_ssize_t of_call) {
  return run_body(body, self, given, of_call, count);
}

// signature: the line of the stub, "name(a: Any) -> Any".
template <Body body, int count>
PyMethodDef method(const char* name, const char* signature) {
  return {name, reinterpret_cast<PyCFunction>(slot(run_method<body, count>)), METH_FASTCALL, signature};
}

}  // namespace ranvier::bind
