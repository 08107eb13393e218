// Function.apply of the Python layer (autograd/function.py): one call of a Function, and its place on the
// tape.
#include <memory>

#include "bindings/define.h"
#include "bindings/grad_mode.h"
#include "bindings/guards.h"
#include "bindings/numpy_api.h"
#include "bindings/tensors.h"

namespace ranvier::bind {
namespace {

PyTypeObject* g_function;  // the class Function
struct {
  int64_t needs, edges, versions, changes, hooks, released;
} g_slots;
PyObject *g_absent, *g_as_inputs;  // an input that is None; what makes Tensors of other inputs
PyObject* g_own_recorded;          // `_recorded`, which autograd/trace.py replaces for a while
PyObject *g_forward, *g_is_view, *g_differentiable, *g_recorded, *g_unrecorded;

py::object checked(PyObject* result) {
  if (!result) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(result);
}
bool is_true(PyObject* owner, PyObject* name) {
  const int holds = PyObject_IsTrue(checked(PyObject_GetAttr(owner, name)).ptr());
  if (holds < 0) throw py::error_already_set();
  return holds;
}

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
  // Not so in a subclass whose __init__ does not call Tensor's.
  bool is_whole(size_t i) const {
    const TensorSlots& slots = tensor_slots();
    for (int64_t slot : {slots.array, slots.requires_grad, slots.grad_fn})
      if (!slot_of(tensors[i], slot)) return false;
    const Held cell = slot_of(tensors[i], slots.cell);
    return cell && PyList_CheckExact(cell.ptr()) && PyList_GET_SIZE(cell.ptr()) > 0;
  }
  bool are_tensors() const {
    for (size_t i = 0; i < count; ++i)
      if (is_tensor(i) ? !is_whole(i) : !is_none(i)) return false;
    return true;
  }
  bool need_gradients() const {
    for (size_t i = 0; i < count; ++i)
      if (needs(i)) return true;
    return false;
  }
  template <class F>  // f(i): a new reference
  py::object tuple(size_t first, const F& f) const {
    py::object items = checked(PyTuple_New(static_cast<Py_ssize_t>(first + count)));
    for (size_t i = 0; i < count; ++i) PyTuple_SET_ITEM(items.ptr(), first + i, f(i));
    return items;
  }
};

void set(PyObject* self, int64_t slot, const py::object& value) { set_slot(self, slot, value.ptr()); }

py::object forward(PyObject* self, const Inputs& inputs) {
  constexpr size_t kFew = 8;
  PyObject* few[kFew + 1];
  std::unique_ptr<PyObject*[]> many(inputs.count > kFew ? new PyObject*[inputs.count + 1] : nullptr);
  PyObject** arguments = many ? many.get() : few;
  arguments[0] = self;
  for (size_t i = 0; i < inputs.count; ++i)
    arguments[i + 1] =
        Py_NewRef(inputs.is_tensor(i) ? slot_of(inputs[i], tensor_slots().array).ptr() : Py_None);
  PyObject* result = PyObject_VectorcallMethod(g_forward, arguments, inputs.count + 1, nullptr);
  for (size_t i = 0; i < inputs.count; ++i) Py_DECREF(arguments[i + 1]);
  return checked(result);
}

// Whether the result is a new array alone: all else is Python's.
bool is_new_array(PyObject* self, const py::object& y) {
  return PyArray_CheckExact(y.ptr()) && checked(PyObject_GetAttr(self, g_is_view)).ptr() == Py_False;
}

py::object unrecorded(PyObject* self, const Inputs& inputs) {
  set(self, g_slots.needs, inputs.tuple(0, [](size_t) { return Py_NewRef(Py_False); }));
  const py::object y = forward(self, inputs);
  if (is_new_array(self, y)) return new_tensor(y.ptr());
  return checked(PyObject_CallMethodObjArgs(self, g_unrecorded, y.ptr(), inputs[0], nullptr));
}

py::object cell_of(const Inputs& inputs, size_t i) {
  if (!inputs.is_tensor(i)) return py::object(py::handle(g_absent).attr("_cell"));
  return py::reinterpret_borrow<py::object>(slot_of(inputs[i], tensor_slots().cell).ptr());
}

py::object recorded(PyObject* self, const Inputs& inputs) {
  const py::object version = new_cell();
  const auto needs = [&](size_t i) { return Py_NewRef(inputs.needs(i) ? Py_True : Py_False); };
  // The Function that made the input, or the input itself, a leaf; None: it gets no gradient.
  const auto edge = [&](size_t i) {
    if (!inputs.needs(i)) return Py_NewRef(Py_None);
    const Held maker = slot_of(inputs[i], tensor_slots().grad_fn);
    return Py_NewRef(maker.is_none() ? inputs[i] : maker.ptr());
  };
  set(self, g_slots.needs, inputs.tuple(0, needs));
  set(self, g_slots.edges, inputs.tuple(0, edge));
  py::object changes =
      inputs.tuple(1, [&](size_t i) { return Py_NewRef(item_of(cell_of(inputs, i).ptr(), 0).ptr()); });
  PyTuple_SET_ITEM(changes.ptr(), 0, PyLong_FromLong(0));
  py::object versions = inputs.tuple(1, [&](size_t i) { return cell_of(inputs, i).release().ptr(); });
  PyTuple_SET_ITEM(versions.ptr(), 0, Py_NewRef(version.ptr()));
  set(self, g_slots.changes, changes), set(self, g_slots.versions, versions);
  const py::object y = forward(self, inputs);
  set_slot(self, g_slots.hooks, Py_None), set_slot(self, g_slots.released, Py_False);
  const bool watched = class_attribute(g_function, g_recorded).ptr() != g_own_recorded;
  if (!watched && is_new_array(self, y)) return new_tensor(y.ptr(), true, self, version);
  return checked(PyObject_CallMethodObjArgs(self, g_recorded, y.ptr(), inputs[0], version.ptr(), nullptr));
}

[[noreturn]] void fail_once() {
  PyErr_SetString(
      PyExc_RuntimeError,
      "a Function instance records one call, because it keeps what its own backward needs: make a "
      "new one");
  throw py::error_already_set();
}

py::object applied(PyObject* self, const Inputs& inputs) {
  if (slot_of(self, g_slots.released)) fail_once();
  const bool records = is_grad_enabled() && inputs.need_gradients() && is_true(self, g_differentiable);
  return records ? recorded(self, inputs) : unrecorded(self, inputs);
}

PyObject* apply(PyObject* self, PyObject* const* arguments, Py_ssize_t count) {
  try {
    if (!PyObject_TypeCheck(self, g_function) || count == 0)
      fail_type("apply", "got no inputs, or another object; expected a Function and its inputs");
    const Inputs inputs{arguments, static_cast<size_t>(count)};
    if (inputs.are_tensors()) return applied(self, inputs).release().ptr();
    const py::object own = inputs.tuple(0, [&](size_t i) { return Py_NewRef(inputs[i]); });
    const py::object tensors = checked(PyObject_CallFunctionObjArgs(g_as_inputs, self, own.ptr(), nullptr));
    const Inputs converted{&PyTuple_GET_ITEM(tensors.ptr(), 0), inputs.count};
    if (!converted.are_tensors())
      fail_type("apply", "got an input that is no Tensor, or a Tensor without a call of its __init__");
    return applied(self, converted).release().ptr();
  } catch (py::error_already_set& e) {
    e.restore();
  } catch (...) {
    detail::raise_in_python();
  }
  return nullptr;
}

PyMethodDef g_methods[] = {
    {"apply", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(apply)), METH_FASTCALL,
     "apply(self: _FunctionBase, *inputs: Any) -> Any\n\n"
     "Runs forward on Tensors, NumPy arrays, numbers or None; records it if gradients are needed."},
    {nullptr, nullptr, 0, nullptr}};
