// ArrayRecording and ArrayProgram as `_core.Recording` and `_core.Program`: used by python/ranvier/program.
#include <pybind11/stl.h>

#include "bindings/array_program.h"
#include "bindings/described.h"

namespace ranvier::bind {
namespace {

const char* kind_name(const ArrayRecording& recording, py::handle array) {
  static const char* const names[] = {"persistent", "argument", "temporary", "foreign"};
  return names[static_cast<int>(recording.kind_of(array))];
}

std::vector<int> regions_of(const ArrayRecording& recording, const py::list& arrays) {
  std::vector<int> regions;
  for (py::handle a : arrays) regions.push_back(recording.region_of(a));
  return regions;
}

// Where a temporary was written that others than these arrays still hold, or None.
py::object still_referenced(const ArrayRecording& recording, const py::list& arrays) {
  const int region = recording.still_referenced(regions_of(recording, arrays));
  if (region < 0) return py::none();
  return py::str(recording.place_of_writer(region));
}

// Guards refer to what the step reads, which may refer to the program: the garbage collector finds the cycle.
void collected(PyHeapTypeObject* heap_type) {
  PyTypeObject* type = &heap_type->ht_type;
  type->tp_flags |= Py_TPFLAGS_HAVE_GC;
  type->tp_traverse = [](PyObject* self, visitproc visit, void* arg) {
    Py_VISIT(Py_TYPE(self));
    if (!py::detail::is_holder_constructed(self)) return 0;
    return py::cast<ArrayProgram&>(py::handle(self)).visit(visit, arg);
  };
  type->tp_clear = [](PyObject* self) {
    if (py::detail::is_holder_constructed(self)) py::cast<ArrayProgram&>(py::handle(self)).clear();
    return 0;
  };
}

}  // namespace

void register_program(py::module_& m) {
  py::class_<ArrayRecording>(m, "Recording")
      .def(py::init<std::string, bool>())
      .def("begin", &ArrayRecording::begin)
      .def("end", &ArrayRecording::end)
      .def("add_argument", &ArrayRecording::add_argument)
      .def("keep", &ArrayRecording::keep)
      .def("kind_of", kind_name)
      .def("region_of", &ArrayRecording::region_of)
      .def("references", &ArrayRecording::references)
      .def("still_referenced", still_referenced)
      .def_readonly("fault", &ArrayRecording::fault)
      .def_property_readonly("place",
                             [](const ArrayRecording& r) { return r.places.empty() ? "" : r.places.back(); });
  py::class_<Snapshot>(m, "Snapshot");
  py::class_<ArrayProgram>(m, "Program", py::custom_type_setup(collected))
      .def(py::init<ArrayRecording&, py::list, py::list, py::list, py::list>())
      .def("__call__", &ArrayProgram::operator())
      .def("set_call", &ArrayProgram::set_call)
      .def("set_guards", &ArrayProgram::set_guards)
      .def("overlaps", &ArrayProgram::overlaps)
      .def("is_current", &ArrayProgram::is_current)
      .def("first_changed", &ArrayProgram::first_changed)
      .def("adopt_gradients", &ArrayProgram::adopt_gradients)
      .def("gradients", &ArrayProgram::gradients)
      .def("call", &ArrayProgram::call)
      .def("set_threads", &ArrayProgram::set_threads)
      .def("measure", &ArrayProgram::measure)
      .def("snapshot", &ArrayProgram::snapshot)
      .def("check", &ArrayProgram::check)
      .def("other_path", &ArrayProgram::other_path)
      .def("measure_now", &ArrayProgram::measure_now)
      .def("instructions", [](ArrayProgram& p) { return described_instructions(p.program()); })
      .def("buffers", [](ArrayProgram& p) { return described_buffers(p.program()); })
      .def("memory", [](ArrayProgram& p) { return described_memory(p.program()); });
}

}  // namespace ranvier::bind
