// Follower: makes the guards on the values that most steps have many of, for
// python/ranvier/compile/guarding/walk.py: Tensors, layers of the library, and the tables of layers. The walk
// follows all other values in Python, by the same rules as there.
#include "bindings/binder/classes.h"
#include "bindings/replay/guards.h"
#include "bindings/tape/dispatch.h"
#include "bindings/tensors/tensors.h"

#include <unordered_set>

namespace ranvier::bind {
namespace {

py::object id_of(PyObject* x) { return checked(PyLong_FromVoidPtr(x)); }

py::object joined(PyObject* a, const py::object& b) { return checked(PyUnicode_Concat(a, b.ptr())); }

py::object dict_of(PyObject* x) { return checked(PyObject_GenericGetDict(x, nullptr)); }

// The items of a dict: (key, value, key, value ...).
py::object pairs_of(PyObject* dict) {
  const py::scoped_critical_section alone(dict);
  py::object pairs = checked(PyTuple_New(2 * PyDict_GET_SIZE(dict)));
  PyObject *key, *value;
  Py_ssize_t at = 0;
  Py_ssize_t i = 0;
  while (PyDict_Next(dict, &at, &key, &value)) {
    PyTuple_SET_ITEM(pairs.ptr(), i++, Py_NewRef(key));
    PyTuple_SET_ITEM(pairs.ptr(), i++, Py_NewRef(value));
  }
  return pairs;
}

}  // namespace

// What a Walk has found so far: its attributes of the same names.
struct WalkState {
  PyObject* stack;    // list of (value, text)
  PyObject* seen;     // dict: the values that were followed, by id
  PyObject* guards;   // list
  PyObject* tensors;  // list
  PyObject* texts;    // set
};

class Follower {
 public:
  // plain: the classes of values that lead to no other. registry: the class of the tables of a layer.
  // transient: a class of values on which no step depends. tensors: the classes of Tensors of the library.
  // most_items, most_guards: Python is asked about a table with more items, and follow() ends where there are
  // more guards.
  Follower(const py::tuple& plain, const py::object& registry, const py::object& transient,
           const py::tuple& tensors, int64_t most_items, int64_t most_guards)
      : held_{plain, tensors},
        registry_(registry),
        transient_(transient),
        most_items_(most_items),
        most_guards_(most_guards) {
    for (py::handle kind : plain) plain_.insert(kind.ptr());
    for (py::handle kind : tensors) tensors_.insert(kind.ptr());
  }

  // Follows the values on the stack up to one that Python has to follow, and returns it with its text. None:
  // the stack is empty, or there are too many guards.
  // layers: by class of layer, a version of the class, and the names of attributes whose values are not
  // followed. compares: whether attributes that the program adds to a Tensor are compared.
  py::object follow(const py::list& stack, const py::dict& seen, const py::list& guards,
                    const py::list& tensors, const py::object& texts, const py::dict& layers,
                    bool compares) const {
    const WalkState walk{stack.ptr(), seen.ptr(), guards.ptr(), tensors.ptr(), texts.ptr()};
    while (PyList_GET_SIZE(walk.stack) > 0 && PyList_GET_SIZE(walk.guards) <= most_guards_) {
      const Py_ssize_t last = PyList_GET_SIZE(walk.stack) - 1;
      const auto top = py::reinterpret_borrow<py::object>(PyList_GET_ITEM(walk.stack, last));
      if (PyList_SetSlice(walk.stack, last, last + 1, nullptr) < 0) throw py::error_already_set();
      PyObject* const x = PyTuple_GET_ITEM(top.ptr(), 0);
      PyObject* const text = PyTuple_GET_ITEM(top.ptr(), 1);
      if (is_plain(x)) {
        note_text(walk, x);
        continue;
      }
      const py::object id = id_of(x);
      if (const int known = PyDict_Contains(walk.seen, id.ptr())) {
        if (known < 0) throw py::error_already_set();
        continue;
      }
      put(walk.seen, id, x);
      if (!follow_one(walk, x, text, layers, compares)) return top;
    }
    return py::none();
  }

 private:
  bool is_plain(PyObject* x) const { return plain_.count(reinterpret_cast<PyObject*>(Py_TYPE(x))) > 0; }

