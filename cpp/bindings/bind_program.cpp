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

}  // namespace

void register_program(py::module_& m) {
  py::class_<Recording>(m, "Recording")
      .def(py::init<std::string, bool>())
      .def("begin", &Recording::begin)
      .def("end", &Recording::end)
      .def("add_argument", &Recording::add_argument)
      .def("keep", &Recording::keep)
      .def("kind_of", kind_name)
      .def("still_referenced", still_referenced)
      .def_readonly("fault", &Recording::fault)
      .def_property_readonly("place",
                             [](const Recording& r) { return r.places.empty() ? "" : r.places.back(); });
  py::class_<Snapshot>(m, "Snapshot");
  py::class_<Replay>(m, "Program")
      .def(py::init<Recording&, py::list, py::list, py::list, py::list>())
      .def("__call__", &Replay::operator())
      .def("set_call", &Replay::set_call)
      .def("is_current", &Replay::is_current)
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
