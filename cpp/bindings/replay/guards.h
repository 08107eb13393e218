// Guards: what a recorded step has read in Python, and whether that is still so.
//
// A guard names one place (an item of a dict, an attribute, a cell, the contents of a list ...) and what was
// there when the step was recorded. Plain values and NumPy scalars are compared by value (0.0 and
// -0.0 differ), all else by identity. A guard holds references, so an address never means two objects.
#pragma once
#include <pybind11/critical_section.h>
#include <pybind11/pytypes.h>

#include <vector>

namespace ranvier::bind {

// True if this is the only thread. With a GIL nobody adds one before it is released.
inline bool is_alone() {
  return !PyThreadState_Next(PyInterpreterState_ThreadHead(PyInterpreterState_Get()));
}

// A reference read from a Python object, safe if another thread replaces it meanwhile: where Python has no
// GIL, each is a new reference. With a GIL they are borrowed, which takes less time.
#ifdef Py_GIL_DISABLED
using Held = pybind11::object;
constexpr int kHeldReferences = 1;  // references that a Held has
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

inline int64_t whole_number(pybind11::handle x) {
  const int64_t number = PyLong_AsLongLong(x.ptr());
  if (number == -1 && PyErr_Occurred()) throw pybind11::error_already_set();
  return number;
}

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

namespace py = pybind11;

// In the order of `GuardKind` in python/ranvier/compile/capturable.py.
enum class GuardKind : int64_t {
  items,      // owner, a dict, has these values at the keys in expected: (key, value ...);
              // NotImplemented: there is no such key
  slot,       // owner.key, a member of a class with __slots__, is expected
  attribute,  // owner.key is expected
  cell,       // the content of a cell of a closure is expected
  list,       // owner, a list, has the items of expected, a tuple
  dict,   // owner, a dict, has the keys and values of expected, (key, value, key, value ...), in this order
  type,   // the class of owner is expected
  names,  // owner, a class, has these values under the names in expected: (name, value ...);
          // NotImplemented: the class has no such name
  function,  // code, defaults and keyword defaults of owner are those of expected, a tuple
  gradient,  // the gradient of owner, a Tensor, begins at the address `expected`, and nothing else refers
             // to its array; 0: there is none; -1: it may move (`has_gradient`)
  call,      // owner() gives expected
};

struct Guard {
  GuardKind kind;
  py::object owner, key, expected;
  int64_t number = 0;  // slot: offset of the member; names: version of the class; address; attribute: of the
                       // grad mode, 1: enabled, 2: inference
  int place = 0;       // in the list that the guards came in

  bool holds();
};

class Guards {
 public:
  // list: of (kind, owner, key, expected).
  void set(const py::list& list);
  // The first one that does not hold, or -1; those on dicts are looked at first.
  int first_changed();
  int visit(visitproc visit, void* arg) const;
  void clear();

 private:
  // Guards on one dict. Up to Python 3.12 a dict has a version, another one after each change: where it is
  // the same, nothing is looked up.
  struct Dict {
    PyObject* dict;
    size_t begin, end;
    uint64_t version;
  };
  // A pointer at a place that is valid while the guard's owner exists. If each points to the same object as
  // before, the guards on pointers hold.
  struct Pointer {
    PyObject* const* place;
    PyObject* expected;
  };
  int first_changed(size_t begin, size_t end);
  static bool add_pointers(const Guard& g, std::vector<Pointer>& found);

  std::vector<Guard> guards_;      // on dicts, on pointers, all others
  std::vector<Dict> dicts_;        // the guards before dicts_.back().end
  std::vector<Pointer> pointers_;  // the pointers of the guards from there to others_
  size_t others_ = 0;
};

// True if it has a gradient in the layout of the leaf, in memory that nothing else refers to.
bool has_gradient(PyObject* leaf);

// The key by which guards and signatures compare a plain value, beside its class: a number by its bits, so
// that 0.0 and -0.0 are two and NaN is equal to itself; strings, bytes, larger integers, complex numbers and
// NumPy's scalars by their hash (or 0), and then in full. Other objects are no plain values.
struct PlainValue {
  enum Kind { none, number, object } kind;
  int64_t what;
};
PlainValue plain_value(PyObject* x);

// One value, by the rule above. Tuples are compared by their items.
bool same_value(PyObject* a, PyObject* b);

}  // namespace ranvier::bind
