// ArrayRecording and ArrayProgram as `_core.Recording` and `_core.Program`: used by python/ranvier/compile.
#include "bindings/binder/classes.h"
#include "bindings/binder/numpy_api.h"
#include "bindings/replay/array_program.h"
#include "bindings/replay/program_form.h"

namespace ranvier::bind {

ArrayProgram& program_of(PyObject* self) { return Object<ArrayProgram>::of(self); }

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

const char* kind_of(const ArrayRecording& recording, py::handle array) {
  static const char* const names[] = {"persistent", "argument", "temporary", "foreign"};
  return names[static_cast<int>(recording.kind_of(array))];
}

std::vector<int> regions_of(const ArrayRecording& recording, const py::list& arrays) {
  std::vector<int> regions;
  for (py::handle a : arrays) regions.push_back(recording.region_of(a));
  return regions;
}

// The place in the step that wrote a temporary which others than these arrays still hold, or None.
py::object still_referenced(const ArrayRecording& recording, const py::list& arrays) {
  const int region = recording.still_referenced(regions_of(recording, arrays));
  if (region < 0) return py::none();
  return py::str(recording.place_of_writer(region));
}

std::string maker(const ArrayRecording& recording, py::handle array) {
  return recording.place_of_writer(recording.region_of(array));
}

// Guards refer to what the step reads, which may refer to the program: the garbage collector finds the cycle.
int visit(PyObject* self, visitproc visit, void* arg) {
  Py_VISIT(Py_TYPE(self));
  ArrayProgram* program = Object<ArrayProgram>::place(self);
  return program ? program->visit(visit, arg) : 0;
}
int clear(PyObject* self) {
  if (ArrayProgram* program = Object<ArrayProgram>::place(self)) program->clear();
  return 0;
}

// Says for each run whether Pace makes it on one thread alone. A run is a pair: how many nanoseconds it takes
// on the team, and how many alone.
struct Flags : py::list {
  RANVIER_ANNOTATION("list[bool]");
};
Flags paced(Real solo_ns, const Raw& runs) {
  Pace pace(solo_ns);
  Flags alone;
  for (py::handle run : Given<py::list>::of(runs.value.ptr())) {
    alone.append(py::bool_(pace.alone()));
    const py::tuple times = Given<py::tuple>::of(run.ptr());
    if (times.size() != 2) fail_type("paced", "got ", run, "; expected two times");
    pace.note(Real(Arg{"paced", "runs", times[pace.alone() ? 1 : 0]}));
  }
  return alone;
}

// True if the bytes that an array of one list reaches overlap those of one of the other.
bool share_memory(const Arrays& given, const Arrays& against) {
  const py::handle arrays = given.value, others = against.value;
  for (const py::handle list : {arrays, others})
    for (const py::handle a : list)
      if (!PyArray_Check(a.ptr()))
        fail_type("share_memory", "got ", Py_TYPE(a.ptr())->tp_name, "; expected lists of arrays");
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

std::string place(const ArrayRecording& r) { return r.places.empty() ? "" : r.places.back(); }
int first_changed(Guards& guards) { return guards.first_changed(); }
py::object call(ArrayProgram& p, const py::tuple& args, const py::dict& kwargs) {
  return p.call(args, kwargs.ptr());
}
bool meets(ArrayProgram& p, const py::tuple& args, const py::dict& kwargs) { return p.meets(args, kwargs); }
std::string other_path(ArrayProgram& p, const ArrayRecording& eager) { return p.other_path(eager); }
py::list instructions(ArrayProgram& p) { return p.with_program(described_instructions); }
py::list buffers(ArrayProgram& p) { return p.with_program(described_buffers); }
py::dict memory(ArrayProgram& p) { return p.with_program(described_memory); }

py::object new_recording(PyObject*, PyObject* const* given, Py_ssize_t) {
  return Object<ArrayRecording>::holding(
      std::make_unique<ArrayRecording>(std::string(Name(Arg{"Recording", "package", given[0]}).text)));
}
py::object new_program(PyObject*, PyObject* const* given, Py_ssize_t) {
  using List = Given<py::list>;
  return Object<ArrayProgram>::holding(
      std::make_unique<ArrayProgram>(Given<ArrayRecording>::of(given[0]), List::of(given[1]),
                                     List::of(given[2]), List::of(given[3]), List::of(given[4])));
}
py::object new_guards(PyObject*, PyObject* const*, Py_ssize_t) {
  return Object<Guards>::holding(std::make_unique<Guards>());
}

// A check, and what must outlive it.
struct HeldCheck {
  py::object program, eager;
  ArrayCheck check;

  HeldCheck(PyObject* const* given)
      : program(Given<py::object>::of(given[0])),
        eager(Given<py::object>::of(given[1])),
        check(Given<ArrayProgram>::of(given[0]), Given<ArrayRecording>::of(given[1]),
              Given<py::list>::of(given[2])) {}
  bool disturbed() const { return check.disturbed(); }
  std::string finish() { return check.finish(); }
};
py::object new_check(PyObject*, PyObject* const* given, Py_ssize_t) {
  return Object<HeldCheck>::holding(std::make_unique<HeldCheck>(given));
}

// An attribute; its text is its type in the stub.
template <auto f>
PyGetSetDef attribute(const char* name, const char* type, setter set = nullptr) {
  const auto get = [](PyObject* self, void*) { return run_body(Method<f>::body, self, nullptr, 0, 0); };
  return {name, get, set, type, nullptr};
}
std::string fault(const ArrayRecording& r) { return r.fault; }
int64_t checks_left(const ArrayProgram& p) { return p.checks_left; }
int set_checks_left(PyObject* self, PyObject* value, void*) {
  if (!value) return PyErr_SetString(PyExc_AttributeError, "checks_left cannot be deleted"), -1;
  const int64_t left = PyLong_AsLongLong(value);
  if (PyErr_Occurred()) return -1;
  return program_of(self).checks_left = left, 0;
}

using Form = std::shared_ptr<ProgramForm>;

PyMethodDef g_recording[] = {
    method<&ArrayRecording::begin>("begin", "begin(self: Recording) -> None"),
    method<&ArrayRecording::end>("end", "end(self: Recording) -> None"),
    method<&ArrayRecording::add_argument>("add_argument",
                                          "add_argument(self: Recording, array: Array, /) -> None"),
    method<&ArrayRecording::keep>("keep", "keep(self: Recording, array: Array, /) -> None"),
    method<kind_of>("kind_of", "kind_of(self: Recording, array: Array, /) -> str"),
    method<&ArrayRecording::follow>("follow", "follow(self: Recording, array: Array, /) -> None"),
    method<maker>("maker", "maker(self: Recording, array: Array, /) -> str"),
    method<&ArrayRecording::varies>("varies", "varies(self: Recording, array: Array, /) -> bool"),
    method<&ArrayRecording::region_of>("region_of", "region_of(self: Recording, array: Array, /) -> int"),
    method<&ArrayRecording::references>("references", "references(self: Recording, array: Array, /) -> int"),
    method<&ArrayRecording::host>("host",
                                  "host(self: Recording, callable: Callable[..., Any], reads: list[Array], "
                                  "made: list[Array], into: Array | None, /) -> list[Array]"),
    method<&ArrayRecording::pause>("pause", "pause(self: Recording, on: bool, /) -> int"),
    method<still_referenced>("still_referenced",
                             "still_referenced(self: Recording, arrays: list[Array], /) -> str | None"),
    {nullptr, nullptr, 0, nullptr}};
PyMethodDef g_program[] = {
    method<&ArrayProgram::set_call>(
        "set_call",
        "set_call(self: Program, signature: Signature, gradients: list[tuple[Any, Any, int]], "
        "changed: list[Any], renew: Callable[[Any], Any], reached: list[Any], /) -> None"),
    method<&ArrayProgram::let_move>("let_move",
                                    "let_move(self: Program, found: list[tuple[Any, int]], /) -> None"),
    method<&ArrayProgram::set_guards>("set_guards",
                                      "set_guards(self: Program, guards: list[Any], /) -> None"),
    method<&ArrayProgram::overlaps>("overlaps", "overlaps(self: Program, arrays: list[Array], /) -> bool"),
    method<meets>("meets", "meets(self: Program, args: tuple[Any, ...], kwargs: dict[str, Any], /) -> bool"),
    method<&ArrayProgram::is_current>("is_current", "is_current(self: Program) -> bool"),
    method<&ArrayProgram::first_changed>("first_changed", "first_changed(self: Program) -> int"),
    method<&ArrayProgram::adopt_gradients>("adopt_gradients", "adopt_gradients(self: Program) -> None"),
    method<&ArrayProgram::gradients>("gradients", "gradients(self: Program) -> list[tuple[Any, Any]]"),
    method<call>("call",
                 "call(self: Program, args: tuple[Any, ...], kwargs: dict[str, Any], /) -> tuple[Array, ...] "
                 "| None"),
    method<&ArrayProgram::run_batches>(
        "run_batches",
        "run_batches(self: Program, args: tuple[Any, ...], kwargs: dict[str, Any], order: Array | None, "
        "size: int, first: int, count: int, entries: bool, /) -> tuple[Array, ...] | None"),
    method<&ArrayProgram::run_with_ranks>(
        "run_with_ranks",
        "run_with_ranks(self: Program, calls: tuple[Any, ...], programs: tuple[Program, ...], order: Array, "
        "size: int, count: int, total: Array, sum: RankSum | None, arguments: tuple[Any, ...], "
        "divides: bool, /) -> Array | None"),
    method<&ArrayProgram::set_threads>("set_threads", "set_threads(self: Program, solo: bool, /) -> None"),
    method<&ProgramForm::of>("form", "form(self: Program, arrays: list[Array], /) -> ProgramForm | None"),
    method<other_path>("other_path", "other_path(self: Program, eager: Recording, /) -> str"),
    method<instructions>("instructions", "instructions(self: Program) -> list[dict[str, Any]]"),
    method<buffers>("buffers", "buffers(self: Program) -> list[dict[str, Any]]"),
    method<memory>("memory", "memory(self: Program) -> dict[str, int]"),
    {nullptr, nullptr, 0, nullptr}};
PyMethodDef g_guards[] = {method<&Guards::set>("set", "set(self: Guards, guards: list[Any], /) -> None"),
                          method<first_changed>("first_changed", "first_changed(self: Guards) -> int"),
                          {nullptr, nullptr, 0, nullptr}};
PyMethodDef g_form[] = {
    method<&ProgramForm::bound>(
        "bound",
        "bound(self: ProgramForm, arrays: list[Array], arguments: list[Array], gradients: "
        "list[Array], /) -> Program | None"),
    {nullptr, nullptr, 0, nullptr}};
PyMethodDef g_check[] = {method<&HeldCheck::disturbed>("disturbed", "disturbed(self: Check) -> bool"),
                         method<&HeldCheck::finish>("finish", "finish(self: Check) -> str"),
                         {nullptr, nullptr, 0, nullptr}};
PyGetSetDef g_of_recording[] = {attribute<fault>("fault", "str"), attribute<place>("place", "str"), {}};
PyGetSetDef g_of_program[] = {attribute<checks_left>("checks_left", "int", set_checks_left),
                              attribute<&ArrayProgram::results>("results", "int"),
                              attribute<&ArrayProgram::batches_done>("batches_done", "int"),
                              {}};

}  // namespace

// The texts of the classes have the lines of the stub that methods' texts do not have.
void register_program(Module m) {
  ArrayProgram::set_up();
  def(m, "share_memory(arrays, others)", share_memory);
  def(m, "paced(solo_ns, runs)", paced);
  add_class<ArrayRecording>(m, "ranvier._core.Recording", "__new__(cls, package: str, /) -> Recording",
                            {{Py_tp_new, slot(run_slot<new_recording, 1>)},
                             {Py_tp_methods, g_recording},
                             {Py_tp_getset, g_of_recording}});
  add_class<ArrayProgram>(
      m, "ranvier._core.Program",
      "__new__(cls, recording: Recording, arguments: list[Array], outputs: list[Array], kept: "
      "list[Array], watched: list[Any], /) -> Program",
      {{Py_tp_new, slot(run_slot<new_program, 5>)},
       {Py_tp_traverse, slot(visit)},
       {Py_tp_clear, slot(clear)},
       {Py_tp_methods, g_program},
       {Py_tp_getset, g_of_program}},
      Py_TPFLAGS_HAVE_GC);
  add_class<Guards>(m, "ranvier._core.Guards",  // guards of what lives as long as the process
                    "__new__(cls) -> Guards",
                    {{Py_tp_new, slot(run_slot<new_guards, 0>)}, {Py_tp_methods, g_guards}});
  add_class<Form>(m, "ranvier._core.ProgramForm", "", {{Py_tp_methods, g_form}},
                  Py_TPFLAGS_DISALLOW_INSTANTIATION);
  add_class<HeldCheck>(m, "ranvier._core.Check",
                       "__new__(cls, program: Program, eager: Recording, arguments: "
                       "list[Array], /) -> Check",
                       {{Py_tp_new, slot(run_slot<new_check, 3>)}, {Py_tp_methods, g_check}});
}

}  // namespace ranvier::bind
