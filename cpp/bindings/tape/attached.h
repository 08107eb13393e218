// Values that the library keeps for objects of the user, such as the recorded call of a module
// (nn/call_counts.py). They are in a table of the core and not in the object's __dict__, which the user may
// read, copy or save.
#pragma once
#include <pybind11/pytypes.h>

namespace ranvier::bind {

namespace py = pybind11;

// The object of a weak reference, or null if it no longer exists.
py::object referent(PyObject* reference);

// The value that is kept for an object under a key, or null. Keys are strings compared by identity, so a
// caller always passes the same string object.
py::object attached(PyObject* object, PyObject* key);

}  // namespace ranvier::bind
