// Module.__call__ of python/ranvier/nn/module.py. Most calls go from here straight to the module's `forward`,
// or to its recorded call, which a module without gradients gets after many calls (nn/call_counts.py). Other
// calls go to Python: those of a module with hooks or with NumPy arrays to the method that the class had
// before, those that an observer follows to g_observed.
#include <array>

#include "bindings/binder/define.h"
#include "bindings/binder/errors.h"
#include "bindings/binder/held.h"
#include "bindings/binder/numpy_api.h"
#include "bindings/replay/compiled_call.h"
#include "bindings/tape/attached.h"
#include "bindings/tape/dispatch.h"
#include "bindings/tape/tape.h"
#include "bindings/tensors/grad_mode.h"
#include "bindings/tensors/tensors.h"
#include "program/recording.h"

namespace ranvier::bind {
namespace {

// Functions of Python: Module.__call__ as it was before; `count_or_replay` of nn/call_counts.py.
PyObject *g_method, *g_counted;
PyObject* g_observed;  // makes a call while there is an observer
// Names. Of attributes of nn/module.py and nn/hooks.py: `_rv_hooks`, the hooks of the module or of all
// modules, or None; `forward`; `_rv_may_repeat`, whether calls of the class are counted to be replayed;
// `_rv_locate`, which adds the layer's path to an error. g_replay: the key (REPLAY) under which its recorded
// call is attached.
PyObject *g_hooks, *g_forward, *g_may_repeat, *g_replay, *g_locate;
PyObject* g_modules;  // `modules`, an attribute of recordings

// module.name, found first in the instance's dict (or null), then in the class. Null with Python's error set.
py::object attribute(PyObject* module, PyObject* dict, PyObject* name) {
  PyTypeObject* type = Py_TYPE(module);
  if (dict && type->tp_getattro == PyObject_GenericGetAttr) {
    const Held own = value_of(dict, name);
    const Held found = own ? own : class_attribute(type, name);
    if (found && (own || !Py_TYPE(found.ptr())->tp_descr_get))
      return py::reinterpret_borrow<py::object>(found);
  }
  return py::reinterpret_steal<py::object>(PyObject_GetAttr(module, name));
}

bool has_array(PyObject* const* arguments, Py_ssize_t count) {
  for (Py_ssize_t i = 0; i < count; ++i)
    if (PyArray_Check(arguments[i])) return true;
  return false;
}

// True if all arguments, at least one, are Tensors that require no gradient.
bool are_plain(PyObject* const* arguments, Py_ssize_t count) {
  for (Py_ssize_t i = 0; i < count; ++i)
    if (!Py_IS_TYPE(arguments[i], tensor_class()) ||
        slot_of(arguments[i], tensor_slots().requires_grad).ptr() != Py_False)
      return false;
  return count > 0;
}

// True if a debugger or a profiler may follow the code that runs, which a replay would hide. From Python 3.12
// on only Python code can tell (nn/call_counts.py: is_watched), so the answer is "maybe".
bool may_be_watched() {
#if PY_VERSION_HEX < 0x030C0000
  const PyThreadState* state = PyThreadState_Get();
  return state->c_tracefunc || state->c_profilefunc;
#else
  return true;
#endif
}

// Notes the module in this thread's recording (`modules` in tensors/recording.py), and returns true, if the
// recording is the only observer. It needs nothing else of a call.
bool noted_in_recording(PyObject* module) {
  if (!t_recording || PyList_GET_SIZE(g_observer_list) != 1) return false;
  PyObject* const observer = PyList_GET_ITEM(g_observer_list, 0);
  const auto modules = py::reinterpret_steal<py::object>(PyObject_GetAttr(observer, g_modules));
  const auto id = py::reinterpret_steal<py::object>(PyLong_FromVoidPtr(module));
  const bool noted = modules && id && PyDict_CheckExact(modules.ptr()) &&
                     PyDict_SetItem(modules.ptr(), id.ptr(), module) == 0;
  if (!noted) PyErr_Clear();  // another observer, which follows the call
  return noted;
}

// Calls `forward`, or the recorded call. all: the module and the `count` positional arguments, then those
// with the keywords `names`. dict: the module's __dict__.
PyObject* forward(PyObject* dict, PyObject* const* all, Py_ssize_t count, PyObject* names) {
  PyObject* module = all[0];
  const bool plain = !names && !is_grad_enabled() && !modes_are_asked() && !anything_runs_compiled() &&
                     are_plain(all + 1, count);
  const py::object repeats = plain ? attribute(module, dict, g_may_repeat) : py::none();
  if (!repeats) return nullptr;
  if (repeats.ptr() == Py_True) {
    // Null: not recorded so far, so its calls are counted. None: it is never replayed. Else its recorded
    // call, which count_or_replay() makes where this is not sure to be allowed.
    const py::object replay = attached(module, g_replay);
    if (replay && !replay.is_none() && is_call_for(replay.ptr(), module) && !may_be_watched())
      return PyObject_Vectorcall(replay.ptr(), all + 1, static_cast<size_t>(count), nullptr);
    if (!replay || !replay.is_none())
      return PyObject_Vectorcall(g_counted, all, static_cast<size_t>(count + 1), nullptr);
  }
  return PyObject_VectorcallMethod(g_forward, all, static_cast<size_t>(count + 1), names);
}

// As in Module.__call__ of Python: `except Exception as error: self._rv_locate(error); raise`.
void locate(PyObject* module) {
  if (!PyErr_ExceptionMatches(PyExc_Exception)) return;
  const py::object error = caught();
  const auto done =
      py::reinterpret_steal<py::object>(PyObject_CallMethodOneArg(module, g_locate, error.ptr()));
  if (done) raise_again(error);
}

// The method that replaces Module.__call__. It puts the module in front of the arguments, as a call of an
// unbound method needs them, and chooses what makes the call.
PyObject* call_module(PyObject* module, PyObject* const* arguments, Py_ssize_t count, PyObject* names) {
  constexpr Py_ssize_t kMost = 15;  // arguments that fit in an array on the stack
  const Py_ssize_t values = count + (names ? PyTuple_GET_SIZE(names) : 0);
  std::array<PyObject*, kMost + 1> few;
  std::vector<PyObject*> many;
  if (values > kMost) many.resize(values + 1);
  PyObject** all = values > kMost ? many.data() : few.data();
  all[0] = module;
  for (Py_ssize_t i = 0; i < values; ++i) all[i + 1] = arguments[i];
  PyObject** own = _PyObject_GetDictPtr(module);
  PyObject* dict = own ? *own : nullptr;
  const bool is_recorded = anything_observes();
  if (is_recorded && !noted_in_recording(module))
    return PyObject_Vectorcall(g_observed, all, static_cast<size_t>(count + 1), names);
  bool usual = !has_array(arguments, values);
  if (usual) {
    const py::object hooks = attribute(module, dict, g_hooks);
    if (!hooks) return nullptr;
    usual = hooks.is_none();
  }
  if (!usual) return PyObject_Vectorcall(g_method, all, static_cast<size_t>(count + 1), names);
  PyObject* const result =
      is_recorded ? PyObject_VectorcallMethod(g_forward, all, static_cast<size_t>(count + 1), names)
                  : forward(dict, all, count, names);
  if (!result) locate(module);
  return result;
}

PyMethodDef g_call{"__call__", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(call_module)),
                   METH_FASTCALL | METH_KEYWORDS, "__call__($self, /, *args, **kwargs)\n--\n\n"};

}  // namespace

void register_module_call(Module m) {
  const auto name = [](const char* text) { return PyUnicode_InternFromString(text); };
  g_hooks = name("_rv_hooks");
  g_forward = name("forward");
  g_may_repeat = name("_rv_may_repeat");
  g_locate = name("_rv_locate");
  g_modules = name("modules");
  def(m, "_set_module_class(cls, counted, replay, observed)",
      [](Raw cls, Raw counted, Raw replay, Raw observed) {
        if (!PyType_Check(cls.value.ptr())) fail_type("module", "got no class");
        g_method = checked(PyObject_GetAttrString(cls.value.ptr(), "__call__")).release().ptr();
        g_counted = counted.value.inc_ref().ptr();
        g_replay = replay.value.inc_ref().ptr();
        g_observed = observed.value.inc_ref().ptr();
        const py::object method =
            checked(PyDescr_NewMethod(reinterpret_cast<PyTypeObject*>(cls.value.ptr()), &g_call));
        if (PyObject_SetAttrString(cls.value.ptr(), "__call__", method.ptr()) < 0)
          throw py::error_already_set();
      });
}

}  // namespace ranvier::bind
