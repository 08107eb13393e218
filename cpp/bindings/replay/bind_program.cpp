// Binds ArrayRecording, ArrayProgram, ArrayCheck, Guards, GuardForm and ProgramForm as classes of _core for
// python/ranvier/compile, and describes programs for listings.
#include "bindings/binder/classes.h"
#include "bindings/binder/numpy_api.h"
#include "bindings/replay/array_program.h"
#include "bindings/replay/guard_form.h"
#include "bindings/replay/program_form.h"

namespace ranvier::bind {

ArrayProgram& program_of(PyObject* self) { return Object<ArrayProgram>::of(self); }

namespace {

// The number of a GuardKind, by which Python names it in the guards that it makes.
int guard_kind(const Name& name) {
#define RANVIER_X(kind) #kind,
  return name.one_of({RANVIER_GUARD_KINDS(RANVIER_X)});
#undef RANVIER_X
}

// In the order of Role.
constexpr const char* kRoles[] = {"persistent", "argument", "output", "temporary", "prepared"};
const char* role_name(Role role) { return kRoles[static_cast<int>(role)]; }

// For each view of an instruction: (buffer, its role, whether it is written, element type, shape, offset in
// bytes).
py::list described_views(const Program& program, const Instruction& instruction) {
  py::list views;
  for (const Use& use : instruction.uses) {
    const AnyView& v = instruction.view(use);
    py::tuple shape(v.ndim);
    for (int d = 0; d < v.ndim; ++d) shape[d] = py::int_(v.shape[d]);
    views.append(checked(Py_BuildValue("(isNCNL)", use.region, role_name(program.buffers()[use.region].role),
                                       PyBool_FromLong(use.view.write), use.view.type, shape.release().ptr(),
                                       static_cast<long long>(use.offset))));
  }
  return views;
}

py::list described_instructions(const Program& program) {
  py::list all;
  for (const Instruction& i : program.instructions()) {
    py::list fused;
    for (const char* name : i.fused) fused.append(py::str(name));
    const char* place = "";  // the line of the user's code
    if (i.place >= 0) place = program.places()[i.place].c_str();
    py::dict described;
    described["name"] = py::str(i.type->name);
    described["place"] = py::str(place);
    described["record"] = py::int_(i.record);
    described["solo"] = py::bool_(i.solo);
    described["team_ns"] = py::float_(i.team_ns);
    described["solo_ns"] = py::float_(i.solo_ns);
    described["views"] = described_views(program, i);
    described["fused"] = fused;
    described["prepared"] = py::bool_(i.prepared);
    all.append(described);
  }
  return all;
}

py::list described_buffers(const Program& program) {
  py::list all;
  for (const Buffer& b : program.buffers())
    all.append(checked(Py_BuildValue("{ss sn sn si si si sn si}", "role", role_name(b.role), "bytes", b.bytes,
                                     "address", b.address, "number", b.number, "first", b.first, "last",
                                     b.last, "offset", b.offset, "host", b.host)));
  return all;
}

py::object described_memory(const Program& program) {
  const ProgramMemory m = program.memory();
  return checked(Py_BuildValue("{sn sn sn sn sn}", "arena", m.arena, "workspace", m.workspace, "persistent",
                               m.persistent, "prepared", m.prepared, "made", m.made));
}

const char* kind_of(const ArrayRecording& recording, py::handle array) {
  static const char* const names[] = {"persistent", "argument", "temporary", "foreign"};
  return names[static_cast<int>(recording.kind_of(array))];
}

std::string maker(const ArrayRecording& recording, py::handle array) {
  return recording.place_of_writer(recording.region_of(array));
}

// For the garbage collector, of ArrayProgram and Guards: guards refer to objects that the step reads, which
// may refer to the program.
template <class T>
int visit(PyObject* self, visitproc visit, void* arg) {
  Py_VISIT(Py_TYPE(self));
  const T* object = Object<T>::place(self);
  if (!object) return 0;  // while it is made
  return object->visit(visit, arg);
}
template <class T>
int clear(PyObject* self) {
  if (T* object = Object<T>::place(self)) object->clear();
  return 0;
}

// For tests of Pace (program/pace.h): says for each run whether Pace makes it on one thread. runs: pairs
// (nanoseconds on the team, nanoseconds on one thread).
struct Flags : py::list {
  RANVIER_ANNOTATION("list[bool]");
};
Flags paced(Real solo_ns, const Raw& runs) {
  Pace pace(solo_ns);
  Flags alone;
  for (py::handle run : FromPython<py::list>::convert(runs.value.ptr())) {
    alone.append(py::bool_(pace.alone()));
    const py::tuple times = FromPython<py::tuple>::convert(run.ptr());
    if (times.size() != 2) fail_type("paced", "got ", run, "; expected two times");
    const int taken = pace.alone() ? 1 : 0;
    pace.note(Real(Arg{"paced", "runs", times[taken]}));
  }
  return alone;
}

// True if the bytes from the first to the last element of an array of one list overlap those of an array of
// the other.
bool share_memory(const Arrays& given, const Arrays& against) {
  const py::handle arrays = given.value;
  const py::handle others = against.value;
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

std::string place(const ArrayRecording& r) {
  if (r.places.empty()) return "";
  return r.places.back();
}
int first_changed(Guards& guards) { return guards.first_changed(); }
py::object call(ArrayProgram& p, const py::tuple& args, const py::dict& kwargs) {
  return p.call(args, kwargs.ptr());
}
bool meets(ArrayProgram& p, const py::tuple& args, const py::dict& kwargs) { return p.meets(args, kwargs); }
std::string other_path(ArrayProgram& p, const ArrayRecording& eager) { return p.other_path(eager); }
template <auto describe>
auto shown(ArrayProgram& p) {
  return p.with_program(describe);
}

// An attribute whose getter is f. type: its type in the stub.
template <auto f>
PyGetSetDef attribute(const char* name, const char* type, setter set = nullptr) {
  const auto get = [](PyObject* self, void*) { return run_body(Method<f>::body, self, nullptr, 0, 0); };
  return {name, get, set, type, nullptr};
}
std::string fault(const ArrayRecording& r) { return r.fault; }
int64_t checks_left(const ArrayProgram& p) { return p.checks_left; }
int set_checks_left(PyObject* self, PyObject* value, void*) {
  if (!value) {
    PyErr_SetString(PyExc_AttributeError, "checks_left cannot be deleted");
    return -1;
  }
  const int64_t left = PyLong_AsLongLong(value);
  if (PyErr_Occurred()) return -1;
  program_of(self).checks_left = left;
  return 0;
}

using Form = std::shared_ptr<ProgramForm>;

py::object guard_form(PyObject*, PyObject* const* given, Py_ssize_t) {
  return ToPython<std::unique_ptr<GuardForm>>::convert(
      GuardForm::of(FromPython<py::list>::convert(given[0]), FromPython<py::list>::convert(given[1]),
                    FromPython<py::dict>::convert(given[2])));
}
PyMethodDef g_functions[] = {
    method<guard_form, 3>(
        "_guard_form",
        "_guard_form(roots: list[Any], guards: list[Any], described: dict[int, bool], /) -> "
        "GuardForm | None"),
    {nullptr, nullptr, 0, nullptr}};
PyMethodDef g_guard_form[] = {
    method<&GuardForm::take_objects>("take_objects", "take_objects(self: GuardForm) -> list[Any]"),
    method<&GuardForm::own_places>("own_places", "own_places(self: GuardForm) -> list[int]"),
    method<&GuardForm::match>(
        "match", "match(self: GuardForm, roots: list[Any], /) -> tuple[list[Any], list[Any]] | int"),
    {nullptr, nullptr, 0, nullptr}};

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
    method<&ArrayRecording::still_referenced>(
        "still_referenced", "still_referenced(self: Recording, arrays: list[Array], /) -> str | None"),
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
    method<&ArrayProgram::watched>("watched", "watched(self: Program) -> list[Any]"),
    method<&ArrayProgram::gradients>("gradients", "gradients(self: Program) -> list[tuple[Any, Any]]"),
    method<call>("call",
                 "call(self: Program, args: tuple[Any, ...], kwargs: dict[str, Any], /) -> tuple[Array, ...] "
                 "| None"),
    method<&ArrayProgram::set_threads>("set_threads", "set_threads(self: Program, solo: bool, /) -> None"),
    method<&ProgramForm::of>("form", "form(self: Program, arrays: list[Array], /) -> ProgramForm | None"),
    method<other_path>("other_path", "other_path(self: Program, eager: Recording, /) -> str"),
    method<shown<described_instructions>>("instructions",
                                          "instructions(self: Program) -> list[dict[str, Any]]"),
    method<shown<described_buffers>>("buffers", "buffers(self: Program) -> list[dict[str, Any]]"),
    method<shown<described_memory>>("memory", "memory(self: Program) -> dict[str, int]"),
    method<&ArrayProgram::prepared_share>("prepared_share", "prepared_share(self: Program) -> int"),
    {nullptr, nullptr, 0, nullptr}};
PyMethodDef g_guards[] = {method<&Guards::set>("set", "set(self: Guards, guards: list[Any], /) -> None"),
                          method<first_changed>("first_changed", "first_changed(self: Guards) -> int"),
                          {nullptr, nullptr, 0, nullptr}};
PyMethodDef g_form[] = {
    method<&ProgramForm::bound>(
        "bound",
        "bound(self: ProgramForm, arrays: list[Array], arguments: list[Array], gradients: "
        "list[Array], watched: list[Any], /) -> Program | None"),
    {nullptr, nullptr, 0, nullptr}};
PyMethodDef g_check[] = {
    method<&ArrayCheck::disturbed>("disturbed", "disturbed(self: Check) -> bool"),
    method<&ArrayCheck::is_complete>("is_complete", "is_complete(self: Check) -> bool"),
    method<&ArrayCheck::finish>("finish", "finish(self: Check) -> str"),
    method<&ArrayCheck::compare>("compare", "compare(self: Check, results: list[Array], /) -> str | None"),
    {nullptr, nullptr, 0, nullptr}};
PyGetSetDef g_of_recording[] = {attribute<fault>("fault", "str"), attribute<place>("place", "str"), {}};
PyGetSetDef g_of_program[] = {attribute<checks_left>("checks_left", "int", set_checks_left),
                              attribute<&ArrayProgram::results>("results", "int"),
                              {}};

}  // namespace

// The docstrings of the classes are the lines of the stub for their constructors.
void register_program(Module m) {
  ArrayProgram::set_up();
  def(m, "_guard_kind(name)", guard_kind);
  def(m, "share_memory(arrays, others)", share_memory);
  def(m, "paced(solo_ns, runs)", paced);
  add_class<ArrayRecording>(m, "ranvier._core.Recording", "__new__(cls, package: str, /) -> Recording",
                            {constructor<ArrayRecording, std::string>(),
                             {Py_tp_methods, g_recording},
                             {Py_tp_getset, g_of_recording}});
  add_class<ArrayProgram>(
      m, "ranvier._core.Program",
      "__new__(cls, recording: Recording, arguments: list[Array], outputs: list[Array], kept: "
      "list[Array], watched: list[Any], /) -> Program",
      {constructor<ArrayProgram, ArrayRecording, py::list, py::list, py::list, py::list>(),
       {Py_tp_traverse, slot(visit<ArrayProgram>)},
       {Py_tp_clear, slot(clear<ArrayProgram>)},
       {Py_tp_methods, g_program},
       {Py_tp_getset, g_of_program}},
      Py_TPFLAGS_HAVE_GC);
  add_class<Guards>(m, "ranvier._core.Guards", "__new__(cls) -> Guards",
                    {constructor<Guards>(),
                     {Py_tp_traverse, slot(visit<Guards>)},
                     {Py_tp_clear, slot(clear<Guards>)},
                     {Py_tp_methods, g_guards}},
                    Py_TPFLAGS_HAVE_GC);
  add_class<GuardForm>(m, "ranvier._core.GuardForm", "", {{Py_tp_methods, g_guard_form}},
                       Py_TPFLAGS_DISALLOW_INSTANTIATION);
  if (PyModule_AddFunctions(m.ptr(), g_functions) < 0) throw py::error_already_set();
  add_class<Form>(m, "ranvier._core.ProgramForm", "", {{Py_tp_methods, g_form}},
                  Py_TPFLAGS_DISALLOW_INSTANTIATION);
  add_class<ArrayCheck>(
      m, "ranvier._core.Check",
      "__new__(cls, program: Program, eager: Recording | None, arguments: "
      "list[Array], /) -> Check",
      {constructor<ArrayCheck, py::object, py::object, py::list>(), {Py_tp_methods, g_check}});
}

}  // namespace ranvier::bind
