// Threads, ISA level, memory: what ranvier.show_config() reports and tests set.
#include "base/allocator.h"
#include "base/isa.h"
#include "base/parallel.h"
#include "bindings/array_args.h"

namespace ranvier::bind {
namespace {

py::list supported_isas() {
  py::list names;
  for (int i = 0; i < static_cast<int>(Isa::count); ++i)
    if (isa_supported(static_cast<Isa>(i))) names.append(isa_name(static_cast<Isa>(i)));
  return names;
}

void set_isa_checked(const std::string& name) {
  if (!set_isa(name.c_str()))
    fail_value("set_isa", "got '" + name + "'; expected one of " + std::string(py::repr(supported_isas())));
}

void set_num_threads_checked(int count) {
  if (count < 1 || count > 1024)
    fail_value("set_num_threads", "got " + std::to_string(count) + "; expected a count from 1 to 1024");
  set_num_threads(count);
}

// The exception of a signal, from the check to the end of the call that it stops. Both are on the main
// thread.
struct {
  PyObject *type, *value, *trace;
} g_raised;

bool signal_raises() {
  const PyGILState_STATE state = PyGILState_Ensure();
  const bool raises = PyErr_CheckSignals() != 0;
  if (raises) PyErr_Fetch(&g_raised.type, &g_raised.value, &g_raised.trace);
  PyGILState_Release(state);
  return raises;
}

void raise_stopped(std::exception_ptr p) {
  try {
    if (p) std::rethrow_exception(p);
  } catch (const Interrupted&) {
    PyErr_Restore(g_raised.type, g_raised.value, g_raised.trace);
    g_raised = {};
  }
}

py::dict memory_stats() {
  const CacheStats s = cache_stats();
  py::dict d;
  d["allocations"] = s.allocations;
  d["cache_hits"] = s.cache_hits;
  d["bytes_in_use"] = s.bytes_in_use;
  d["bytes_cached"] = s.bytes_cached;
  d["peak_bytes_in_use"] = s.peak_bytes_in_use;
  return d;
}

}  // namespace

void register_runtime(py::module_& m) {
  if (!init_isa())
    fail_value("import", std::string("got RANVIER_ISA=") + std::getenv("RANVIER_ISA") + "; expected one of " +
                             std::string(py::repr(supported_isas())));
  init_parallel();
  set_signal_check(signal_raises);
  py::register_local_exception_translator(raise_stopped);
  m.attr("__version__") = RANVIER_VERSION;
  m.def("supported_isas", supported_isas);
  m.def("isa", [] { return isa_name(active_isa()); });
  m.def("set_isa", set_isa_checked, py::arg("name"));
  m.def("get_num_threads", [] { return num_threads(); });
  m.def("set_num_threads", set_num_threads_checked, py::arg("count"));
  m.def("set_alone", set_alone, py::arg("alone"));
  m.def("memory_stats", memory_stats);
  m.def("reset_peak_memory", reset_peak);
  m.def("empty_cache", empty_cache);
}

}  // namespace ranvier::bind
