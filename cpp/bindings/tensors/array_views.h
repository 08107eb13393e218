// Makes views of NumPy arrays: other shapes and strides on the same memory. The second half declares
// `forward` of the Functions whose results are views.
#pragma once
#include <pybind11/pytypes.h>

#include "bindings/binder/numpy_api.h"

namespace ranvier::bind {

namespace py = pybind11;

py::object shape_of(PyArrayObject* x);  // a tuple
// A view of x's memory with x's dtype. strides: in bytes; data: the address of the view's first element. The
// view is writable if x is.
py::object strided(PyArrayObject* x, int ndim, const npy_intp* shape, const npy_intp* strides, char* data);
// True if no view of x has this shape, of as many elements: a reshape has to copy them. A size of -1 stands
// for the one that fits. False for a shape that does not fit x.
bool has_to_copy(PyArrayObject* x, const npy_intp* target, int count);
// The key if x[key] is a view: an integer, slice, None or Ellipsis, or a tuple of them. Integers in Tensors
// without dimensions are replaced by their values. Empty if the key has other parts.
py::object basic_key(PyObject* key);
// The view x[key] of an array x, for a key that basic_key() has returned.
py::object places_of(PyObject* x, PyObject* key);
// The view of the slices begin ... begin + count - 1 along a dimension. count < 0: of slice `begin` only,
// without that dimension.
py::object part_of(PyArrayObject* x, int dim, int64_t begin, int64_t count);

// The names of the attributes that say which view a Function gives.
struct Settings {
  PyObject* target;  // a shape (Reshape, Expand)
  PyObject* dims;    // the order of dimensions (Permute)
  PyObject* key;     // an index (Getitem)
  PyObject* place;   // (offset, dim1, dim2) of Diagonal, (dim, size, step) of Unfold
};
const Settings& settings();

// `forward` of Reshape, Permute, Expand, Getitem, Diagonal and Unfold, in this order. self: the Function; x:
// one array. They save on self what backward needs, such as x's shape.
py::object reshaped(PyObject* self, PyObject* const* x, Py_ssize_t);
py::object permuted(PyObject* self, PyObject* const* x, Py_ssize_t);
py::object expanded(PyObject* self, PyObject* const* x, Py_ssize_t);
py::object picked(PyObject* self, PyObject* const* x, Py_ssize_t);
py::object on_diagonal(PyObject* self, PyObject* const* x, Py_ssize_t);
py::object in_windows(PyObject* self, PyObject* const* x, Py_ssize_t);

}  // namespace ranvier::bind
