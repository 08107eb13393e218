// Binds the settings of the process: instruction-set level, precision of products, threads and the memory
// allocator. ranvier.show_config() reports them. The file also turns C++ exceptions into Python's.
#include <new>
#include <stdexcept>

#include "base/allocator.h"
#include "base/caches.h"
#include "base/fp_environment.h"
#include "base/isa.h"
#include "base/parallel.h"
#include "base/precision.h"
#include "base/system.h"
#include "bindings/binder/define.h"

namespace ranvier::bind {
namespace {

struct Names : py::list {
  RANVIER_ANNOTATION("list[str]");
};
struct Counts : py::dict {
  RANVIER_ANNOTATION("dict[str, int]");
};

Names supported_isas() {
  Names names;
  for (int i = 0; i < static_cast<int>(Isa::count); ++i)
    if (isa_supported(static_cast<Isa>(i))) names.append(py::str(isa_name(static_cast<Isa>(i))));
  return names;
}

void set_isa_checked(Name name) {
  if (!set_isa(std::string(name.text).c_str()))
    fail_value(name.op, "got ", name.value, "; expected one of ", supported_isas(), RANVIER_LEVELS_LEFT_OUT);
}

void set_num_threads_checked(Whole count) {
  if (count < 1 || count > 1024)
    fail_value(count.op, "got ", count.number, "; expected a count from 1 to 1024");
  set_num_threads(static_cast<int>(count.number));
}

// Python's error that a signal handler has raised while a kernel ran. signal_raises() stores it, the kernel
// stops with the C++ exception Interrupted, and raise_in_python() hands the error back to Python. All three
// happen on the main thread, so no lock is needed.
struct {
  PyObject *type, *value, *trace;
} g_raised;

// Runs Python's signal handlers; true if one has raised. Long kernels ask this on the main thread
// (base/interrupt.h).
bool signal_raises() {
  const PyGILState_STATE state = PyGILState_Ensure();
  const bool raises = PyErr_CheckSignals() != 0;
  if (raises) PyErr_Fetch(&g_raised.type, &g_raised.value, &g_raised.trace);
  PyGILState_Release(state);
  return raises;
}

Counts memory_stats() {
  const CacheStats s = cache_stats();
  Counts d;
  d["allocations"] = py::int_(s.allocations);
  d["cache_hits"] = py::int_(s.cache_hits);
  d["bytes_in_use"] = py::int_(s.bytes_in_use);
  d["bytes_cached"] = py::int_(s.bytes_cached);
  d["peak_bytes_in_use"] = py::int_(s.peak_bytes_in_use);
  return d;
}

}  // namespace

void detail::raise_in_python() {
  try {
    throw;
  } catch (const Interrupted&) {
    PyErr_Restore(g_raised.type, g_raised.value, g_raised.trace);
    g_raised = {};
  } catch (py::error_already_set& e) {
    e.restore();
  } catch (const py::builtin_exception& e) {
    e.set_error();
  } catch (const std::bad_alloc& e) {
    PyErr_SetString(PyExc_MemoryError, e.what());
  } catch (const std::out_of_range& e) {
    PyErr_SetString(PyExc_IndexError, e.what());
  } catch (const std::logic_error& e) {
    PyErr_SetString(PyExc_ValueError, e.what());
  } catch (const std::exception& e) {
    PyErr_SetString(PyExc_RuntimeError, e.what());
  } catch (...) {
    PyErr_SetString(PyExc_RuntimeError, "an unknown exception of C++");
  }
}

void register_runtime(Module m) {
  if (supported_isas().empty())
    fail_value("import", "got a CPU that lacks the level of this build; expected ", isa_name(active_isa()),
               " or higher", RANVIER_LEVELS_LEFT_OUT);
  if (!init_isa())
    fail_value("import", "got RANVIER_ISA=", std::getenv("RANVIER_ISA"), "; expected one of ",
               supported_isas(), RANVIER_LEVELS_LEFT_OUT);
  if (!caches_are_valid())
    fail_value("import", "got RANVIER_CACHES=", std::getenv("RANVIER_CACHES"),
               "; expected the sizes of L1, L2 and L3 in KB, as in 32,1024,32768");
  init_parallel();
  set_signal_check(signal_raises);
  m.attr("__version__") = py::str(RANVIER_VERSION);
  def(m, "supported_isas()", supported_isas);
  def(m, "isa()", [] { return isa_name(active_isa()); });
  def(m, "set_isa(name)", set_isa_checked);
  def(m, "current_precision()", [] { return static_cast<int>(current_precision()); });
  def(m, "get_precision()", [] { return static_cast<int>(precision()); });
  def(m, "set_precision(precision)", [](Whole precision) {
    if (precision < 0 || precision >= static_cast<int>(Precision::count))
      fail_value(precision.op, "got ", precision.number, "; expected the number of a precision");
    set_precision(static_cast<Precision>(precision.number));
  });
  def(m, "set_own_precision(precision)",
      [](Whole precision) { return set_own_precision(static_cast<int>(precision.number)); });
  def(m, "bfloat16()", [] { return static_cast<int>(bfloat16()); });
  def(m, "set_bfloat16(kind)", [](Name kind) { return set_bfloat16(std::string(kind.text).c_str()); });
  def(m, "has_bfloat16()", has_bfloat16);
  def(m, "byte_products()", [] { return static_cast<int>(byte_products()); });
  def(m, "set_byte_products(kind)",
      [](Name kind) { return set_byte_products(std::string(kind.text).c_str()); });
  def(m, "get_num_threads()", num_threads);
  def(m, "set_num_threads(count)", set_num_threads_checked);
  def(m, "usable_cpus()", usable_cpus);
  def(m, "set_alone(alone)", [](Truth alone) { set_alone(alone); });
  def(m, "set_busy(busy)", [](Truth busy) {
    set_busy(busy);
    return busy_others();
  });
  def(m, "memory_stats()", memory_stats);
  def(m, "reset_peak_memory()", reset_peak);
  def(m, "empty_cache()", empty_cache);
}

}  // namespace ranvier::bind
