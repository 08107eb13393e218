// The switch of each thread by which operations are recorded on the tape (python/ranvier/grad_mode.py).
#pragma once
#include <Python.h>

namespace ranvier::bind {

bool is_grad_enabled();          // in this thread
bool is_inference();             // true if it is in an inference_mode() block
bool is_grad_mode(PyObject* x);  // true if x.enabled is the switch of this thread

}  // namespace ranvier::bind
