// PyTorch's `__torch_function__`: before a public function computes, it asks the classes of its arguments,
// and the TorchFunctionModes whose blocks the thread is in ("modes"), whether they take over the call.
#pragma once
#include <pybind11/pytypes.h>

#include <atomic>

#include "bindings/binder/define.h"

namespace ranvier::bind {

extern std::atomic<bool>
    g_dispatches;        // false: nothing wants to be asked (torch/torch_function/activation.py)
bool asks_classes();     // true if this thread asks classes
bool asks_modes();       // true if this thread is in a mode's block and asks modes
bool modes_are_asked();  // asks_modes() and g_dispatches
int64_t who_is_asked();  // the thread's state as one number, which a replay compares

// True if the class of an argument has a `__torch_function__` that may take over a call.
bool overrides(PyObject* x);
// True if overrides() is true for an argument, or for an item of a list or tuple among them, two levels deep.
bool any_override(PyObject* const* given, Py_ssize_t count);

// The arguments of a vectorcall (`count` positional ones, then those named by the tuple `names`, or null) as
// Python's tuple `args` and dict `settings`.
struct PackedCall {
  PackedCall(PyObject* const* given, Py_ssize_t count, PyObject* names);
  py::object args, settings;
};
// The result of func(...) as the `__torch_function__` of modes and arguments give it; null with Python's
// error set. is_operator: func implements an operator, so NotImplemented is returned in place of a TypeError.
PyObject* asked(PyObject* func, PyObject* const* given, Py_ssize_t count, PyObject* names, bool is_operator);

void register_dispatch(Module m);

}  // namespace ranvier::bind
