// The cell of a memory: what is known of the memory, in one object that all its Tensors hold as
// Tensor._cell.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "bindings/binder/held.h"

namespace ranvier::bind {

namespace py = pybind11;

// An object of the class `_core._Cell`; tensors/views.py explains the members, which Python sees under the
// same names. Without a GIL the objects are read by slot_of(), the count by counted_changes().
struct Cell {
  PyObject_HEAD std::atomic<int64_t> changes;  // how often the memory was changed in place
  PyObject* changed_last;                      // the array through which it was changed last; null: none
  PyObject* links;  // a list of weak references to Tensors that share the memory; null: none so far
  int64_t call;     // the number of the innermost call of vmap within which it was made; 0: none
  char borrowed, unwatched, aliased, inference;
};

bool is_cell(PyObject* object);
inline Cell& cell_at(PyObject* cell) { return *reinterpret_cast<Cell*>(cell); }
py::object new_cell();  // for a Tensor that shares its memory with no other

inline int64_t counted_changes(PyObject* cell) {
  return cell_at(cell).changes.load(std::memory_order_relaxed);
}
inline Held changed_last(PyObject* cell) { return slot_of(cell, offsetof(Cell, changed_last)); }

// The weak references ("links") to Tensors that share the memory: a list, or null if there has been none.
inline Held links_of(PyObject* cell) { return slot_of(cell, offsetof(Cell, links)); }
inline Py_ssize_t count_of(const Held& links) { return links ? PyList_GET_SIZE(links.ptr()) : 0; }
void append_link(PyObject* cell, PyObject* link);

}  // namespace ranvier::bind
