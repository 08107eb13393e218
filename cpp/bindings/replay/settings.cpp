#include "bindings/replay/settings.h"

#include <atomic>

#include "bindings/binder/define.h"
#include "bindings/binder/methods.h"
#include "bindings/replay/guards.h"
#include "bindings/tensors/tensors.h"

namespace ranvier::bind {
namespace {

std::atomic<int64_t> g_changes{0};              // of settings, in any thread
thread_local int64_t t_seen = 0, t_number = 0;  // the changes that are in the number of this thread
PyObject* g_number;                             // in Python: gives it

py::object changed(PyObject*, PyObject* const*, Py_ssize_t) {
  ++g_changes;
  return py::none();
}
py::object set_number(PyObject*, PyObject* const* a, Py_ssize_t) {
  g_number = Py_NewRef(a[0]);
  return py::none();
}

PyMethodDef g_functions[] = {method<changed, 0>("_setting_changed", "_setting_changed() -> None"),
                             method<set_number, 1>("_set_settings", "_set_settings(number: Any) -> None"),
                             {nullptr, nullptr, 0, nullptr}};

}  // namespace

int64_t settings_number() {
  const int64_t changes = g_changes.load(std::memory_order_acquire);
  if (t_seen != changes) {
    t_number = whole_number(checked(PyObject_CallNoArgs(g_number)));
    t_seen = changes;
  }
  return t_number;
}

void register_settings(Module m) {
  if (PyModule_AddFunctions(m.ptr(), g_functions) < 0) throw py::error_already_set();
}

}  // namespace ranvier::bind
