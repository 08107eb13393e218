// Begins and ends blocks of autocast, and sends the calls that a block changes to tape/autocast.py, which
// casts their inputs.
#include "bindings/tape/autocast.h"

#include "bindings/binder/held.h"
#include "bindings/binder/methods.h"
#include "bindings/binder/scoped.h"
#include "bindings/tape/tape.h"
#include "bindings/tensors/tensors.h"

namespace ranvier::bind {
namespace {

// Functions of tape/autocast.py: _apply applies a Function to inputs cast as its list says; cast casts one
// input.
PyObject *g_apply_policy, *g_cast;

// _autocast(type): sets this thread's t_autocast and returns its old value. -1 only returns it.
py::object autocast(PyObject*, PyObject* const* a, Py_ssize_t) {
  const int before = t_autocast;
  const int type = static_cast<int>(whole_number(a[0]));
  if (type >= 0) t_autocast = type;
  return checked(PyLong_FromLong(before));
}

// _without_autocast(function, *args): function(*args) as outside of a block.
py::object without_autocast(PyObject*, PyObject* const* a, Py_ssize_t count) {
  if (count == 0) fail_type("autocast", "got nothing; expected a function and its arguments");
  const Scoped off(t_autocast, 0);
  return checked(PyObject_Vectorcall(a[0], a + 1, count - 1, nullptr));
}

// _autocast_cast(list, x): x, cast as an operand of an op in this list ("lower", "float32") if the thread is
// in a block.
py::object cast(PyObject*, PyObject* const* a, Py_ssize_t) {
  if (!t_autocast) return py::reinterpret_borrow<py::object>(a[1]);
  const Scoped off(t_autocast, 0);
  return checked(PyObject_CallFunctionObjArgs(g_cast, a[0], a[1], nullptr));
}

PyMethodDef g_autocast_functions[] = {
    method<autocast, 1>("_autocast", "_autocast(type: int) -> int"),
    method<without_autocast, kAnyNumber>("_without_autocast",
                                         "_without_autocast(function: Any, *args: Any) -> Any"),
    method<cast, 2>("_autocast_cast", "_autocast_cast(list: str, x: Any) -> Any"),
    {nullptr, nullptr, 0, nullptr}};

}  // namespace

__thread int t_autocast = 0;

py::object autocast_applied(PyObject* function, PyObject* const* inputs, size_t count) {
  const py::object policy = dtypes_of(function, 1);
  if (policy.is_none() || !g_apply_policy) return {};
  const Scoped off(t_autocast, 0);
  const py::object all = new_tuple(count + 2, [&](size_t i) {  // (policy, function, *inputs)
    if (i == 0) return Py_NewRef(policy.ptr());
    if (i == 1) return Py_NewRef(function);
    return Py_NewRef(inputs[i - 2]);
  });
  return checked(PyObject_CallObject(g_apply_policy, all.ptr()));
}

void register_autocast(Module m) {
  if (PyModule_AddFunctions(m.ptr(), g_autocast_functions) < 0) throw py::error_already_set();
  def(m, "_set_autocast(apply, cast)", [](Raw apply, Raw cast) {
    g_apply_policy = apply.value.inc_ref().ptr();
    g_cast = cast.value.inc_ref().ptr();
  });
}

}  // namespace ranvier::bind
