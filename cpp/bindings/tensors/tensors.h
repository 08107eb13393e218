// The class Tensor of the Python layer (tensors/tensor.py): the members of its objects, and functions that
// make Tensors. All need the GIL (or, without one, a thread state). Python calls _set_tensor_class() once
// while the library is imported; nothing here may be called before.
#pragma once
#include <cstdint>

#include "bindings/binder/errors.h"
#include "bindings/tensors/cell.h"

namespace ranvier::bind {

namespace py = pybind11;

// The offsets in bytes of a Tensor's slots (_array, _grad ...), for slot_of() in binder/held.h. To look up
// an attribute by its name would take ten times as long.
struct TensorSlots {
  int64_t array, grad, requires_grad, grad_fn, view, cell;
};
const TensorSlots& tensor_slots();

// The offset of a slot of a class with __slots__. TypeError if the class has no slot of this name.
int64_t slot_offset(PyTypeObject* type, PyObject* name);

PyTypeObject* tensor_class();
// True if a Tensor has its array. A class of Tensors that makes it when it is read makes it here.
bool has_array(PyObject* tensor);
// The array of a Tensor; empty if x is no Tensor, or if its array is missing or of a subclass of ndarray.
Held plain_array_of(PyObject* x);
bool has_attributes(PyObject* tensor);  // true if the user has set attributes, which may hide methods
// Removes an object that cannot be part of a cycle from Python's garbage collector; its reference count alone
// frees it. The collector visits every object that it knows.
inline void leave_to_counts(PyObject* object) { PyObject_GC_UnTrack(object); }
py::object new_object(PyObject* type);  // without a call of __init__
// A Tensor of this array. maker: the Function whose result it is, or None. cell: of its memory (cell.h);
// null if the caller sets it later.
py::object new_tensor(PyObject* array, bool requires_grad = false, PyObject* maker = Py_None,
                      const py::object& cell = new_cell());

}  // namespace ranvier::bind
