// ArrayRecording and ArrayProgram as `_core.Recording` and `_core.Program`: used by python/ranvier/compile.
#include <pybind11/stl.h>

#include "bindings/array_form.h"
#include "bindings/array_program.h"
#include "bindings/define.h"
#include "bindings/numpy_api.h"

namespace ranvier::bind {

// py::cast would take a lock, which a thread that the garbage collector has stopped may hold.
ArrayProgram& program_of(PyObject* self) {
  const auto holder = reinterpret_cast<py::detail::instance*>(self)->get_value_and_holder();
  return *static_cast<ArrayProgram*>(holder.value_ptr());
}

namespace {

// In the order of Role.
constexpr const char* kRoles[] = {"persistent", "argument", "output", "temporary", "prepared"};
const char* role_name(Role role) { return kRoles[static_cast<int>(role)]; }

// (buffer, its role, whether it is written, element type, shape, byte in the buffer) of each view.
py::list described_views(const Program& program, const Instruction& instruction) {
  py::list views;
  for (const Use& use : instruction.uses) {
    const AnyView& v = instruction.view(use);
    py::tuple shape(v.ndim);
    for (int d = 0; d < v.ndim; ++d) shape[d] = py::int_(v.shape[d]);
    views.append(
        tuple_of({py::int_(use.region), py::str(role_name(program.buffers()[use.region].role)),
                  py::bool_(use.view.write), py::str(&use.view.type, 1), shape, py::int_(use.offset)}));
  }
  return views;
}

py::list described_instructions(const Program& program) {
  py::list all;
  for (const Instruction& i : program.instructions()) {
    py::dict d;
    d["name"] = py::str(i.type->name);
    d["place"] = py::str(i.place < 0 ? std::string() : program.places()[i.place]);
    d["record"] = py::int_(i.record);
    d["solo"] = py::bool_(i.solo);
    d["team_ns"] = py::float_(i.team_ns);
    d["solo_ns"] = py::float_(i.solo_ns);
    d["views"] = described_views(program, i);
    py::list fused;
    for (const char* name : i.fused) fused.append(py::str(name));
    d["fused"] = fused;
    d["prepared"] = py::bool_(i.prepared);
    all.append(d);
  }
  return all;
}

py::list described_buffers(const Program& program) {
  py::list all;
  for (const Buffer& b : program.buffers()) {
    py::dict d;
    d["role"] = py::str(role_name(b.role));
    d["bytes"] = py::int_(b.bytes);
    d["address"] = py::int_(reinterpret_cast<uintptr_t>(b.address));
    d["number"] = py::int_(b.number);
    d["first"] = py::int_(b.first), d["last"] = py::int_(b.last);
    d["offset"] = py::int_(b.offset);
    all.append(d);
  }
  return all;
}

py::dict described_memory(const Program& program) {
  const ProgramMemory m = program.memory();
  py::dict d;
  d["arena"] = py::int_(m.arena), d["workspace"] = py::int_(m.workspace),
  d["persistent"] = py::int_(m.persistent);
  d["prepared"] = py::int_(m.prepared), d["made"] = py::int_(m.made);
  return d;
}

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
    return program_of(self).visit(visit, arg);
  };
  type->tp_clear = [](PyObject* self) {
    if (py::detail::is_holder_constructed(self)) program_of(self).clear();
    return 0;
  };
}

// Which of these runs are made on one thread alone, where a run takes (on the team, alone) so many
// nanoseconds.
std::vector<bool> paced(double solo_ns, const std::vector<std::pair<double, double>>& runs) {
  Pace pace(solo_ns);
  std::vector<bool> alone;
  for (const auto& [team_ns, alone_ns] : runs) {
    alone.push_back(pace.alone());
    pace.note(pace.alone() ? alone_ns : team_ns);
  }
  return alone;
}

// Whether the bytes that an array of one list reaches overlap those of one of the other.
bool share_memory(const py::list& arrays, const py::list& others) {
  std::vector<std::pair<char*, char*>> ranges;
  for (py::handle a : arrays)
    if (PyArray_SIZE(as_array(a)) > 0) ranges.push_back(reach_of(as_array(a)));
  for (py::handle other : others) {
    if (PyArray_SIZE(as_array(other)) == 0) continue;
    const auto [first, last] = reach_of(as_array(other));
    for (const auto& range : ranges)
      if (first < range.second && range.first < last) return true;
  }
  return false;
}

}  // namespace

