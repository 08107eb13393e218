// Blocks of autocast (tape/autocast.py), in which the Functions with a policy get inputs of another dtype.
#pragma once
#include <pybind11/pytypes.h>

#include "bindings/binder/define.h"

namespace ranvier::bind {

// The number of the dtype in this thread's block; 0: it is in none, or in an op that has cast.
#if defined(__GLIBC__)  // see t_recording
extern __thread int t_autocast __attribute__((tls_model("initial-exec")));
#else
extern __thread int t_autocast;
#endif

// function.apply(inputs ...) in a block, with the inputs that its policy gives; empty: it has none.
py::object autocast_applied(PyObject* function, PyObject* const* inputs, size_t count);

void register_autocast(Module m);

}  // namespace ranvier::bind
