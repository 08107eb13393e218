// The table of values that the library keeps for objects (attached.h).
//
// A value mostly refers to its object, so the two form a cycle that only Python's garbage collector can free.
// The collector must then find the value through the object, and not through this table, which it cannot see.
// So while a full collection runs, each value is an item of its object's __dict__ ("lent"), and the table
// does not hold it.
#include "bindings/tape/attached.h"

#include <unordered_map>
#include <vector>

#include "bindings/binder/errors.h"
#include "bindings/binder/methods.h"
#include "bindings/tensors/tensors.h"

#ifdef Py_GIL_DISABLED
#include <mutex>
#endif

namespace ranvier::bind {
namespace {

// A key of the table: the addresses of the object and of the string. Neither is a reference.
struct Place {
  PyObject *object, *key;
  bool operator==(const Place& other) const { return object == other.object && key == other.key; }
};
struct Hash {
  size_t operator()(const Place& p) const {
    return reinterpret_cast<size_t>(p.object) / 16 * 31 + reinterpret_cast<size_t>(p.key) / 16;
  }
};
struct Entry {
  py::object link;  // a weak reference to the object
  py::object key;
  py::object value;  // null while it is lent
  py::object name;   // the key of the lent value in the __dict__, with the object's address in it:
                     // several objects may share one __dict__
  bool lent = false;
};
// Never freed: at the end of the process Python's objects in it can no longer be released.
auto& g_table = *new std::unordered_map<Place, Entry, Hash>;
size_t g_many = 64;       // with so many entries, attach() first drops those of objects that no longer exist
bool g_collects = false;  // a full collection is running

// The lock of the table, where Python has no GIL. To release an entry may run Python code, which may use this
// table. So a function that removes entries collects them in a vector that it releases after the lock.
struct [[maybe_unused]] Alone {
#ifdef Py_GIL_DISABLED
  inline static std::mutex mutex;
  std::lock_guard<std::mutex> lock{mutex};
#endif
};

// Removes the entries of objects that no longer exist from the table, and returns them.
std::vector<Entry> drop_gone() {
  std::vector<Entry> gone;
  for (auto at = g_table.begin(); at != g_table.end();) {
    const bool is_gone = !referent(at->second.link.ptr());
    if (is_gone) gone.push_back(std::move(at->second));
    at = is_gone ? g_table.erase(at) : std::next(at);
  }
  g_many = 2 * g_table.size() + 64;
  return gone;
}

py::object dict_of(PyObject* object) { return checked(PyObject_GenericGetDict(object, nullptr)); }

py::object find(PyObject*, PyObject* const* a, Py_ssize_t) {  // object, key, otherwise
  py::object value = attached(a[0], a[1]);
  return value ? value : py::reinterpret_borrow<py::object>(a[2]);
}

py::object attach(PyObject*, PyObject* const* a, Py_ssize_t) {  // object, key, value
  dict_of(a[0]);                                                // raises if the object has no __dict__
  if (!PyUnicode_Check(a[1])) fail_type("attach", "got another key; expected a string");
  const auto own = [](PyObject* x) { return py::reinterpret_borrow<py::object>(x); };
  Entry entry{checked(PyWeakref_NewRef(a[0], nullptr)), own(a[1]), own(a[2]),
              checked(PyUnicode_FromFormat("%U of %p", a[1], a[0]))};
  std::vector<Entry> gone;
  const Alone alone;
  if (g_table.size() >= g_many) gone = drop_gone();
  Entry& place = g_table[{a[0], a[1]}];
  entry.lent = place.lent;
  std::swap(place, entry);
  gone.push_back(std::move(entry));
  return py::none();
}

// Moves the value from the table to the __dict__ of its object.
void lend(Entry& entry) {
  const py::object object = entry.value && !entry.value.is_none() ? referent(entry.link.ptr()) : py::object();
  if (!object || PyDict_SetItem(dict_of(object.ptr()).ptr(), entry.name.ptr(), entry.value.ptr()) < 0)
    return PyErr_Clear();
  entry.value = py::object();
  entry.lent = true;
}

// Moves the value back to the table. An entry whose object was freed keeps no value.
void take_back(Entry& entry) {
  entry.lent = false;
  const py::object object = referent(entry.link.ptr());
  if (!object) return;
  const py::object dict = dict_of(object.ptr());
  const auto value =
      py::reinterpret_borrow<py::object>(PyDict_GetItemWithError(dict.ptr(), entry.name.ptr()));
  if (!entry.value) entry.value = value;  // else attach() has set another value during the collection
  if (!value || PyDict_DelItem(dict.ptr(), entry.name.ptr()) < 0) PyErr_Clear();
}

// A function in gc.callbacks, which Python calls before and after each collection. Only collections of the
// oldest objects matter: collections of young objects do not visit objects that have lived long.
py::object collects(PyObject*, PyObject* const* a, Py_ssize_t) {  // phase, info
#if PY_VERSION_HEX < 0x030E0000
  constexpr long kOldest = 2;
#else
  constexpr long kOldest = 1;  // Python 3.14 collects old objects in parts, as its generation 1
#endif
  if (!PyUnicode_Check(a[0]) || !PyDict_Check(a[1]))
    fail_type("collects", "got other arguments; expected a string and a dict");
  std::vector<Entry> gone;
  const Alone alone;
  if (!g_collects && PyUnicode_CompareWithASCIIString(a[0], "start") == 0) {
    PyObject* const generation = PyDict_GetItemString(a[1], "generation");
    if (!generation || PyLong_AsLong(generation) < kOldest) return py::none();
    g_collects = true;
    for (auto& [place, entry] : g_table) lend(entry);
  } else if (g_collects) {
    g_collects = false;
    for (auto& [place, entry] : g_table)
      if (entry.lent) take_back(entry);
    gone = drop_gone();
  }
  return py::none();
}

PyMethodDef g_attached_functions[] = {
    method<find, 3>("_attached", "_attached(object: Any, key: str, otherwise: Any) -> Any"),
    method<attach, 3>("_attach", "_attach(object: Any, key: str, value: Any) -> None"),
    method<collects, 2>("_collects", "_collects(phase: str, info: dict[str, Any]) -> None"),
    {nullptr, nullptr, 0, nullptr}};

}  // namespace

py::object referent(PyObject* reference) {
#if PY_VERSION_HEX >= 0x030D0000
  PyObject* object = nullptr;
  if (PyWeakref_GetRef(reference, &object) < 0) PyErr_Clear();
  return py::reinterpret_steal<py::object>(object);
#else
  PyObject* object = PyWeakref_GET_OBJECT(reference);
  return object == Py_None ? py::object() : py::reinterpret_borrow<py::object>(object);
#endif
}

py::object attached(PyObject* object, PyObject* key) {
  const Alone alone;
  const auto found = g_table.find({object, key});
  if (found == g_table.end() || referent(found->second.link.ptr()).ptr() != object) return {};
  return found->second.value;
}

void register_attached(py::handle m) {
  if (PyModule_AddFunctions(m.ptr(), g_attached_functions) < 0) throw py::error_already_set();
}

}  // namespace ranvier::bind
