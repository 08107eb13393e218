// What Python objects hold, read so that another thread may replace it meanwhile: where Python has no GIL,
// each is a new reference. With a GIL they are borrowed, which takes less time.
#pragma once
#include <pybind11/critical_section.h>
#include <pybind11/pytypes.h>

namespace ranvier::bind {

#ifdef Py_GIL_DISABLED
using Held = pybind11::object;
constexpr int kHeldReferences = 1;  // that a Held has
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
// Found in the class or one it inherits from, without descriptors; null: nothing is.
inline Held class_attribute(PyTypeObject* type, PyObject* name) { return _PyType_Lookup(type, name); }
#endif

// A member of a class with __slots__, by its offset.
inline PyObject*& slot_at(PyObject* owner, int64_t offset) {
  return *reinterpret_cast<PyObject**>(reinterpret_cast<char*>(owner) + offset);
}
inline Held slot_of(PyObject* owner, int64_t offset) {
  const pybind11::scoped_critical_section alone(owner);
  return borrowed(slot_at(owner, offset));
}
// Python reads a slot without a lock.
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