PyType_Slot g_type_slots[] = {{Py_tp_methods, g_methods}, {0, nullptr}};
PyType_Spec g_type{"ranvier._core._FunctionBase", sizeof(PyObject), 0,
                   Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, g_type_slots};

}  // namespace

void register_tape(Module m) {
  const auto name = [](const char* text) { return PyUnicode_InternFromString(text); };
  g_forward = name("forward"), g_is_view = name("is_view"), g_differentiable = name("differentiable");
  g_recorded = name("_recorded"), g_unrecorded = name("_unrecorded");
  m.attr("_FunctionBase") = checked(PyType_FromSpec(&g_type));
  def(m, "_set_function_class(function, as_inputs, absent)", [](Raw function, Raw as_inputs, Raw absent) {
    const auto kept = [](const Raw& x) { return x.value.inc_ref().ptr(); };
    g_function = reinterpret_cast<PyTypeObject*>(kept(function));
    g_as_inputs = kept(as_inputs), g_absent = kept(absent);
    g_own_recorded = py::object(function.value.attr("_recorded")).release().ptr();
    const auto offset = [](const char* text) { return slot_offset(g_function, py::str(text).ptr()); };
    g_slots = {offset("needs"),   offset("edges"), offset("versions"),
               offset("changes"), offset("hooks"), offset("released")};
  });
}

}  // namespace ranvier::bind
