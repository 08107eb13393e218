// Views of arrays, and forward of the Functions that give them.
#pragma once
#include <pybind11/pytypes.h>

#include "bindings/binder/numpy_api.h"

namespace ranvier::bind {

namespace py = pybind11;

py::object shape_of(PyArrayObject* x);  // a tuple
// A view of the memory of x; it can be written where x can.
py::object strided(PyArrayObject* x, int ndim, const npy_intp* shape, const npy_intp* strides, char* data);
// A key of integers, slices, None and Ellipsis, for which x[key] is a view; empty: the key has other parts.
// Integers in Tensors are read.
py::object basic_key(PyObject* key);
// x[key] of an array and a basic key.
py::object places_of(PyObject* x, PyObject* key);
// The slices begin ... begin + count - 1 along a dimension; count < 0: one, without that dimension.
py::object part_of(PyArrayObject* x, int dim, int64_t begin, int64_t count);

// The attributes that make such a Function: a shape, the order of dimensions, a key; a place: (offset,
// dim1, dim2) of Diagonal, (dim, size, step) of Unfold.
struct Settings {
  PyObject *target, *dims, *key, *place;
};
const Settings& settings();

// forward of Reshape, Permute, Expand, Getitem, Diagonal and Unfold: methods of Function, of one array.
py::object reshaped(PyObject* self, PyObject* const* x, Py_ssize_t);
py::object permuted(PyObject* self, PyObject* const* x, Py_ssize_t);
py::object expanded(PyObject* self, PyObject* const* x, Py_ssize_t);
py::object picked(PyObject* self, PyObject* const* x, Py_ssize_t);
py::object on_diagonal(PyObject* self, PyObject* const* x, Py_ssize_t);
py::object in_windows(PyObject* self, PyObject* const* x, Py_ssize_t);

}  // namespace ranvier::bind
