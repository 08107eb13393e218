// Whether observers (objects of python/ranvier/observe.py, such as a recording) follow what this thread
// computes.
#pragma once
#include <pybind11/pytypes.h>

#include <atomic>

namespace ranvier::bind {

// g_observer_list: the list of all observers, in all threads. t_observers: how many follow this thread's
// Functions only. g_observers: how many follow the Functions of all threads.
extern PyObject* g_observer_list;
#if defined(__GLIBC__)  // see t_recording in program/recording.h
extern __thread int t_observers __attribute__((tls_model("initial-exec")));
#else
extern __thread int t_observers;
#endif
extern std::atomic<int> g_observers;
inline bool anything_observes() { return PyList_GET_SIZE(g_observer_list) != 0; }
// True if this thread's Functions are followed: every operation then goes through Function.apply, which
// calls Python.
inline bool is_observed() { return t_observers != 0 || g_observers.load(std::memory_order_relaxed) != 0; }

PyObject* observed_apply();  // the function of Python that makes a Function's call while observers follow it

}  // namespace ranvier::bind
