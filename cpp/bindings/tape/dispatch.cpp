// Calls `__torch_function__` (dispatch.h): finds the arguments whose classes are asked and their order, calls
// them until one gives an answer, and implements Tensor's own `__torch_function__`. Rare cases are in
// python/ranvier/torch/torch_function/dispatch.py: modes, results of several parts, the error if every method
// returns NotImplemented.
#include "bindings/tape/dispatch.h"

#include <algorithm>

#include "bindings/binder/held.h"
#include "bindings/binder/methods.h"
#include "bindings/binder/scoped.h"
#include "bindings/tape/public_function.h"
#include "bindings/tensors/tensors.h"

namespace ranvier::bind {

std::atomic<bool> g_dispatches;

PackedCall::PackedCall(PyObject* const* given, Py_ssize_t count, PyObject* names)
    : args(new_tuple(count, [=](size_t i) { return Py_NewRef(given[i]); })), settings(checked(PyDict_New())) {
  for (Py_ssize_t i = 0; names && i < PyTuple_GET_SIZE(names); ++i)
    if (PyDict_SetItem(settings.ptr(), PyTuple_GET_ITEM(names, i), given[count + i]) < 0)
      throw py::error_already_set();
}

namespace {

// Both are set by state(), which torch/torch_function/dispatch.py calls.
thread_local long t_off;                // 1: classes are not asked; 2: modes are not asked, too
thread_local long t_modes;              // how many modes' blocks the thread is in
PyObject *g_ask, *g_as_class;           // torch/torch_function/dispatch.py: ask(), converted()
PyObject *g_hook, *g_silent;            // "__torch_function__"; the value by which a class switches it off
PyObject* g_as_they_are;                // the set of functions whose results keep their class
using Values = std::vector<PyObject*>;  // borrowed

bool is_sequence(PyObject* x) { return PyTuple_Check(x) || PyList_Check(x); }
PyObject* item(PyObject* sequence, Py_ssize_t i) { return PySequence_Fast_GET_ITEM(sequence, i); }

// True if overrides() is true for x or for an item of it, `depth` levels of lists and tuples down.
bool overrides_within(PyObject* x, int depth = 2) {
  if (overrides(x)) return true;
  if (!depth || !is_sequence(x)) return false;
  for (Py_ssize_t i = 0; i < Py_SIZE(x); ++i)
    if (overrides_within(item(x, i), depth - 1)) return true;
  return false;
}

// Appends to `found` one object of each class that may take over a call: x, or items of the list or tuple x
// down to `depth` levels. Of one class the first object counts, and a class stands before the classes it
// inherits from.
void collect(PyObject* x, Values& found, int depth = 2) {
  if (overrides(x)) {
    PyTypeObject* const type = Py_TYPE(x);
    const auto is_same = [=](PyObject* other) { return Py_TYPE(other) == type; };
    const auto is_above = [=](PyObject* other) { return PyType_IsSubtype(type, Py_TYPE(other)); };
    if (std::none_of(found.begin(), found.end(), is_same))
      found.insert(std::find_if(found.begin(), found.end(), is_above), x);
  } else if (depth && is_sequence(x)) {
    for (Py_ssize_t i = 0; i < Py_SIZE(x); ++i) collect(item(x, i), found, depth - 1);
  }
}

py::object tuple_of(const Values& values) {
  return new_tuple(values.size(), [&](size_t i) { return Py_NewRef(values[i]); });
}

// Asks the arguments' classes in order; the first result other than NotImplemented is the answer. If the
// thread is in a mode, or no class answers, g_ask does the rest or raises the error.
py::object answer_to(PyObject* func, PyObject* const* given, Py_ssize_t count, PyObject* names,
                     bool is_operator) {
  const Py_ssize_t of_names = names ? PyTuple_GET_SIZE(names) : 0;
  const PackedCall packed(given, count, names);
  Values found, kinds;
  for (Py_ssize_t i = 0; i < count + of_names && asks_classes(); ++i) collect(given[i], found);
  for (PyObject* x : found) kinds.push_back(reinterpret_cast<PyObject*>(Py_TYPE(x)));
  const auto is_plain = [](PyObject* x) { return Py_IS_TYPE(x, tensor_class()); };
  // For its functions in Python, PyTorch lists plain Tensor among `types`, too.
  if (is_in_python(func) && std::any_of(given, given + count, is_plain))
    kinds.push_back(reinterpret_cast<PyObject*>(tensor_class()));
  const py::object types = tuple_of(kinds);
  if (!asks_modes()) {
    for (PyObject* x : found) {
      const py::object hook = checked(PyObject_GetAttr(x, g_hook));
      PyObject* const all[] = {func, types.ptr(), packed.args.ptr(), packed.settings.ptr()};
      py::object y = checked(PyObject_Vectorcall(hook.ptr(), all, 4, nullptr));
      if (y.ptr() != Py_NotImplemented) return y;
    }
    found.clear();
  }
  PyObject* const unanswered = is_operator ? Py_NotImplemented : Py_None;  // what g_ask may return at last
  return checked(PyObject_CallFunctionObjArgs(g_ask, func, types.ptr(), tuple_of(found).ptr(),
                                              packed.args.ptr(), packed.settings.ptr(), unanswered, nullptr));
}

// True if the result is one of these arguments, or has one as an item. Then it is no new Tensor, and others
// may hold it.
bool holds(PyObject* values, PyObject* result) {
  for (Py_ssize_t i = 0; i < Py_SIZE(values); ++i) {
    PyObject* const x = item(values, i);
    const bool is_found = is_sequence(x) ? holds(x, result) : x == result;
    if (is_found) return true;
    if (Py_IS_TYPE(x, tensor_class()) && is_sequence(result))
      for (Py_ssize_t k = 0; k < Py_SIZE(result); ++k)
        if (item(result, k) == x) return true;
  }
  return false;
}

// _own_answer(cls, func, types, args, kwargs): Tensor.__torch_function__. It calls func without asking
// classes and gives the results the class cls. It returns NotImplemented unless cls inherits from all types.
py::object own_answer(PyObject*, PyObject* const* a, Py_ssize_t) {
  PyObject* const cls = a[0];
  PyObject* const func = a[1];
  PyObject* const args = a[3];
  PyObject* const settings = a[4];
  const py::object types = checked(PySequence_Tuple(a[2]));
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(types.ptr()); ++i) {
    const int is_below = PyObject_IsSubclass(cls, item(types.ptr(), i));
    if (is_below < 0) throw py::error_already_set();
    if (!is_below) return py::reinterpret_borrow<py::object>(Py_NotImplemented);
  }
  py::object y;
  {
    const Scoped off(t_off, 1L);
    y = checked(PyObject_Call(func, args, settings));
  }
  PyObject* const result = y.ptr();
  const bool is_tensor = PyObject_TypeCheck(result, tensor_class());
  if (is_tensor) {
    if (PyObject_TypeCheck(result, reinterpret_cast<PyTypeObject*>(cls))) return y;
  } else if (!is_sequence(result)) {
    return y;
  }
  const int stays = PySet_Contains(g_as_they_are, func);
  if (stays < 0) throw py::error_already_set();
  if (stays) return y;
  const py::object others = checked(PyDict_Values(settings));
  const bool is_new = is_public(func) && !holds(args, result) && !holds(others.ptr(), result);
  if (is_tensor && is_new) {
    if (PyObject_SetAttrString(result, "__class__", cls) == 0) return y;
    PyErr_Clear();  // the class has slots of its own, so g_as_class makes a new object
  }
  return checked(PyObject_CallFunctionObjArgs(g_as_class, result, cls, is_new ? Py_True : Py_False, nullptr));
}

// _dispatch_state(off, modes, active): sets t_off, t_modes and g_dispatches, except where the argument is
// None. Returns the three old values.
py::object state(PyObject*, PyObject* const* a, Py_ssize_t) {
  const py::object before = checked(Py_BuildValue("(llN)", t_off, t_modes, PyBool_FromLong(g_dispatches)));
  if (a[0] != Py_None) t_off = static_cast<long>(whole_number(a[0]));
  if (a[1] != Py_None) t_modes = static_cast<long>(whole_number(a[1]));
  if (a[2] != Py_None) g_dispatches = a[2] == Py_True;
  return before;
}

py::object set_python(PyObject*, PyObject* const* a, Py_ssize_t) {
  g_ask = Py_NewRef(a[0]);
  g_as_class = Py_NewRef(a[1]);
  g_silent = Py_NewRef(a[2]);
  g_as_they_are = Py_NewRef(a[3]);
  return py::none();
}

// _overriding(values, depth): the list that collect() finds in the values.
py::object overriding(PyObject*, PyObject* const* a, Py_ssize_t) {
  Values found;
  const int depth = static_cast<int>(whole_number(a[1]));
  const py::object values = checked(PySequence_Tuple(a[0]));
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(values.ptr()) && asks_classes(); ++i)
    collect(item(values.ptr(), i), found, depth);
  return checked(PySequence_List(tuple_of(found).ptr()));
}

