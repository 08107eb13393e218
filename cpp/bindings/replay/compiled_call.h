// The interface of compiled functions that calls of modules use.
#pragma once
#include <Python.h>

namespace ranvier::bind {

bool anything_runs_compiled();                       // a thread runs a compiled function eagerly
bool is_call_for(PyObject* call, PyObject* module);  // a compiled function that was made for this module

}  // namespace ranvier::bind