// The texts are signatures for the stub, where the C++ types say too little.
void register_program(Module module) {
  py::module_ m = py::reinterpret_borrow<py::module_>(module);
  ArrayProgram::set_up();
  py::class_<ArrayRecording>(m, "Recording")
      .def(py::init<std::string>(), "(package: str, /) -> None")
      .def("begin", &ArrayRecording::begin)
      .def("end", &ArrayRecording::end)
      .def("add_argument", &ArrayRecording::add_argument, "(array: Array, /) -> None")
      .def("keep", &ArrayRecording::keep, "(array: Array, /) -> None")
      .def("kind_of", kind_name, "(array: Array, /) -> str")
      .def("region_of", &ArrayRecording::region_of, "(array: Array, /) -> int")
      .def("references", &ArrayRecording::references, "(array: Array, /) -> int")
      .def("host", &ArrayRecording::host,
           "(callable: Callable[..., Any], reads: list[Array], made: list[Array], into: Array | None, /) -> "
           "list[Array]")
      .def("pause", &ArrayRecording::pause, "(on: bool, /) -> int")
      .def("still_referenced", still_referenced, "(arrays: list[Array], /) -> str | None")
      .def_readonly("fault", &ArrayRecording::fault)
      .def_property_readonly("place",
                             [](const ArrayRecording& r) { return r.places.empty() ? "" : r.places.back(); });
  m.def("share_memory", share_memory, "(arrays: list[Array], others: list[Array], /) -> bool");
  m.def("paced", paced, "(solo_ns: float, runs: list[tuple[float, float]], /) -> list[bool]");
  py::class_<ArrayProgram>(m, "Program", py::custom_type_setup(collected))
      .def(py::init<ArrayRecording&, py::list, py::list, py::list, py::list>(),
           "(recording: Recording, arguments: list[Array], outputs: list[Array], kept: list[Array], watched: "
           "list[Any], /) -> None")
      .def("__call__", &ArrayProgram::operator(),
           "(arguments: tuple[Array, ...], /) -> tuple[Array, ...] | None")
      .def("set_call", &ArrayProgram::set_call,
           "(form: list[tuple[int, Any]], gradients: list[tuple[Any, Any, int]], changed: list[Any], renew: "
           "Callable[[Any], Any], reached: list[Any], /) -> None")
      .def("let_move", &ArrayProgram::let_move, "(found: list[tuple[Any, int]], /) -> None")
      .def("set_guards", &ArrayProgram::set_guards, "(guards: list[Any], /) -> None")
      .def("overlaps", &ArrayProgram::overlaps, "(arrays: tuple[Array, ...], /) -> bool")
      .def("is_current", &ArrayProgram::is_current)
      .def("first_changed", &ArrayProgram::first_changed)
      .def("adopt_gradients", &ArrayProgram::adopt_gradients)
      .def("gradients", &ArrayProgram::gradients, "() -> list[tuple[Any, Any]]")
      .def("call", &ArrayProgram::call, "(arguments: tuple[Any, ...], /) -> tuple[Array, ...] | None")
      .def("run_batches", &ArrayProgram::run_batches,
           "(arguments: tuple[Any, ...], order: Array | None, size: int, first: int, count: int, "
           "entries: bool, /) -> tuple[Array, ...] | None")
      .def_readwrite("checks_left", &ArrayProgram::checks_left)
      .def_property_readonly("results", &ArrayProgram::results)
      .def_property_readonly("batches_done", &ArrayProgram::batches_done)
      .def("set_threads", &ArrayProgram::set_threads, "(solo: bool, /) -> None")
      .def("form", &ArrayForm::of, "(arrays: list[Array], /) -> ProgramForm | None")
      .def("other_path", &ArrayProgram::other_path, "(eager: Recording, /) -> str")
      .def(
          "instructions", [](ArrayProgram& p) { return p.with_program(described_instructions); },
          "() -> list[dict[str, Any]]")
      .def(
          "buffers", [](ArrayProgram& p) { return p.with_program(described_buffers); },
          "() -> list[dict[str, Any]]")
      .def(
          "memory", [](ArrayProgram& p) { return p.with_program(described_memory); }, "() -> dict[str, int]");
  py::class_<Guards>(m, "Guards")  // of what lives as long as the process
      .def(py::init<>())
      .def("set", &Guards::set, "(guards: list[Any], /) -> None")
      .def("first_changed", py::overload_cast<>(&Guards::first_changed));
  py::class_<ArrayForm, std::shared_ptr<ArrayForm>>(m, "ProgramForm")
      .def("bound", &ArrayForm::bound,
           "(arrays: list[Array], arguments: list[Array], kept: list[Array], /) -> Program | None");
  py::class_<ArrayCheck>(m, "Check")
      .def(py::init<ArrayProgram&, ArrayRecording&, py::tuple>(), py::keep_alive<1, 2>(),
           py::keep_alive<1, 3>(),
           "(program: Program, eager: Recording, arguments: tuple[Array, ...], /) -> None")
      .def("disturbed", &ArrayCheck::disturbed)
      .def("finish", &ArrayCheck::finish);
}

}  // namespace ranvier::bind