py::object asks(PyObject*, PyObject* const*, Py_ssize_t) { return py::bool_(modes_are_asked()); }

// _has_hook(x): true if x may take over calls.
py::object has_hook(PyObject*, PyObject* const* a, Py_ssize_t) {
  return py::bool_(asks_classes() && overrides(a[0]));
}

PyMethodDef g_dispatch_functions[] = {
    method<state, 3>(
        "_dispatch_state",
        "_dispatch_state(off: int | None, modes: int | None, active: bool | None) -> tuple[int, int, bool]"),
    method<set_python, 4>("_set_dispatch",
                          "_set_dispatch(ask: Any, as_class: Any, silent: Any, as_they_are: Any) -> None"),
    method<own_answer, 5>("_own_answer",
                          "_own_answer(cls: Any, func: Any, types: Any, args: Any, kwargs: Any) -> Any"),
    method<overriding, 2>("_overriding", "_overriding(values: Any, depth: int) -> list[Any]"),
    method<asks, 0>("_modes_are_asked", "_modes_are_asked() -> bool"),
    method<has_hook, 1>("_has_hook", "_has_hook(x: Any) -> bool"),
    {nullptr, nullptr, 0, nullptr}};

}  // namespace

bool asks_classes() { return !t_off; }
bool asks_modes() { return t_modes && t_off < 2; }
bool modes_are_asked() { return g_dispatches.load(std::memory_order_relaxed) && asks_modes(); }
int64_t who_is_asked() { return int64_t{t_off} << 32 | t_modes; }

