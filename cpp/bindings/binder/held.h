// Reads items, cells and slots of Python's objects quickly, with a GIL and without one.
#pragma once
#include <pybind11/critical_section.h>
#include <pybind11/pytypes.h>

#include <cstdint>

namespace ranvier::bind {

// True if this is the only thread of Python. With a GIL this stays true until the GIL is released.
inline bool is_alone() {
  return !PyThreadState_Next(PyInterpreterState_ThreadHead(PyInterpreterState_Get()));
}

// A Held is a reference that was read from a Python object, and stays valid if another thread replaces it
// there. Without a GIL it is a new reference; with a GIL it is borrowed, which takes less time.
#ifdef Py_GIL_DISABLED
using Held = pybind11::object;
constexpr int kHeldReferences = 1;  // how many references to its object a Held adds
inline Held held(PyObject* reference) {
  if (!reference) PyErr_Clear();
  return pybind11::reinterpret_steal<Held>(reference);
}
inline Held borrowed(PyObject* object) { return pybind11::reinterpret_borrow<Held>(object); }

inline Held item_of(PyObject* list, Py_ssize_t i) { return held(PyList_GetItemRef(list, i)); }
inline Held value_of(PyObject* dict, PyObject* key) {
  PyObject* found = nullptr;
  PyDict_GetItemRef(dict, key, &found);
  return held(found);
}
inline Held content_of(PyObject* cell) { return held(PyCell_Get(cell)); }
inline Held class_attribute(PyTypeObject* type, PyObject* name) {
  return held(_PyType_LookupRef(type, name));
}
#else
using Held = pybind11::handle;
constexpr int kHeldReferences = 0;
inline Held borrowed(PyObject* object) { return object; }

inline Held item_of(PyObject* list, Py_ssize_t i) { return PyList_GET_ITEM(list, i); }
inline Held value_of(PyObject* dict, PyObject* key) {
  PyObject* found = PyDict_GetItemWithError(dict, key);
  if (!found) PyErr_Clear();
  return found;
}
inline Held content_of(PyObject* cell) { return PyCell_GET(cell); }
// The attribute as it stands in the class or in one that it inherits from (a descriptor is not called), or
// null.
inline Held class_attribute(PyTypeObject* type, PyObject* name) { return _PyType_Lookup(type, name); }
#endif

inline int64_t whole_number(pybind11::handle x) {
  const int64_t number = PyLong_AsLongLong(x.ptr());
  if (number == -1 && PyErr_Occurred()) throw pybind11::error_already_set();
  return number;
}

// A slot of an object whose class has __slots__; offset: in bytes, from slot_offset() (tensors/tensors.h).
inline PyObject*& slot_at(PyObject* owner, int64_t offset) {
  return *reinterpret_cast<PyObject**>(reinterpret_cast<char*>(owner) + offset);
}
inline Held slot_of(PyObject* owner, int64_t offset) {
  const pybind11::scoped_critical_section alone(owner);
  return borrowed(slot_at(owner, offset));
}
// Sets a slot. The store is atomic because Python reads slots without a lock.
inline void set_slot(PyObject* owner, int64_t offset, PyObject* value) {
  PyObject* before;
  {
    const pybind11::scoped_critical_section alone(owner);
    PyObject*& slot = slot_at(owner, offset);
    before = slot;
    if (before != value) __atomic_store_n(&slot, Py_NewRef(value), __ATOMIC_RELEASE);
  }
  if (before != value) Py_XDECREF(before);
}

}  // namespace ranvier::bind
