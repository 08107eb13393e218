// Notes which Tensors share memory, and which are views, in Tensor._cell and Tensor._view (tensors/views.py).
#pragma once
#include <pybind11/pytypes.h>

namespace ranvier::bind {

namespace py = pybind11;

// Notes that `view`, a new Tensor, is the view of x that the Function made. recording: gradients are enabled.
void join(PyObject* view, PyObject* x, PyObject* function, bool recording);
// Marks a tuple of views, made by one call, as several. On the tape, such a view cannot be changed in place.
void mark_several(PyObject* views);
// Notes that a tuple of new Tensors are several views of x that were made without a Function.
void join_several(PyObject* views, PyObject* x);
// Counts a change in place of `array` in the cell of its memory (cell.h). Throws nothing.
void count_change(PyObject* cell, PyObject* array);
// The object of a weak reference, or null if it no longer exists.
py::object target_of(PyObject* link);

}  // namespace ranvier::bind
