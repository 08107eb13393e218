// Batched arrays: what a Tensor has in place of its array while vmap maps a function over its slices
// (tensors/batched.py). A kernel that gets one has to run on all slices: define.cpp passes such a call to
// Python.
#pragma once
#include <pybind11/pytypes.h>

namespace ranvier::bind {

namespace py = pybind11;

// True if x is a batched array. All others pass with one comparison.
bool is_batched(PyObject* x);
// The class of Tensors that have batched arrays.
PyTypeObject* batched_tensor_class();
// What check_array() throws for a batched array, before any kernel has run.
struct BatchedArgument {};
// The result of the kernel of this name, as Python computes it on all slices.
py::object on_slices(const char* kernel, PyObject* const* given, Py_ssize_t positional, PyObject* keywords);

}  // namespace ranvier::bind
