// The class of cells, and how they are made, changed and freed (cell.h).
#include "bindings/tensors/cell.h"

#include <structmember.h>

#include <new>

#include "bindings/binder/define.h"
#include "bindings/binder/methods.h"
#include "bindings/tensors/grad_mode.h"
#include "bindings/tensors/tensors.h"

namespace ranvier::bind {
namespace {

PyTypeObject* g_cell;         // the class
thread_local int64_t t_call;  // the number of the innermost call of vmap that this thread is in; 0: none

py::object new_object_of(PyTypeObject* type, bool inference) {
  py::object made = checked(_PyObject_New(type));
  Cell& cell = cell_at(made.ptr());
  new (&cell.changes) std::atomic<int64_t>(0);
  cell.changed_last = cell.links = nullptr;
  cell.call = t_call;
  cell.borrowed = cell.unwatched = cell.aliased = 0;
  cell.inference = static_cast<char>(inference);
  return made;
}

// For Py_tp_new: `_core._Cell()`.
PyObject* construct(PyTypeObject* type, PyObject*, PyObject*) {
  return detail::guarded([&] { return new_object_of(type, false).release().ptr(); });
}

// A cell refers to an array and to weak references alone, so that no cycle can lead through it: it is
// unknown to Python's garbage collector.
void free_cell(PyObject* self) {
  PyTypeObject* const type = Py_TYPE(self);
  Py_XDECREF(cell_at(self).changed_last);
  Py_XDECREF(cell_at(self).links);
  type->tp_free(self);
  Py_DECREF(type);
}

// Each text is the type of the member in the stub.
PyMemberDef g_members[] = {{"changes", T_LONGLONG, offsetof(Cell, changes), 0, "int"},
                           {"changed_last", T_OBJECT, offsetof(Cell, changed_last), 0, "Array | None"},
                           {"links", T_OBJECT, offsetof(Cell, links), READONLY, "list[Any] | None"},
                           {"call", T_LONGLONG, offsetof(Cell, call), READONLY, "int"},
                           {"borrowed", T_BOOL, offsetof(Cell, borrowed), 0, "bool"},
                           {"unwatched", T_BOOL, offsetof(Cell, unwatched), 0, "bool"},
                           {"aliased", T_BOOL, offsetof(Cell, aliased), 0, "bool"},
                           {"inference", T_BOOL, offsetof(Cell, inference), 0, "bool"},
                           {nullptr, 0, 0, 0, nullptr}};
PyType_Slot g_cell_slots[] = {
    {Py_tp_new, slot(construct)}, {Py_tp_dealloc, slot(free_cell)}, {Py_tp_members, g_members}, {0, nullptr}};
PyType_Spec g_spec{"ranvier._core._Cell", sizeof(Cell), 0, Py_TPFLAGS_DEFAULT, g_cell_slots};

}  // namespace

bool is_cell(PyObject* object) { return Py_IS_TYPE(object, g_cell); }

py::object new_cell() { return new_object_of(g_cell, is_inference()); }

void append_link(PyObject* cell, PyObject* link) {
  Held links = links_of(cell);
  if (!links) {
    const py::scoped_critical_section alone(cell);
    PyObject*& list = cell_at(cell).links;
    if (!list) {  // else another thread has made it meanwhile
      list = checked(PyList_New(0)).release().ptr();
      leave_to_counts(list);
    }
    links = borrowed(list);
  }
  if (PyList_Append(links.ptr(), link) < 0) throw py::error_already_set();
}

void register_cell(Module m) {
  g_cell = add_type(m, g_spec);
  def(m, "_set_call_of_vmap(number)", [](Whole number) { t_call = number.number; });
}

}  // namespace ranvier::bind