  static void put(PyObject* seen, const py::object& id, PyObject* x) {
    if (PyDict_SetItem(seen, id.ptr(), x) < 0) throw py::error_already_set();
  }
  static void note_text(const WalkState& walk, PyObject* x) {
    if (PyUnicode_CheckExact(x) && PySet_Add(walk.texts, x) < 0) throw py::error_already_set();
  }
  static void append(PyObject* list, const py::object& x) {
    if (PyList_Append(list, x.ptr()) < 0) throw py::error_already_set();
  }
  static void add(const WalkState& walk, GuardKind kind, PyObject* owner, PyObject* key, PyObject* expected,
                  const py::object& text) {
    const py::object number = checked(PyLong_FromLongLong(static_cast<long long>(kind)));
    append(walk.guards,
           tuple_of({number, borrowed_object(owner), borrowed_object(key), borrowed_object(expected), text}));
  }
  static py::object borrowed_object(PyObject* x) { return py::reinterpret_borrow<py::object>(x); }
  static void push(const WalkState& walk, PyObject* x, const py::object& text) {
    append(walk.stack, tuple_of({borrowed_object(x), text}));
  }

  // False: Python has to follow x.
  bool follow_one(const WalkState& walk, PyObject* x, PyObject* text, const py::dict& layers,
                  bool compares) const {
    PyObject* const kind = reinterpret_cast<PyObject*>(Py_TYPE(x));
    if (kind == transient_.ptr()) return true;
    if (tensors_.count(kind)) return follow_tensor(walk, x, text, compares);
    if (kind == registry_.ptr() || (PyDict_CheckExact(x) && PyDict_GET_SIZE(x) == 0))
      return follow_table(walk, x, text);
    // Only a class of `type` itself is looked up: the metaclass of another may define what is equal to it.
    if (Py_TYPE(kind) != &PyType_Type) return false;
    const Held layer = value_of(layers.ptr(), kind);
    if (!layer) return false;
    const int64_t version = renewed_version_of(kind);
    if (version == 0 || version != whole_number(PyTuple_GET_ITEM(layer.ptr(), 0))) return false;
    follow_layer(walk, x, text, PyTuple_GET_ITEM(layer.ptr(), 1));
    return true;
  }

  static bool follow_tensor(const WalkState& walk, PyObject* x, PyObject* text, bool compares) {
    if (has_attributes(x) || (asks_classes() && overrides(x))) return false;
    const TensorSlots& slots = tensor_slots();
    const auto add_slot = [&](const py::str& name, int64_t offset, const py::object& what) {
      const Held value = slot_of(x, offset);
      add(walk, GuardKind::slot, x, name.ptr(), value.ptr(), what);
    };
    append(walk.tensors, borrowed_object(x));
    add(walk, GuardKind::type, x, Py_None, reinterpret_cast<PyObject*>(Py_TYPE(x)),
        joined(words().class_of.ptr(), borrowed_object(text)));
    add_slot(words().array, slots.array, joined(words().memory_of.ptr(), borrowed_object(text)));
    if (compares) add_whole(walk, dict_of(x), text);
    add_slot(words().requires_grad, slots.requires_grad,
             joined(words().requires_grad_of.ptr(), borrowed_object(text)));
    add_slot(words().grad_fn, slots.grad_fn, joined(words().grad_fn_of.ptr(), borrowed_object(text)));
    return true;
  }

  bool follow_table(const WalkState& walk, PyObject* x, PyObject* text) const {
    if (PyDict_GET_SIZE(x) > most_items_) return false;
    const py::object pairs = pairs_of(x);
    add(walk, GuardKind::dict, x, words().nothing.ptr(), pairs.ptr(),
        joined(words().items_of.ptr(), borrowed_object(text)));
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(pairs.ptr()); ++i) {
      PyObject* const item = PyTuple_GET_ITEM(pairs.ptr(), i);
      if (is_plain(item))
        note_text(walk, item);
      else
        push(walk, item, borrowed_object(text));
    }
    return true;
  }

