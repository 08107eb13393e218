// CompiledCall: the base class of compiled functions (python/ranvier/compile/compiled_function.py). It
// implements their calls.
//
// A call usually runs the Python method `_call`, which may "arm" the object with the program that it has just
// replayed. The next call then replays that program without Python, provided that `_call` would do the same:
// nothing observes, no other thread has the object's lock, and the program (ArrayProgram::call) finds that
// its guards hold and that the arguments fit. `_call` may also let the object "rest": the next calls then go
// straight to the function, without a look for a program. All other calls run `_call`.
#include "bindings/replay/compiled_call.h"

#include <utility>

#include "bindings/binder/define.h"
#include "bindings/binder/errors.h"
#include "bindings/binder/held.h"
#include "bindings/binder/methods.h"
#include "bindings/replay/array_program.h"
#include "bindings/tape/attached.h"
#include "bindings/tape/tape.h"
#include "bindings/tensors/grad_mode.h"
#include "bindings/tensors/tensors.h"

namespace ranvier::bind {
namespace {

struct CompiledCall {
  PyObject_HEAD PyObject* program;  // the armed program, a Program of compile/program.py; null: not armed
  PyObject* core;                   // its _core.Program, an ArrayProgram
  PyObject* model;                  // the __dict__ of the module whose forward pass is compiled, or None
  PyObject* lock;                   // the compiled function's lock
  bool one_tensor;                  // true if the step returns one Tensor
  PyObject* function;  // the function that runs while the object rests; null or None: `_call` does
  int64_t resting;     // how many calls the rest still lasts
  bool in_turn;        // true if calls while resting have to wait for replays in other threads
  PyObject* place;  // for a method: the key under which its object keeps the function (attached.h), or null
  PyObject* owner;  // a weak reference to the module that it is the call of, or null
};

// The list `running` of ranvier/observe.py, with an entry for each thread that runs a compiled function
// eagerly.
PyObject* g_running;
PyObject *g_call_method, *g_result, *g_training, *g_acquire, *g_release, *g_bound;
PyTypeObject* g_type_object;

bool is_empty(PyObject* list) { return PyList_GET_SIZE(list) == 0; }

#ifdef Py_GIL_DISABLED
constexpr bool kHasGil = false;  // without a GIL, all calls run `_call`
#else
constexpr bool kHasGil = true;
#endif

// Holds the lock of a compiled function, if no other thread has it (else it is false). A process with one
// thread needs no lock.
class Turn {
 public:
  explicit Turn(PyObject* lock) {
    if (is_alone()) return;
    lock_ = Py_NewRef(lock);
    PyObject* arguments[] = {lock_, Py_False};
    const auto got =
        py::reinterpret_steal<py::object>(PyObject_VectorcallMethod(g_acquire, arguments, 2, nullptr));
    has_ = got.ptr() == Py_True;
  }
  ~Turn() {
    const py::error_scope raised;
    if (lock_ && has_) Py_XDECREF(PyObject_VectorcallMethod(g_release, &lock_, 1, nullptr));
    Py_XDECREF(lock_);
  }
  explicit operator bool() const { return has_; }

