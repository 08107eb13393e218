// The objects that `torch` has as functions, as others see them.
#pragma once
#include <Python.h>

namespace ranvier::bind {

bool is_public(PyObject* func);     // one of them, or what reads an attribute of Tensor
bool is_in_python(PyObject* func);  // PyTorch's is written in Python

}  // namespace ranvier::bind
