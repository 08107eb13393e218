// Makes PyMethodDefs of C++ functions ("bodies") that Python calls with positional arguments only and that
// check their arguments themselves. They serve the Python layer of the library, not users, and need less code
// and memory for each than def() (define.h), which reads names, defaults and types. Bodies run with the GIL;
// their arguments are borrowed references, which the caller in Python keeps for the length of the call.
#pragma once
#include <pybind11/pytypes.h>

namespace ranvier::bind {

namespace py = pybind11;

// A function as the void* that a PyType_Slot holds.
template <class F>
void* slot(F* function) {
  return reinterpret_cast<void*>(function);
}

// self: the module for a function, the object for a method. It may throw; run_body() catches that.
using Body = py::object (*)(PyObject* self, PyObject* const* arguments, Py_ssize_t count);
constexpr int kAnyNumber = -1;  // as the `expected` of a body that takes any number of arguments

// Runs the body on the `count` arguments of a call. Returns its result as a new reference, or null with
// Python's error set: also where `count` is not the number of arguments that the body expects.
PyObject* run_body(Body body, PyObject* self, PyObject* const* arguments, Py_ssize_t count,
                   Py_ssize_t expected);

// What Python calls: the function of a PyMethodDef has no place for data, so each body gets a function of its
// own.
template <Body body, int expected>
PyObject* run_method(PyObject* self, PyObject* const* arguments, Py_ssize_t count) {
  return run_body(body, self, arguments, count, expected);
}

// expected: the number of arguments, or kAnyNumber. signature: the line of the stub, "name(a: Any) -> Any".
template <Body body, int expected>
PyMethodDef method(const char* name, const char* signature) {
  return {name, reinterpret_cast<PyCFunction>(slot(run_method<body, expected>)), METH_FASTCALL, signature};
}

}  // namespace ranvier::bind
