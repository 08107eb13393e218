// Functions and methods that Python calls with positional arguments alone, and that check these themselves:
// those for the layers above the core, not for programs. def() stores and compiles more for each.
#pragma once
#include <pybind11/pytypes.h>

namespace ranvier::bind {

namespace py = pybind11;

// A function as a slot of a type has it.
template <class F>
void* slot(F* function) {
  return reinterpret_cast<void*>(function);
}

using Body = py::object (*)(PyObject* self, PyObject* const* arguments, Py_ssize_t count);

// The body's result, or null and Python's error. count: of the arguments; -1: any.
PyObject* run_body(Body body, PyObject* self, PyObject* const* given, Py_ssize_t of_call, Py_ssize_t count);

template <Body body, int count>
PyObject* run_method(PyObject* self, PyObject* const* given, Py_ssize_t of_call) {
  return run_body(body, self, given, of_call, count);
}

// signature: as the stub has it, "name(a: Any) -> Any".
template <Body body, int count>
PyMethodDef method(const char* name, const char* signature) {
  return {name, reinterpret_cast<PyCFunction>(slot(run_method<body, count>)), METH_FASTCALL, signature};
}

}  // namespace ranvier::bind
