// The state of blocks of autocast (tape/autocast.py). In such a block, a Function whose Dtypes.autocast names
// a list (tape/function.py) gets its inputs cast to another dtype.
#pragma once
#include <pybind11/pytypes.h>

#include "bindings/binder/define.h"

namespace ranvier::bind {

// NumPy's type number of the dtype of this thread's block. 0: the thread is in no block, or runs an op whose
// inputs have already been cast.
#if defined(__GLIBC__)  // see t_recording in program/recording.h
extern __thread int t_autocast __attribute__((tls_model("initial-exec")));
#else
extern __thread int t_autocast;
#endif

// function.apply(inputs ...) with the inputs cast as the Function's list says; empty if it is in no list. The
// thread must be in a block.
py::object autocast_applied(PyObject* function, PyObject* const* inputs, size_t count);

void register_autocast(Module m);

}  // namespace ranvier::bind