  void follow_layer(const WalkState& walk, PyObject* x, PyObject* text, PyObject* constants) const {
    PyObject* const kind = reinterpret_cast<PyObject*>(Py_TYPE(x));
    const py::object own = dict_of(x);
    const py::object text_of_class = joined(words().class_of.ptr(), borrowed_object(text));
    add(walk, GuardKind::type, x, own.ptr(), kind, text_of_class);
    if (!value_of(walk.seen, id_of(kind).ptr())) push(walk, kind, text_of_class);
    const py::object pairs = add_whole(walk, own, text);
    const py::object before = joined(text, words().dot);
    for (Py_ssize_t i = 0; i + 1 < PyTuple_GET_SIZE(pairs.ptr()); i += 2) {
      PyObject* const name = PyTuple_GET_ITEM(pairs.ptr(), i);
      PyObject* const value = PyTuple_GET_ITEM(pairs.ptr(), i + 1);
      if (is_plain(value)) continue;
      const int is_constant = PySet_Contains(constants, name);
      if (is_constant < 0) throw py::error_already_set();
      if (!is_constant) push(walk, value, joined(before.ptr(), py::str(name)));
    }
  }

  // A guard on all attributes in `own` of a value; returns them.
  static py::object add_whole(const WalkState& walk, const py::object& own, PyObject* text) {
    py::object pairs = pairs_of(own.ptr());
    const py::object around = tuple_of({joined(text, words().dot), words().nothing});
    add(walk, GuardKind::dict, own.ptr(), words().nothing.ptr(), pairs.ptr(), around);
    return pairs;
  }

  struct Words {
    const py::str array{"_array"}, requires_grad{"_requires_grad"}, grad_fn{"_grad_fn"}, nothing{""},
        dot{"."};
    const py::str class_of{"the class of "}, memory_of{"the memory of "}, items_of{"the items of "};
    const py::str requires_grad_of{"requires_grad of "}, grad_fn_of{"grad_fn of "};
  };
  static const Words& words() {
    static const Words* const all = new Words;  // never freed: Python may have ended before
    return *all;
  }

  const py::tuple held_[2];
  const py::object registry_, transient_;
  const int64_t most_items_, most_guards_;
  std::unordered_set<PyObject*> plain_, tensors_;
};

namespace {

// The attributes of a class or its bases under these names, as a guard of kind `names` expects them: (name,
// value, name, value ..., the version of the class). NotImplemented: there is no such attribute.
struct Members : py::tuple {
  RANVIER_ANNOTATION("tuple[Any, ...]");
  explicit Members(py::tuple members) : py::tuple(std::move(members)) {}
};
Members class_members(const Raw& kind, const Raw& names) {
  auto* const type = reinterpret_cast<PyTypeObject*>(kind.value.ptr());
  const int64_t version = renewed_version_of(kind.value.ptr());
  const py::object iterator = checked(PyObject_GetIter(names.value.ptr()));
  const py::object members = checked(PyList_New(0));
  while (const auto name = py::reinterpret_steal<py::object>(PyIter_Next(iterator.ptr()))) {
    const Held value = class_attribute(type, name.ptr());
    PyObject* const found = value ? value.ptr() : Py_NotImplemented;
    if (PyList_Append(members.ptr(), name.ptr()) < 0 || PyList_Append(members.ptr(), found) < 0)
      throw py::error_already_set();
  }
  if (PyErr_Occurred()) throw py::error_already_set();
  const bool is_same = version == renewed_version_of(kind.value.ptr());
  const py::object number = checked(PyLong_FromLongLong(is_same ? version : 0));
  if (PyList_Append(members.ptr(), number.ptr()) < 0) throw py::error_already_set();
  return Members(py::reinterpret_steal<py::tuple>(PyList_AsTuple(members.ptr())));
}

PyMethodDef g_follower[] = {
    method<&Follower::follow>(
        "follow",
        "follow(self: Follower, stack: list[Any], seen: dict[Any, Any], guards: list[Any], tensors: "
        "list[Any], texts: set[str], layers: dict[type, tuple[int, frozenset[str]]], compares: bool, /) -> "
        "tuple[Any, str] | None"),
    {nullptr, nullptr, 0, nullptr}};

}  // namespace

void register_follower(Module m) {
  def(m, "_class_members(kind, names)", class_members);
  add_class<Follower>(
      m, "ranvier._core.Follower",  // for an object that is never freed
      "__new__(cls, plain: tuple[type, ...], registry: type, transient: type, tensors: "
      "tuple[type, ...], most_items: int, most_guards: int, /) -> Follower",
      {constructor<Follower, py::tuple, py::object, py::object, py::tuple, int64_t, int64_t>(),
       {Py_tp_methods, g_follower}});
}

}  // namespace ranvier::bind
