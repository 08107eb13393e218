// Function.apply of the Python layer (tape/function.py): calls forward with the arrays of Tensors, makes
// Tensors of the results, and, if a gradient is needed, makes the Function a node of the tape. Order: apply()
// (autocast, observers), unobserved() (converts inputs), applied(), then recorded() or unrecorded().
#include "bindings/tape/tape.h"

#include <memory>

#include "base/precision.h"
#include "bindings/binder/batched.h"
#include "bindings/binder/bfloat16.h"
#include "bindings/binder/define.h"
#include "bindings/binder/held.h"
#include "bindings/binder/methods.h"
#include "bindings/tape/autocast.h"
#include "bindings/tensors/array_views.h"
#include "bindings/tensors/grad_mode.h"
#include "bindings/tensors/tensors.h"
#include "bindings/tensors/views.h"

namespace ranvier::bind {

thread_local NeedsOfPass t_pass;
NodeClasses g_nodes;

namespace {
struct FunctionObject {
  PyObject head;
  int64_t sequence;  // see sequence_of()
};
FunctionObject* as_function(PyObject* function) { return reinterpret_cast<FunctionObject*>(function); }

thread_local int64_t t_last_sequence = 0;
}  // namespace

int64_t sequence_of(PyObject* function) { return as_function(function)->sequence; }

bool is_true(const py::object& x) {
  const int holds = PyObject_IsTrue(x.ptr());
  if (holds < 0) throw py::error_already_set();
  return holds;
}
bool is_true(PyObject* owner, PyObject* name) { return is_true(checked(PyObject_GetAttr(owner, name))); }

namespace {

// Objects of tape/function.py: _ABSENT, which stands for an input that is None; as_inputs(), which makes
// Tensors of other inputs; _widened(), which makes a call with half floats in float32.
PyObject *g_absent, *g_as_inputs;
PyObject* g_widened;
PyObject *g_forward, *g_is_view, *g_differentiable, *g_dtypes;  // names of attributes

// The inputs of a call, as borrowed references that the caller holds.
struct Inputs {
  PyObject* const* tensors;
  size_t count;
  PyObject* operator[](size_t i) const { return tensors[i]; }
  bool is_tensor(size_t i) const { return PyObject_TypeCheck(tensors[i], tensor_class()); }
  bool is_none(size_t i) const { return tensors[i] == g_absent || (i > 0 && tensors[i] == Py_None); }
  bool needs(size_t i) const {
    return is_tensor(i) && slot_of(tensors[i], tensor_slots().requires_grad).ptr() == Py_True;
  }
  // True if the Tensor's slots are set: a subclass may have an __init__ that does not call Tensor's.
  bool is_whole(size_t i) const {
    const TensorSlots& slots = tensor_slots();
    if (!has_array(tensors[i])) return false;
    for (int64_t slot : {slots.requires_grad, slots.grad_fn})
      if (!slot_of(tensors[i], slot)) return false;
    // An observer makes calls with batched Tensors, while there is one: without it vmap has ended.
    if (is_batched(slot_of(tensors[i], slots.array).ptr())) return false;
    const Held cell = slot_of(tensors[i], slots.cell);
    return cell && is_cell(cell.ptr());
  }
  int type_of(size_t i) const {
    const Held array = slot_of(tensors[i], tensor_slots().array);
    return PyArray_Check(array.ptr()) ? PyArray_TYPE(as_array(array)) : NPY_VOID;
  }
  // True if all inputs are whole Tensors or None. Sets `halves` to true if one of them has half floats.
  bool are_tensors(bool& halves) const {
    for (size_t i = 0; i < count; ++i) {
      const bool is_usable = is_tensor(i) ? is_whole(i) : is_none(i);
      if (!is_usable) return false;
      halves |= is_tensor(i) && is_half_type(type_of(i));
    }
    return true;
  }
  bool differ() const {  // true if floats have several dtypes
    int first = NPY_VOID;
    for (size_t i = 0; i < count; ++i) {
      const int type = is_tensor(i) ? type_of(i) : NPY_VOID;
      if (!is_float_type(type) || type == first) continue;
      if (first != NPY_VOID) return true;
      first = type;
    }
    return false;
  }
  bool need_gradients() const {
    for (size_t i = 0; i < count; ++i)
      if (needs(i)) return true;
    return false;
  }
  template <class F>  // the tuple of f(i) for each input; f returns new references
  py::object tuple(const F& f) const {
    return new_tuple(count, f);
  }
  template <class F>  // the same with another item in front
  py::object tuple(py::handle first, const F& f) const {
    return new_tuple(count + 1, [&](size_t i) { return i ? f(i - 1) : Py_NewRef(first.ptr()); });
  }
};

// Tuples of at most kShared items are made once and shared by all nodes: fewer objects are less work for
// Python's garbage collector. g_truths[n][bits]: n bools, of which item i is True if bit i is set.
// g_zeros[n]: n zeros.
constexpr size_t kShared = 4;
PyObject* g_truths[kShared + 1][1 << kShared];
PyObject* g_zeros[kShared + 1];

void make_shared() {
  for (size_t count = 0; count <= kShared; ++count) {
    const Inputs of_count{nullptr, count};
    g_zeros[count] = of_count.tuple([](size_t) { return PyLong_FromLong(0); }).release().ptr();
    for (size_t bits = 0; bits < size_t{1} << count; ++bits) {
      const auto truth = [=](size_t i) { return Py_NewRef(bits >> i & 1 ? Py_True : Py_False); };
      g_truths[count][bits] = of_count.tuple(truth).release().ptr();
    }
  }
}

// The tuple Function.needs: for each input whether it needs a gradient; all False unless recording.
py::object needs_of(const Inputs& inputs, bool recording) {
  const auto needs = [&](size_t i) { return recording && inputs.needs(i); };
  if (inputs.count > kShared)
    return inputs.tuple([&](size_t i) { return Py_NewRef(needs(i) ? Py_True : Py_False); });
  size_t bits = 0;
  for (size_t i = 0; i < inputs.count; ++i) bits |= size_t{needs(i)} << i;
  return py::reinterpret_borrow<py::object>(g_truths[inputs.count][bits]);
}

void set(PyObject* self, int64_t slot, const py::object& value) { set_slot(self, slot, value.ptr()); }
py::object cell_of(PyObject* tensor) {
  return py::reinterpret_borrow<py::object>(slot_of(tensor, tensor_slots().cell).ptr());
}

// self.forward(*arrays): an array or a tuple of arrays. Inputs that are no Tensors are None.
py::object forward(PyObject* self, const Inputs& inputs) {
  constexpr size_t kFew = 8;  // inputs for which no memory is allocated
  PyObject* few[kFew + 1];
  std::unique_ptr<PyObject*[]> many;
  if (inputs.count > kFew) many.reset(new PyObject*[inputs.count + 1]);
  PyObject** arguments = many ? many.get() : few;
  arguments[0] = self;
  for (size_t i = 0; i < inputs.count; ++i) {
    if (inputs.is_tensor(i)) {
      arguments[i + 1] = Py_NewRef(slot_of(inputs[i], tensor_slots().array).ptr());
    } else {
      arguments[i + 1] = Py_NewRef(Py_None);
    }
  }
  PyObject* result = PyObject_VectorcallMethod(g_forward, arguments, inputs.count + 1, nullptr);
  for (size_t i = 0; i < inputs.count; ++i) Py_DECREF(arguments[i + 1]);
  return checked(result);
}

// A result of forward as a plain array: an object of a subclass of ndarray, or a NumPy scalar, becomes one.
py::object plain_array(PyObject* y) {
  if (PyArray_CheckExact(y)) return py::reinterpret_borrow<py::object>(y);
  return checked(PyArray_FromAny(y, nullptr, 0, 0, NPY_ARRAY_ENSUREARRAY, nullptr));
}
bool is_floating(PyObject* tensor) {
  return is_float_type(PyArray_TYPE(as_array(slot_of(tensor, tensor_slots().array))));
}

// True if the Function's result shares memory with its first input x.
bool gives_view(PyObject* self, PyObject* x) {
  return PyObject_TypeCheck(x, tensor_class()) && is_true(self, g_is_view);
}
// The count of changes of a Tensor, as the tuple Function.changes of a Function with one count.
py::object count_at(PyObject* x) {
  const Held cell = slot_of(x, tensor_slots().cell);
  const int64_t changes = counted_changes(cell.ptr());
  if (changes == 0) return py::reinterpret_borrow<py::object>(g_zeros[1]);
  return checked(PyTuple_Pack(1, py::int_(changes).ptr()));
}
// Lists `made`, the Tensor or tuple of Tensors that the call has made, among the views of x
// (tensors/views.h). If a view needs no gradient, self.changes is the count of changes at which it was made:
// begin_gradients() of tensors/views.py compares it.
void join_views(PyObject* self, PyObject* made, PyObject* x, bool recording) {
  const bool several = PyTuple_CheckExact(made);
  const Py_ssize_t count = several ? PyTuple_GET_SIZE(made) : 1;
  for (Py_ssize_t i = 0; i < count; ++i) {
    PyObject* const view = several ? PyTuple_GET_ITEM(made, i) : made;
    join(view, x, self, recording);
    if (slot_of(view, tensor_slots().requires_grad).ptr() != Py_True)
      set_slot(self, g_nodes.changes, count_at(x).ptr());
  }
  if (several) mark_several(made);
}

template <class F>  // the tuple of f(array, i) for each of several results: f makes its Tensor
py::object tensors_of(PyObject* arrays, const F& f) {
  return new_tuple(PyTuple_GET_SIZE(arrays), [&](size_t i) {
    return f(plain_array(PyTuple_GET_ITEM(arrays, i)), static_cast<Py_ssize_t>(i)).release().ptr();
  });
}

// The result of a call that is not on the tape.
py::object unrecorded(PyObject* self, const Inputs& inputs) {
  set(self, g_nodes.needs, needs_of(inputs, false));
  const py::object y = forward(self, inputs);
  const bool view = gives_view(self, inputs[0]);
  const auto tensor = [&](const py::object& array, Py_ssize_t = 0) {
    return new_tensor(array.ptr(), false, Py_None, view ? cell_of(inputs[0]) : new_cell());
  };
  py::object made = PyTuple_CheckExact(y.ptr()) ? tensors_of(y.ptr(), tensor) : tensor(plain_array(y.ptr()));
  if (view) join_views(self, made.ptr(), inputs[0], is_grad_enabled());
  return made;
}

// Tensor._cell of an input (tensors/cell.h).
py::object cell_of(const Inputs& inputs, size_t i) {
  if (!inputs.is_tensor(i)) return py::object(py::handle(g_absent).attr("_cell"));
  return cell_of(inputs[i]);
}

// The Tensors of several results. Each floating one gets a node of its own, an Output, that leads to self.
py::object several_recorded(PyObject* self, PyObject* arrays) {
  const Py_ssize_t count = PyTuple_GET_SIZE(arrays);
  set(self, g_nodes.outputs, checked(PyLong_FromSsize_t(count)));
  py::object versions = checked(PyTuple_New(count));
  py::object changes = checked(PyTuple_New(count));
  py::object made = tensors_of(arrays, [&](const py::object& array, Py_ssize_t i) {
    py::object tensor = new_tensor(array.ptr());
    PyTuple_SET_ITEM(versions.ptr(), i, cell_of(tensor.ptr()).release().ptr());
    PyTuple_SET_ITEM(changes.ptr(), i, PyLong_FromLong(0));
    if (is_floating(tensor.ptr())) {
      const py::object number = checked(PyLong_FromSsize_t(i));
      auto* const kind = reinterpret_cast<PyObject*>(g_nodes.output);
      const py::object output = checked(PyObject_CallFunctionObjArgs(kind, self, number.ptr(), nullptr));
      set(tensor.ptr(), tensor_slots().grad_fn, output);
      set_slot(tensor.ptr(), tensor_slots().requires_grad, Py_True);
    }
    return tensor;
  });
  if (is_true(self, g_is_view)) return made;
  // self.versions and self.changes get an item for each output, also for integers: backward may read them.
  const auto extend = [&](int64_t slot, const py::object& more) {
    set(self, slot, checked(PySequence_Concat(slot_of(self, slot).ptr(), more.ptr())));
  };
  extend(g_nodes.versions, versions);
  extend(g_nodes.changes, changes);
  return made;
}

// True from the first node on that has the attribute `_precision`: set by recorded(), read while backward
// runs the node (PrecisionOfNode). Most programs have none, and look up no attribute.
bool g_has_precise_nodes = false;
PyObject* g_precision;  // its name

// The Tensors of a recorded call. y: forward's result; x: the first input; version: the cell of one result.
py::object outputs_of(PyObject* self, PyObject* y, PyObject* x, const py::object& version) {
  py::object made = PyTuple_CheckExact(y) ? several_recorded(self, y)
                                          : new_tensor(plain_array(y).ptr(), true, self, version);
  if (gives_view(self, x)) join_views(self, made.ptr(), x, true);
  return made;
}

// The tuple Function.changes: the count of changes of the new result, 0, and those of the inputs.
py::object changes_of(const Inputs& inputs) {
  const auto changes = [&](size_t i) { return counted_changes(cell_of(inputs, i).ptr()); };
  bool all_new = inputs.count < kShared;
  for (size_t i = 0; i < inputs.count && all_new; ++i) all_new = changes(i) == 0;
  if (all_new) return py::reinterpret_borrow<py::object>(g_zeros[inputs.count + 1]);
  return inputs.tuple(py::int_(0), [&](size_t i) { return PyLong_FromLongLong(changes(i)); });
}

// The result of a call that becomes a node of the tape. Forward may read `needs`, which is set before it.
py::object recorded(PyObject* self, const Inputs& inputs) {
  const py::object version = new_cell();
  // The edge of an input: the node that made it, a leaf itself, or None if it needs no gradient.
  const auto edge = [&](size_t i) {
    if (!inputs.needs(i)) return Py_NewRef(Py_None);
    const Held maker = slot_of(inputs[i], tensor_slots().grad_fn);
    return Py_NewRef(maker.is_none() ? inputs[i] : maker.ptr());
  };
  as_function(self)->sequence = ++t_last_sequence;
  set(self, g_nodes.needs, needs_of(inputs, true));
  set(self, g_nodes.edges, inputs.tuple(edge));
  set(self, g_nodes.changes, changes_of(inputs));
  const auto cell = [&](size_t i) { return cell_of(inputs, i).release().ptr(); };
  const py::object versions = inputs.tuple(version, cell);
  leave_to_counts(versions.ptr());
  set(self, g_nodes.versions, versions);
  const py::object y = forward(self, inputs);
  set_slot(self, g_nodes.hooks, Py_None);
  set_slot(self, g_nodes.released, Py_False);
  if (own_precision() >= 0) {
    g_has_precise_nodes = true;
    const py::object own = checked(PyLong_FromLong(own_precision()));
    if (PyObject_SetAttr(self, g_precision, own.ptr()) < 0) throw py::error_already_set();
  }
  return outputs_of(self, y.ptr(), inputs[0], version);
}

[[noreturn]] void fail_once() {
  PyErr_SetString(
      PyExc_RuntimeError,
      "a Function instance records one call, because it keeps what its own backward needs: make a "
      "new one");
  throw py::error_already_set();
}

py::object applied(PyObject* self, const Inputs& inputs) {
  if (slot_of(self, g_nodes.released)) fail_once();
  const bool records = is_grad_enabled() && inputs.need_gradients() && is_true(self, g_differentiable);
  return records ? recorded(self, inputs) : unrecorded(self, inputs);
}

// function(self, *inputs), where `function` is one of Python's.
py::object called(PyObject* function, PyObject* self, const Inputs& inputs) {
  const py::object all = inputs.tuple(self, [&](size_t i) { return Py_NewRef(inputs[i]); });
  return checked(PyObject_CallObject(function, all.ptr()));
}

// Of a call with half floats: true if g_widened makes it, as Dtypes.halves says (tape/function.py). "own":
// never. "forward": if a gradient is needed, or the inputs have several dtypes of floats. "float32": always.
// Views keep their dtype.
bool widens(PyObject* self, const Inputs& inputs) {
  if (is_true(self, g_is_view)) return false;
  const std::string halves = py::str(dtypes_of(self, 0));
  if (halves == "own") return false;
  return inputs.differ() || (is_grad_enabled() && inputs.need_gradients()) || halves != "forward";
}

// Function._apply: the call, without observers and autocast.
py::object unobserved(PyObject* self, PyObject* const* arguments, Py_ssize_t count) {
  if (!PyObject_TypeCheck(self, g_nodes.function) || count == 0)
    fail_type("apply", "got no inputs, or another object; expected a Function and its inputs");
  const Inputs inputs{arguments, static_cast<size_t>(count)};
  bool halves = false;
  if (inputs.are_tensors(halves))
    return halves && widens(self, inputs) ? called(g_widened, self, inputs) : applied(self, inputs);
  const py::object own = inputs.tuple([&](size_t i) { return Py_NewRef(inputs[i]); });
  const py::object tensors = checked(PyObject_CallFunctionObjArgs(g_as_inputs, self, own.ptr(), nullptr));
  const Inputs converted{&PyTuple_GET_ITEM(tensors.ptr(), 0), inputs.count};
  if (!converted.are_tensors(halves))
    fail_type("apply", "got an input that is no Tensor, or a Tensor without a call of its __init__");
  return halves && widens(self, converted) ? called(g_widened, self, converted) : applied(self, converted);
}

// The attribute Function.needs: the slot _needs, or t_pass.needs while backward runs the node.
PyObject* get_needs(PyObject* self, void*) {
  if (t_pass.node == self) return Py_NewRef(t_pass.needs);
  if (const Held needs = slot_of(self, g_nodes.needs)) return Py_NewRef(needs.ptr());
  PyErr_SetString(PyExc_AttributeError, "needs: it is known as soon as apply() is called");
  return nullptr;
}
int set_needs(PyObject* self, PyObject* needs, void*) {
  if (needs) {
    set_slot(self, g_nodes.needs, needs);
    return 0;
  }
  PyErr_SetString(PyExc_AttributeError, "needs cannot be deleted");
  return -1;
}
PyGetSetDef g_getset[] = {{"needs", get_needs, set_needs, "tuple[bool, ...]", nullptr},
                          {nullptr, nullptr, nullptr, nullptr, nullptr}};

// Function.apply
py::object apply(PyObject* self, PyObject* const* arguments, Py_ssize_t count) {
  if (t_autocast && PyObject_TypeCheck(self, g_nodes.function))
    if (py::object y = autocast_applied(self, arguments, static_cast<size_t>(count))) return y;
  if (!is_observed()) return unobserved(self, arguments, count);
  const Inputs inputs{arguments, static_cast<size_t>(count)};
  bool halves = false;
  const bool wide = inputs.are_tensors(halves) && halves && widens(self, inputs);
  return called(wide ? g_widened : observed_apply(), self, inputs);
}

PyMethodDef g_node_methods[] = {
    method<reshaped, 1>("_reshaped", "_reshaped(self: _FunctionBase, x: Any) -> Any"),
    method<permuted, 1>("_permuted", "_permuted(self: _FunctionBase, x: Any) -> Any"),
    method<expanded, 1>("_expanded", "_expanded(self: _FunctionBase, x: Any) -> Any"),
    method<picked, 1>("_picked", "_picked(self: _FunctionBase, x: Any) -> Any"),
    method<on_diagonal, 1>("_diagonal", "_diagonal(self: _FunctionBase, x: Any) -> Any"),
    method<in_windows, 1>("_windows", "_windows(self: _FunctionBase, x: Any) -> Any"),
    method<unobserved, kAnyNumber>("_apply", "_apply(self: _FunctionBase, *inputs: Any) -> Any"),
    method<apply, kAnyNumber>(
        "apply",
        "apply(self: _FunctionBase, *inputs: Any) -> Any\n\nRuns forward on Tensors, NumPy arrays, "
        "numbers or None; records it if gradients are needed."),
    {nullptr, nullptr, 0, nullptr}};

PyType_Slot g_type_slots[] = {{Py_tp_methods, g_node_methods}, {Py_tp_getset, g_getset}, {0, nullptr}};
PyType_Spec g_type{"ranvier._core._FunctionBase", sizeof(FunctionObject), 0,
                   Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, g_type_slots};

}  // namespace

py::object dtypes_of(PyObject* function, Py_ssize_t field) {
  return checked(PySequence_GetItem(checked(PyObject_GetAttr(function, g_dtypes)).ptr(), field));
}

PrecisionOfNode::PrecisionOfNode(PyObject* node)
    : holds_(g_has_precise_nodes && PyObject_HasAttr(node, g_precision)) {
  if (!holds_) return;
  const py::object own = checked(PyObject_GetAttr(node, g_precision));
  before_ = set_own_precision(static_cast<int>(PyLong_AsLong(own.ptr())));
}
PrecisionOfNode::~PrecisionOfNode() {
  if (holds_) set_own_precision(before_);
}

py::object applied_to(PyObject* function, PyObject* x) {
  return is_observed() ? apply(function, &x, 1) : applied(function, Inputs{&x, 1});
}

void register_tape(Module m) {
  make_shared();
  const auto name = [](const char* text) { return PyUnicode_InternFromString(text); };
  g_forward = name("forward");
  g_is_view = name("is_view");
  g_differentiable = name("differentiable");
  g_dtypes = name("dtypes");
  g_precision = name("_precision");
  add_type(m, g_type);
  def(m, "_set_function_class(function, output, as_inputs, absent, widened)",
      [](Raw function, Raw output, Raw as_inputs, Raw absent, Raw widened) {
        const auto kept = [](const Raw& x) { return x.value.inc_ref().ptr(); };
        const auto type = [&](const Raw& x) { return reinterpret_cast<PyTypeObject*>(kept(x)); };
        g_as_inputs = kept(as_inputs);
        g_absent = kept(absent);
        g_widened = kept(widened);
        const auto offset = [own = type(function)](const char* text) {
          return slot_offset(own, py::str(text).ptr());
        };
        g_nodes = {type(function),  type(output),       offset("_needs"),
                   offset("edges"), offset("versions"), offset("changes"),
                   offset("hooks"), offset("released"), offset("outputs")};
      });
}

}  // namespace ranvier::bind
