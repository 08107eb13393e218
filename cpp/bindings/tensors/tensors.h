// The class Tensor of the Python layer: where its objects have their members, and new ones.
#pragma once
#include <cstdint>

#include "bindings/binder/errors.h"

namespace ranvier::bind {

namespace py = pybind11;

// The members of a Tensor, by their offsets: an attribute lookup takes ten times as long.
struct TensorSlots {
  int64_t array, grad, requires_grad, grad_fn, view, cell;
};
const TensorSlots& tensor_slots();

// The place of a member of a class with __slots__; TypeError where it has none of this name.
int64_t slot_offset(PyTypeObject* type, PyObject* name);

PyTypeObject* tensor_class();
bool has_attributes(PyObject* tensor);  // true if the user has set attributes: they may hide methods
// Removes an object that cannot be a part of a cycle from Python's garbage collector, whose full runs visit
// every object and become more frequent with their number.
inline void leave_to_counts(PyObject* object) { PyObject_GC_UnTrack(object); }
// Shared by all Tensors of one memory: the list Tensor._cell (tensors/views.py): the places in it, and
// flags.
enum CellPlace : Py_ssize_t { kChanges, kChangedLast, kFlags, kFirstLink };
constexpr int64_t kBorrowed = 4, kUnwatched = 8, kInference = 32;
py::object new_cell();  // the cell of a Tensor that shares memory with no other: see Tensor._cell
py::object new_object(PyObject* type);  // without a call of __init__
// A Tensor of this array. maker: the Function whose result it is. cell: null where the caller sets it.
py::object new_tensor(PyObject* array, bool requires_grad = false, PyObject* maker = Py_None,
                      const py::object& cell = new_cell());

}  // namespace ranvier::bind