 private:
  PyObject* lock_ = nullptr;  // a new reference; null: none is needed
  bool has_ = true;
};

// The program of a model's forward pass makes no tape. So it may only serve calls that need none: without
// gradients or in eval mode, and not as a part of a compiled function that runs eagerly.
bool is_off_tape(PyObject* model) {
  if (!is_empty(g_running)) return false;
  return !is_grad_enabled() || PyDict_GetItemWithError(model, g_training) == Py_False;
}

// Replays the armed program. Null without Python's error set: `_call` has to decide.
PyObject* replayed(CompiledCall& c, PyObject* arguments, PyObject* keywords) {
  // The guards may run Python code that disarms the object.
  const auto program = py::reinterpret_borrow<py::object>(c.program);
  const auto core = py::reinterpret_borrow<py::object>(c.core);
  const bool one_tensor = c.one_tensor;
  if (c.model != Py_None && !is_off_tape(c.model)) return nullptr;
  ArrayProgram& replay = program_of(core.ptr());
  const py::object results = replay.call(py::reinterpret_borrow<py::tuple>(arguments), keywords);
  if (results.ptr() == Py_False) ++replay.checks_left;  // `_call` tries the replay again and counts it then
  if (!PyTuple_CheckExact(results.ptr())) return nullptr;
  if (one_tensor) return new_tensor(PyTuple_GET_ITEM(results.ptr(), 0)).release().ptr();
  return PyObject_CallMethodObjArgs(program.ptr(), g_result, results.ptr(), nullptr);
}

// Calls the function itself. While it runs, g_running has an entry for this thread, by which compiled models
// inside recognise that they are part of it. The entry is searched from the end: other threads may have added
// theirs.
PyObject* run_eagerly(PyObject* function, PyObject* arguments, PyObject* keywords) {
  const auto thread = py::reinterpret_steal<py::object>(PyLong_FromUnsignedLong(PyThread_get_thread_ident()));
  if (!thread || PyList_Append(g_running, thread.ptr()) < 0) return nullptr;
  PyObject* result = PyObject_Call(function, arguments, keywords);
  const py::error_scope raised;
  for (Py_ssize_t i = PyList_GET_SIZE(g_running); i-- > 0;) {
    if (PyList_GET_ITEM(g_running, i) != thread.ptr()) continue;
    PyList_SetSlice(g_running, i, i + 1, nullptr);
    break;
  }
  return result;
}

CompiledCall& compiled_call(PyObject* self) { return *reinterpret_cast<CompiledCall*>(self); }

// A call of the compiled function: the armed program, the function itself while the object rests, or `_call`.
PyObject* call_compiled(PyObject* self, PyObject* arguments, PyObject* keywords) {
  CompiledCall& c = compiled_call(self);
  if (PyErr_CheckSignals() < 0) return nullptr;  // a loop in C, as map(), looks for no signals
  if (kHasGil && c.program && !anything_observes()) {
    PyObject* result = detail::guarded([&]() -> PyObject* {
      const Turn turn(c.lock);
      return turn ? replayed(c, arguments, keywords) : nullptr;
    });
    if (result || PyErr_Occurred()) return result;
  }
  const bool rests = kHasGil && c.resting > 0 && c.function != Py_None && !anything_observes();
  if (rests && (!c.in_turn || is_alone())) {
    --c.resting;
    const auto function = py::reinterpret_borrow<py::object>(c.function);  // held: the call may end the rest
    return run_eagerly(function.ptr(), arguments, keywords);
  }
  const auto method = py::reinterpret_steal<py::object>(PyObject_GetAttr(self, g_call_method));
  return method ? PyObject_Call(method.ptr(), arguments, keywords) : nullptr;
}

// For Py_tp_descr_get, `object.method` of a compiled method: each object has a compiled function of its own.
// One that exists is found here (attached.h); `_bound` of Python makes the others.
PyObject* get(PyObject* self, PyObject* object, PyObject*) {
  CompiledCall& c = compiled_call(self);
  if (!object || object == Py_None || !c.place) return Py_NewRef(self);
  const py::object method = attached(object, c.place);
  if (method) return PyMethod_New(method.ptr(), object);
  return PyObject_CallMethodOneArg(self, g_bound, object);
}

// The members that are references.
constexpr PyObject* CompiledCall::* kOfProgram[] = {&CompiledCall::program, &CompiledCall::core,
                                                    &CompiledCall::model, &CompiledCall::lock};
constexpr PyObject* CompiledCall::* kOthers[] = {&CompiledCall::function, &CompiledCall::place,
                                                 &CompiledCall::owner};

int visit_call(PyObject* self, visitproc visit, void* arg) {
  Py_VISIT(Py_TYPE(self));
  for (const auto member : kOfProgram) Py_VISIT(compiled_call(self).*member);
  for (const auto member : kOthers) Py_VISIT(compiled_call(self).*member);
  return 0;
}

void clear_program(CompiledCall& c) {
  for (const auto member : kOfProgram) Py_CLEAR(c.*member);
}

int clear_call(PyObject* self) {
  CompiledCall& c = compiled_call(self);
  c.resting = 0;
  clear_program(c);
  for (const auto member : kOthers) Py_CLEAR(c.*member);
  return 0;
}

void free_object(PyObject* self) {
  PyTypeObject* type = Py_TYPE(self);
  PyObject_GC_UnTrack(self);
  clear_call(self);
  type->tp_free(self);
  Py_DECREF(type);
}

py::object arm(PyObject* self, PyObject* const* arguments, Py_ssize_t) {  // the arguments: see g_methods
  CompiledCall& c = compiled_call(self);
  clear_program(c);
  c.program = Py_NewRef(arguments[0]);
  c.core = Py_NewRef(arguments[1]);
  c.model = Py_NewRef(arguments[3]);
  c.lock = Py_NewRef(arguments[4]);
  c.one_tensor = arguments[2] == Py_True;
  return py::none();
}

py::object disarm(PyObject* self, PyObject* const*, Py_ssize_t) {
  clear_program(compiled_call(self));
  return py::none();
}

py::object rest(PyObject* self, PyObject* const* arguments, Py_ssize_t) {
  const int64_t calls = whole_number(arguments[1]);
  CompiledCall& c = compiled_call(self);
  PyObject* before = std::exchange(c.function, Py_NewRef(arguments[0]));
  c.resting = calls;
  c.in_turn = arguments[2] == Py_True;
  Py_XDECREF(before);
  return py::none();
}

// _serve(place, owner): sets these members. place None: it is no method. owner None: it is no module's call.
py::object serve(PyObject* self, PyObject* const* arguments, Py_ssize_t) {
  if (arguments[1] != Py_None && !PyWeakref_Check(arguments[1]))
    fail_type("serve", "got another owner; expected a weak reference");
  CompiledCall& c = compiled_call(self);
  PyObject** const members[] = {&c.place, &c.owner};
  for (int i = 0; i < 2; ++i) {
    PyObject* value = arguments[i] == Py_None ? nullptr : Py_NewRef(arguments[i]);
    Py_XDECREF(std::exchange(*members[i], value));
  }
  return py::none();
}

// _rests(): true if the object rests, for calls that reach `_call` meanwhile (as with other threads). The
// call counts as one of the rest.
py::object rests(PyObject* self, PyObject* const*, Py_ssize_t) {
  CompiledCall& c = compiled_call(self);
  return py::bool_(c.resting > 0 && c.resting-- > 0);
}

py::object run_function(PyObject*, PyObject* const* arguments, Py_ssize_t) {
  if (!PyTuple_Check(arguments[1]) || !PyDict_Check(arguments[2]))
    fail_type("run", "got other arguments; expected a tuple and a dict");
  return checked(run_eagerly(arguments[0], arguments[1], arguments[2]));
}

PyMethodDef g_methods[] = {
    method<arm, 5>("_arm",
                   "_arm(self: _CompiledCall, program: Any, core: Program, one_tensor: bool, model: Any, "
                   "lock: Any) -> None"),
    method<disarm, 0>("_disarm", "_disarm(self: _CompiledCall) -> None"),
    method<rest, 3>("_rest", "_rest(self: _CompiledCall, function: Any, calls: int, in_turn: bool) -> None"),
    method<serve, 2>("_serve", "_serve(self: _CompiledCall, place: Any, owner: Any) -> None"),
    method<rests, 0>("_rests", "_rests(self: _CompiledCall) -> bool"),
    method<run_function, 3>(
        "_run_eagerly", "_run_eagerly(self: _CompiledCall, function: Any, args: Any, kwargs: Any) -> Any"),
    {nullptr, nullptr, 0, nullptr}};
PyType_Slot g_type_slots[] = {{Py_tp_call, slot(call_compiled)},  {Py_tp_descr_get, slot(get)},
                              {Py_tp_traverse, slot(visit_call)}, {Py_tp_clear, slot(clear_call)},
                              {Py_tp_dealloc, slot(free_object)}, {Py_tp_new, slot(PyType_GenericNew)},
                              {Py_tp_methods, g_methods},         {0, nullptr}};
PyType_Spec g_type{"ranvier._core._CompiledCall", sizeof(CompiledCall), 0,
                   Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC, g_type_slots};

}  // namespace

bool anything_runs_compiled() { return !is_empty(g_running); }

bool is_call_for(PyObject* call, PyObject* module) {
  if (!PyType_IsSubtype(Py_TYPE(call), g_type_object)) return false;
  PyObject* owner = compiled_call(call).owner;
  return owner && referent(owner).ptr() == module;
}

void register_compiled_call(Module m) {
  g_call_method = PyUnicode_InternFromString("_call");
  g_result = PyUnicode_InternFromString("result");
  g_training = PyUnicode_InternFromString("training");
  g_bound = PyUnicode_InternFromString("_bound");
  g_acquire = PyUnicode_InternFromString("acquire");
  g_release = PyUnicode_InternFromString("release");
  g_type_object = add_type(m, g_type);
  def(m, "_set_call_state(running, value_read)", [](Raw running, Raw value_read) {
    g_running = running.value.inc_ref().ptr();
    set_value_read(value_read.value.ptr());
  });
}

}  // namespace ranvier::bind
