// Whether operations are recorded on the tape: a switch for each thread, of python/ranvier/grad_mode.py.
#pragma once
#include <Python.h>

namespace ranvier::bind {

bool is_grad_enabled();          // in this thread
bool is_inference();             // whether it is in an inference_mode() block
bool is_grad_mode(PyObject* x);  // whether x.enabled is the switch of this thread

}  // namespace ranvier::bind
