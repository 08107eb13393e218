#include "bindings/binder/batched.h"

#include "bindings/binder/define.h"

namespace ranvier::bind {
namespace {

// The classes of batched arrays and Tensors, and the function of Python that runs a kernel on all slices:
// batched_kernel(name, arguments, settings). Null until vmap is used first.
PyTypeObject *g_array, *g_tensor;
PyObject* g_run;

}  // namespace

bool is_batched(PyObject* x) { return g_array && Py_IS_TYPE(x, g_array); }

PyTypeObject* batched_tensor_class() { return g_tensor; }

py::object on_slices(const char* kernel, PyObject* const* given, Py_ssize_t positional, PyObject* keywords) {
  const py::object arguments = checked(PyTuple_New(positional));
  for (Py_ssize_t i = 0; i < positional; ++i) PyTuple_SET_ITEM(arguments.ptr(), i, Py_NewRef(given[i]));
  const py::object settings = checked(PyDict_New());
  for (Py_ssize_t k = 0; keywords && k < PyTuple_GET_SIZE(keywords); ++k) {
    PyObject* const keyword = PyTuple_GET_ITEM(keywords, k);
    if (PyDict_SetItem(settings.ptr(), keyword, given[positional + k]) < 0) throw py::error_already_set();
  }
  const py::str name(kernel);
  return checked(PyObject_CallFunctionObjArgs(g_run, name.ptr(), arguments.ptr(), settings.ptr(), nullptr));
}

void register_batched(Module m) {
  def(m, "_set_batched(array, tensor, run)", [](Raw array, Raw tensor, Raw run) {
    g_array = reinterpret_cast<PyTypeObject*>(array.value.inc_ref().ptr());
    g_tensor = reinterpret_cast<PyTypeObject*>(tensor.value.inc_ref().ptr());
    g_run = run.value.inc_ref().ptr();
  });
}

}  // namespace ranvier::bind
