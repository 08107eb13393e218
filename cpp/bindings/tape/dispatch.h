// Who is asked before a public function computes: the classes of its arguments, and modes.
#pragma once
#include <pybind11/pytypes.h>

#include <atomic>

#include "bindings/binder/define.h"

namespace ranvier::bind {

extern std::atomic<bool> g_dispatches;  // a class or a mode may want to be asked
bool asks_classes();                    // this thread does
bool asks_modes();                      // this thread is in a block of one
bool modes_are_asked();                 // in such a block, and g_dispatches
int64_t who_is_asked();                 // by this thread, as a number: a replay compares it

// True if the class of an argument has a `__torch_function__` that may take over a call.
bool overrides(PyObject* x);
// True if overrides() is true for an argument, or for an item of one that is a list or tuple.
bool any_override(PyObject* const* given, Py_ssize_t count);

// The arguments of a call as Python has them.
struct PackedCall {
  PackedCall(PyObject* const* given, Py_ssize_t count, PyObject* names);
  py::object args, settings;
};
// The result of a call, after the `__torch_function__` of modes and arguments; null: a Python error.
// is_operator: returns NotImplemented instead of a TypeError.
PyObject* asked(PyObject* func, PyObject* const* given, Py_ssize_t count, PyObject* names, bool is_operator);

void register_dispatch(Module m);

}  // namespace ranvier::bind
