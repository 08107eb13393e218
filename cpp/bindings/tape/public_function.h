// Tells the objects that stand for PyTorch's functions (public_function.cpp) from others.
#pragma once
#include <Python.h>

namespace ranvier::bind {

bool is_public(PyObject* func);     // true for such a function or method, and for the getter of an attribute
bool is_in_python(PyObject* func);  // true if PyTorch's function of this name is written in Python
bool within_public_function();      // true while this thread is in a call of such a function

}  // namespace ranvier::bind
