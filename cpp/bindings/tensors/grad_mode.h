// The gradient mode of each thread: whether its operations are recorded on the tape, and whether it is in an
// inference_mode() block (python/ranvier/grad_mode.py).
#pragma once
#include <Python.h>

namespace ranvier::bind {

bool is_grad_enabled();          // in this thread
bool is_inference();             // true if this thread is in an inference_mode() block
bool is_grad_mode(PyObject* x);  // true if x is the object grad_mode.mode, whose `enabled` reads the mode

}  // namespace ranvier::bind
