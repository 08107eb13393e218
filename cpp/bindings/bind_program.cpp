// Recorder and Program as Python sees them: python/ranvier/program is what uses them.
#include <pybind11/stl.h>

#include "bindings/replay.h"

namespace ranvier::bind {
namespace {

const char* role_name(Role role) {
  switch (role) {
    case Role::persistent:
      return "persistent";
    case Role::argument:
      return "argument";
    case Role::output:
      return "output";
    case Role::temporary:
      return "temporary";
  }
  return "";
}

py::dict described(const Program& program, const Instruction& instruction) {
  py::list views;
  for (const Use& use : instruction.uses) {
    const AnyView& v = *reinterpret_cast<const AnyView*>(instruction.call.get() + use.view.position);
    py::tuple shape(v.ndim);
    for (int d = 0; d < v.ndim; ++d) shape[d] = v.shape[d];
    views.append(py::make_tuple(use.region, role_name(program.buffers()[use.region].role), use.view.write,
                                std::string(1, use.view.type), shape));
  }
  py::dict d;
  d["name"] = instruction.type->name;
  d["place"] = instruction.place < 0 ? std::string() : program.places()[instruction.place];
  d["record"] = instruction.record;
  d["solo"] = instruction.solo;
  d["team_ns"] = instruction.team_ns;
  d["solo_ns"] = instruction.solo_ns;
  d["views"] = views;
  d["fused"] = py::cast(instruction.fused);
  return d;
}

py::list instructions(Replay& replay) {
  py::list all;
  for (const Instruction& i : replay.program().instructions()) all.append(described(replay.program(), i));
  return all;
}

py::dict memory(Replay& replay) {
  const ProgramMemory m = replay.program().memory();
  py::dict d;
  d["arena"] = m.arena, d["workspace"] = m.workspace, d["persistent"] = m.persistent;
  return d;
}

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
      .def(py::init<Recording&, py::list, py::list, py::list>())
      .def("__call__", &Replay::operator())
      .def("set_call", &Replay::set_call)
      .def("is_current", &Replay::is_current)
      .def("call", &Replay::call)
      .def("set_threads", &Replay::set_threads)
      .def("measure", &Replay::measure)
      .def("snapshot", &Replay::snapshot)
      .def("check", &Replay::check)
      .def("other_path", &Replay::other_path)
      .def("instructions", instructions)
      .def("memory", memory);
}

}  // namespace ranvier::bind
