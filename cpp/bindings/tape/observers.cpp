// Enters and leaves the `with` blocks of observers (observe.py), which changes the counts of observers.h, and
// reads Tensor.grad, of which an observer is told.
#include "bindings/tape/observers.h"

#include "bindings/binder/define.h"
#include "bindings/binder/held.h"
#include "bindings/binder/methods.h"
#include "bindings/tape/tape.h"
#include "bindings/tensors/tensors.h"

namespace ranvier::bind {
namespace {

PyObject *g_thread, *g_everywhere, *g_follows;  // names of attributes
PyObject* g_observed_apply;                     // a function of Python: see observed_apply()
PyObject* g_read;  // another, which is called with the Tensor before `grad` is read

// Adds `change` (1 or -1) to the count that the observer belongs to. Observer.__enter__ and __exit__ are in C
// because Ctrl-C cannot interrupt a C function: the list and the counts always change together. Both
// attributes belong to the class, so __exit__ lowers the count that __enter__ has raised.
void count_observer(PyObject* observer, int change) {
  if (!is_true(observer, g_follows)) return;
  if (is_true(observer, g_everywhere)) {
    g_observers += change;
  } else {
    t_observers += change;
  }
}

py::object enter(PyObject* self, PyObject* const*, Py_ssize_t) {
  const py::object thread = checked(PyLong_FromUnsignedLong(PyThread_get_thread_ident()));
  if (PyObject_SetAttr(self, g_thread, thread.ptr()) || PyList_Append(g_observer_list, self))
    throw py::error_already_set();
  count_observer(self, 1);
  return py::reinterpret_borrow<py::object>(self);
}

// Does nothing if the observer is not in the list: Recording.__enter__ calls __exit__ also after an error in
// enter().
py::object leave(PyObject* self, PyObject* const*, Py_ssize_t) {
  for (Py_ssize_t i = 0; i < PyList_GET_SIZE(g_observer_list); ++i) {
    if (PyList_GET_ITEM(g_observer_list, i) != self) continue;
    if (PyList_SetSlice(g_observer_list, i, i + 1, /*itemlist=*/nullptr)) throw py::error_already_set();
    count_observer(self, -1);
    break;
  }
  return py::none();
}

PyMethodDef g_observer_methods[] = {
    method<enter, 0>("__enter__", "__enter__(self: _ObserverBase) -> Any"),
    method<leave, kAnyNumber>("__exit__", "__exit__(self: _ObserverBase, *error: Any) -> None"),
    {nullptr, nullptr, 0, nullptr}};
PyType_Slot g_observer_slots[] = {{Py_tp_methods, g_observer_methods}, {0, nullptr}};
PyType_Spec g_observer_type{"ranvier._core._ObserverBase", sizeof(PyObject), 0,
                            Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, g_observer_slots};

// _grad(x): reads Tensor.grad.
py::object gradient(PyObject*, PyObject* const* a, Py_ssize_t) {
  if (!PyObject_TypeCheck(a[0], tensor_class())) fail_type("grad", "got another object; expected a Tensor");
  if (is_observed()) checked(PyObject_CallOneArg(g_read, a[0]));
  const Held found = slot_of(a[0], tensor_slots().grad);
  // The slot of an object whose __init__ has not run is empty: Python raises its AttributeError.
  return found ? py::reinterpret_borrow<py::object>(found) : checked(PyObject_GetAttrString(a[0], "_grad"));
}
PyMethodDef g_observer_functions[] = {method<gradient, 1>("_grad", "_grad(x: Any) -> Any"),
                                      {nullptr, nullptr, 0, nullptr}};

}  // namespace

PyObject* g_observer_list;
__thread int t_observers = 0;
std::atomic<int> g_observers{0};

PyObject* observed_apply() { return g_observed_apply; }

void register_observers(Module m) {
  const auto name = [](const char* text) { return PyUnicode_InternFromString(text); };
  g_thread = name("thread");
  g_everywhere = name("everywhere");
  g_follows = name("follows_functions");
  add_type(m, g_observer_type);
  if (PyModule_AddFunctions(m.ptr(), g_observer_functions) < 0) throw py::error_already_set();
  def(m, "_set_observers(all, apply, gradient_read)", [](Raw all, Raw apply, Raw gradient_read) {
    g_observer_list = all.value.inc_ref().ptr();
    g_observed_apply = apply.value.inc_ref().ptr();
    g_read = gradient_read.value.inc_ref().ptr();
  });
}

}  // namespace ranvier::bind
