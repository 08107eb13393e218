// Calls of Functions of the Python layer.
#pragma once
#include <pybind11/pytypes.h>

namespace ranvier::bind {

namespace py = pybind11;

// function.apply(x) for a Tensor.
py::object applied_to(PyObject* function, PyObject* x);
// Whether what follows a program's calls has put another function in the place of Function.apply.
bool is_apply_replaced();

}  // namespace ranvier::bind