bool overrides(PyObject* x) {
  PyTypeObject* const type = Py_TYPE(x);
  if (type == tensor_class() || type == &PyLong_Type || type == &PyFloat_Type || type == &PyUnicode_Type ||
      type == &PyBool_Type || x == Py_None || PyType_Check(x))
    return false;
  const Held hook = class_attribute(type, g_hook);
  return hook && hook.ptr() != g_silent;
}

bool any_override(PyObject* const* given, Py_ssize_t count) {
  return std::any_of(given, given + count, [](PyObject* x) { return overrides_within(x); });
}

PyObject* asked(PyObject* func, PyObject* const* given, Py_ssize_t count, PyObject* names, bool is_operator) {
  PyObject* const y =
      detail::guarded([&] { return answer_to(func, given, count, names, is_operator).release().ptr(); });
  if (y || !is_operator || !PyErr_ExceptionMatches(PyExc_TypeError)) return y;
  PyErr_Clear();  // after NotImplemented, Python tries the other operand's method
  return Py_NewRef(Py_NotImplemented);
}

void register_dispatch(Module m) {
  g_hook = PyUnicode_InternFromString("__torch_function__");
  if (PyModule_AddFunctions(m.ptr(), g_dispatch_functions) < 0) throw py::error_already_set();
}

}  // namespace ranvier::bind
