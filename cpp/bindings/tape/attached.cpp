// A value that is kept for an object refers to it, and both are to be freed together. So the garbage
// collector has to come to the value through the object: while it runs, the value is an item of the object's
// __dict__.
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
  py::object link, key, value;  // a weak reference to the object; value: null while it is lent
  py::object name;              // under which it is lent to the __dict__, which objects may share
  bool lent = false;
};
// Never freed: its values are Python's.
auto& g_table = *new std::unordered_map<Place, Entry, Hash>;
size_t g_many = 64;  // entries from which those of objects that are gone are dropped
bool g_collects = false;

// Entries may be released only without this, since that runs Python.
struct [[maybe_unused]] Alone {
#ifdef Py_GIL_DISABLED
  inline static std::mutex mutex;
  std::lock_guard<std::mutex> lock{mutex};
#endif
};

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
  dict_of(a[0]);                                                // AttributeError: it has none
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

void lend(Entry& entry) {
  const py::object object = entry.value && !entry.value.is_none() ? referent(entry.link.ptr()) : py::object();
  if (!object || PyDict_SetItem(dict_of(object.ptr()).ptr(), entry.name.ptr(), entry.value.ptr()) < 0)
    return PyErr_Clear();
  entry.value = py::object(), entry.lent = true;
}

void take_back(Entry& entry) {
  entry.lent = false;
  const py::object object = referent(entry.link.ptr());
  if (!object) return;
  const py::object dict = dict_of(object.ptr());
  const auto value =
      py::reinterpret_borrow<py::object>(PyDict_GetItemWithError(dict.ptr(), entry.name.ptr()));
  if (!entry.value) entry.value = value;  // else there is another one by now
  if (!value || PyDict_DelItem(dict.ptr(), entry.name.ptr()) < 0) PyErr_Clear();
}

// One of gc.callbacks. The collections of young objects do not come to what is kept.
py::object collects(PyObject*, PyObject* const* a, Py_ssize_t) {  // phase, info
#if PY_VERSION_HEX < 0x030E0000
  constexpr long kOldest = 2;
#else
  constexpr long kOldest = 1;  // a part of all objects
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

PyMethodDef g_functions[] = {
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
  if (PyModule_AddFunctions(m.ptr(), g_functions) < 0) throw py::error_already_set();
}

}  // namespace ranvier::bind
