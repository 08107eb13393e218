// What calls of modules (module_call.cpp) ask about compiled functions (compiled_call.cpp).
#pragma once
#include <Python.h>

namespace ranvier::bind {

bool anything_runs_compiled();  // true if a thread runs a compiled function eagerly, so a module may be part
                                // of it
bool is_call_for(PyObject* call, PyObject* module);  // true if `call` is a compiled function made for it

}  // namespace ranvier::bind
