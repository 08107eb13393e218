// Values that the library keeps for objects of the user's, as the replays of a module: in a table of the
// core, so that an object's __dict__ has nothing but its own.
#pragma once
#include <pybind11/pytypes.h>

namespace ranvier::bind {

namespace py = pybind11;

// The object of a weak reference; null: it is gone.
py::object referent(PyObject* reference);

// The value that is kept for an object under a key, a string that is always the same object; null: nothing.
py::object attached(PyObject* object, PyObject* key);

}  // namespace ranvier::bind
