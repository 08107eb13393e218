// Recorder and Program as Python sees them: python/ranvier/program is what uses them.
#include <pybind11/stl.h>

#include "bindings/described.h"
#include "bindings/replay.h"

namespace ranvier::bind {
namespace {

const char* kind_name(const Recording& recording, py::handle array) {
  switch (recording.kind_of(array)) {
    case RegionKind::persistent:
      return "persistent";
    case RegionKind::argument:
      return "argument";
    case RegionKind::temporary:
      return "temporary";
    case RegionKind::foreign:
      return "foreign";
  }
  return "";
}

std::vector<int> regions_of(const Recording& recording, const py::list& arrays) {
  std::vector<int> regions;
  for (py::handle a : arrays) regions.push_back(recording.region_of(a));
  return regions;
}

// Where a temporary was written that others than these arrays still hold, or None.
py::object still_referenced(const Recording& recording, const py::list& arrays) {
  const int region = recording.still_referenced(regions_of(recording, arrays));
  if (region < 0) return py::none();
  return py::str(recording.place_of_writer(region));
}

// Guards refer to what the step reads, which may refer to the program: the garbage collector looks inside.
void collected(PyHeapTypeObject* heap_type) {
  PyTypeObject* type = &heap_type->ht_type;
  type->tp_flags |= Py_TPFLAGS_HAVE_GC;
  type->tp_traverse = [](PyObject* self, visitproc visit, void* arg) {
    Py_VISIT(Py_TYPE(self));
    if (!py::detail::is_holder_constructed(self)) return 0;
    return py::cast<Replay&>(py::handle(self)).visit(visit, arg);
  };
  type->tp_clear = [](PyObject* self) {
    if (py::detail::is_holder_constructed(self)) py::cast<Replay&>(py::handle(self)).clear();
    return 0;
  };
}

}  // namespace

void register_program(py::module_& m) {
  py::class_<Recording>(m, "Recording")
      .def(py::init<std::string, bool>())
      .def("begin", &Recording::begin)
      .def("end", &Recording::end)
      .def("add_argument", &Recording::add_argument)
      .def("keep", &Recording::keep)
      .def("kind_of", kind_name)
      .def("region_of", &Recording::region_of)
      .def("references", &Recording::references)
      .def("still_referenced", still_referenced)
      .def_readonly("fault", &Recording::fault)
      .def_property_readonly("place",
                             [](const Recording& r) { return r.places.empty() ? "" : r.places.back(); });
  py::class_<Snapshot>(m, "Snapshot");
  py::class_<Replay>(m, "Program", py::custom_type_setup(collected))
      .def(py::init<Recording&, py::list, py::list, py::list, py::list>())
      .def("__call__", &Replay::operator())
      .def("set_call", &Replay::set_call)
      .def("set_guards", &Replay::set_guards)
      .def("overlaps", &Replay::overlaps)
      .def("is_current", &Replay::is_current)
      .def("first_changed", &Replay::first_changed)
      .def("adopt_gradients", &Replay::adopt_gradients)
      .def("gradients", &Replay::gradients)
      .def("call", &Replay::call)
      .def("set_threads", &Replay::set_threads)
      .def("measure", &Replay::measure)
      .def("snapshot", &Replay::snapshot)
      .def("check", &Replay::check)
      .def("other_path", &Replay::other_path)
      .def("measure_now", &Replay::measure_now)
      .def("instructions", [](Replay& r) { return described_instructions(r.program()); })
      .def("buffers", [](Replay& r) { return described_buffers(r.program()); })
      .def("memory", [](Replay& r) { return described_memory(r.program()); });
}

}  // namespace ranvier::bind
