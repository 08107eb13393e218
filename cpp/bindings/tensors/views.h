// Tensors that share memory, and views: what Tensor._cell and Tensor._view hold (tensors/views.py).
#pragma once
#include <pybind11/pytypes.h>

namespace ranvier::bind {

namespace py = pybind11;

// Notes that a new Tensor is the view of x that the Function made.
void join(PyObject* view, PyObject* x, PyObject* function, bool recording);
// Marks the views that one call made as several.
void mark_several(PyObject* views);
// Notes that new Tensors are several views of x, which no Function has made.
void join_several(PyObject* views, PyObject* x);
// Counts a change in place of an array that has the memory of a cell. Throws nothing.
void count_change(PyObject* cell, PyObject* array);
// The object of a weak reference; null: it is gone.
py::object target_of(PyObject* link);

}  // namespace ranvier::bind
