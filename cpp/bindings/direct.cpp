// Kernels on Tensors without a node of the tape: of a result, and in place.
#include "bindings/define.h"
#include "bindings/grad_mode.h"
#include "bindings/guards.h"
#include "bindings/numpy_api.h"
#include "bindings/tape.h"
#include "bindings/tensors.h"
#include "bindings/views.h"

namespace ranvier::bind {
namespace {

PyObject* g_changed;          // views.bump
constexpr int kFirst = 3;     // views.FIRST: a cell of a Tensor that shares memory with no other has no more
constexpr int kBorrowed = 4;  // views.BORROWED

bool records(PyObject* tensor) {
  return is_grad_enabled() && slot_of(tensor, tensor_slots().requires_grad).ptr() == Py_True;
}

// The arguments of a kernel, new references: those of a call with the arrays of its Tensors.
class Passed {
 public:
  static constexpr size_t kMost = 10;

  // False: a Tensor needs a gradient, or the call is none of a kernel on Tensors.
  bool add(PyObject* argument) {
    if (count_ == kMost) return false;
    PyObject* array = nullptr;
    if (PyObject_TypeCheck(argument, tensor_class()))
      array = array_of(argument);
    else if ((PyList_CheckExact(argument) || PyTuple_CheckExact(argument)) && holds_tensors(argument))
      array = arrays_of(argument);
    else
      array = Py_NewRef(argument);
    if (array) arguments_[count_++] = py::reinterpret_steal<py::object>(array);
    return array;
  }

  // What the kernel returns; null where it refuses the arguments.
  py::object call(PyObject* kernel) const {
    PyObject* borrowed[kMost];
    for (size_t i = 0; i < count_; ++i) borrowed[i] = arguments_[i].ptr();
    PyObject* result = PyObject_Vectorcall(kernel, borrowed, count_, nullptr);
    if (!result) {
      if (!PyErr_ExceptionMatches(PyExc_Exception) || PyErr_ExceptionMatches(PyExc_MemoryError))
        throw py::error_already_set();
      PyErr_Clear();  // the way through Python raises it again, in its words
    }
    return py::reinterpret_steal<py::object>(result);
  }

 private:
  static PyObject* array_of(PyObject* tensor) {
    const Held array = slot_of(tensor, tensor_slots().array);
    return !array || records(tensor) ? nullptr : Py_NewRef(array.ptr());
  }
  static bool holds_tensors(PyObject* list) {
    return Py_SIZE(list) > 0 && PyObject_TypeCheck(PySequence_Fast_ITEMS(list)[0], tensor_class());
  }
  static PyObject* arrays_of(PyObject* list) {
    const auto items = py::reinterpret_steal<py::object>(PySequence_Tuple(list));
    py::object arrays = checked(PyTuple_New(PyTuple_GET_SIZE(items.ptr())));
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(items.ptr()); ++i) {
      PyObject* item = PyTuple_GET_ITEM(items.ptr(), i);
      PyObject* array = PyObject_TypeCheck(item, tensor_class()) ? array_of(item) : nullptr;
      if (!array) return nullptr;
      PyTuple_SET_ITEM(arrays.ptr(), i, array);
    }
    return arrays.release().ptr();
  }

  size_t count_ = 0;
  py::object arguments_[kMost];
};

// What a kernel returns, an array or several, as Tensors.
py::object as_tensors(const py::object& y) {
  if (!PyTuple_CheckExact(y.ptr())) return new_tensor(y.ptr());
  const Py_ssize_t n = PyTuple_GET_SIZE(y.ptr());
  py::object tensors = checked(PyTuple_New(n));
  for (Py_ssize_t i = 0; i < n; ++i)
    PyTuple_SET_ITEM(tensors.ptr(), i, new_tensor(PyTuple_GET_ITEM(y.ptr(), i)).release().ptr());
  return tensors;
}

PyObject* direct(PyObject*, PyObject* const* given, Py_ssize_t count) {
  return count ? answer_of(given[0], given + 1, count - 1) : Py_NewRef(Py_None);
}

// Whether the memory of a Tensor can be written without a look at its history: it needs no gradient, nor does
// the Tensor that it is a view of, and it is no array that the caller lent.
bool is_free(PyObject* tensor) {
  const TensorSlots& slots = tensor_slots();
  const Held cell = slot_of(tensor, slots.cell), view = slot_of(tensor, slots.view);
  if (!cell || !view || !PyList_CheckExact(cell.ptr()) || PyList_GET_SIZE(cell.ptr()) < kFirst) return false;
  if (whole_number(item_of(cell.ptr(), 2)) & kBorrowed) return false;
  // what a Function has saved of its result may have to be copied
  const auto has_maker = [&](PyObject* t) { return !slot_of(t, slots.grad_fn).is_none(); };
  if (has_maker(tensor)) return false;
  for (Py_ssize_t i = kFirst; i < PyList_GET_SIZE(cell.ptr()); ++i) {
    const py::object other = target_of(PyList_GET_ITEM(cell.ptr(), i));
    if (other && has_maker(other.ptr())) return false;
  }
  if (view.is_none() || !is_grad_enabled()) return true;
  if (!PyTuple_Check(view.ptr()) || PyTuple_GET_SIZE(view.ptr()) != 3) return false;
  PyObject* base = PyTuple_GET_ITEM(view.ptr(), 0);
  return PyObject_TypeCheck(base, tensor_class()) && !records(base);
}

// The array whose memory another one is a view of.
py::handle root_of(py::handle array) {
  while (PyArray_Check(array.ptr()) && PyArray_BASE(as_array(array)) &&
         PyArray_Check(PyArray_BASE(as_array(array))))
    array = PyArray_BASE(as_array(array));
  return array;
}

// Whether a Tensor is a view of one that requires gradients, so that a change gives it a new history.
bool follows_gradients(PyObject* tensor) {
  const Held view = slot_of(tensor, tensor_slots().view);
  if (!view || view.is_none()) return false;
  if (!PyTuple_Check(view.ptr()) || PyTuple_GET_SIZE(view.ptr()) != 3) return true;
  PyObject* base = PyTuple_GET_ITEM(view.ptr(), 0);
  return PyObject_TypeCheck(base, tensor_class()) &&
         slot_of(base, tensor_slots().requires_grad).ptr() == Py_True;
}

// As views.bump, to which it leaves the Tensors that get a new history.
void count_change(PyObject* tensor) {
  const TensorSlots& slots = tensor_slots();
  const Held cell = slot_of(tensor, slots.cell), array = slot_of(tensor, slots.array);
  bool simple = !follows_gradients(tensor);
  for (Py_ssize_t i = kFirst; simple && i < PyList_GET_SIZE(cell.ptr()); ++i) {
    PyObject* other = PyWeakref_GET_OBJECT(PyList_GET_ITEM(cell.ptr(), i));
    simple = other == Py_None || !follows_gradients(other);
  }
#ifdef Py_GIL_DISABLED  // weak references may end meanwhile
  simple = simple && PyList_GET_SIZE(cell.ptr()) == kFirst;
#endif
  if (!simple) return static_cast<void>(checked(PyObject_CallOneArg(g_changed, tensor)));
  const py::object changes = checked(PyLong_FromLongLong(whole_number(item_of(cell.ptr(), 0)) + 1));
  PyList_SetItem(cell.ptr(), 0, Py_NewRef(changes.ptr()));
  const Held last = item_of(cell.ptr(), 1);
  py::handle changed = array;
  if (!last.is_none() && last.ptr() != array.ptr()) changed = root_of(array);  // several views were
  PyList_SetItem(cell.ptr(), 1, Py_NewRef(changed.ptr()));
}

PyObject* in_place(PyObject*, PyObject* const* given, Py_ssize_t count) {
  return detail::guarded([&]() -> PyObject* {
    if (count < 2) return Py_NewRef(Py_False);
    PyObject* tensor = given[1];
    Passed passed;
    if (t_recording || is_observed() || !PyObject_TypeCheck(tensor, tensor_class()) || !is_free(tensor))
      return Py_NewRef(Py_False);
    for (Py_ssize_t i = 2; i < count; ++i)
      if (!passed.add(given[i])) return Py_NewRef(Py_False);
    if (!passed.add(tensor)) return Py_NewRef(Py_False);
    const py::object y = passed.call(given[0]);
    if (!y) return Py_NewRef(Py_False);
    // Another array: an operand is missing, and the kernel has taken its output for that.
    if (PyArray_Check(y.ptr()) && y.ptr() != slot_of(tensor, tensor_slots().array).ptr())
      return Py_NewRef(Py_False);
    count_change(tensor);
    return Py_NewRef(Py_True);
  });
}

PyCFunction as_c_function(PyObject* (*function)(PyObject*, PyObject* const*, Py_ssize_t)) {
  return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(function));
}

PyMethodDef g_functions[] = {
    {"_direct", as_c_function(direct), METH_FASTCALL,
     "_direct(kernel: Any, *inputs: Any) -> Any\n\n"
     "A new Tensor of what the kernel returns for the arrays of Tensors; None where one needs a gradient, or "
     "the kernel refuses them."},
    {"_in_place", as_c_function(in_place), METH_FASTCALL,
     "_in_place(kernel: Any, tensor: Any, *inputs: Any) -> bool\n\n"
     "Whether kernel(*inputs, out) has written to the memory of the tensor: not while a step is recorded, "
     "where gradients are needed, or where the kernel refuses the arrays."}};

}  // namespace

PyObject* answer_of(PyObject* kernel, PyObject* const* inputs, Py_ssize_t count) {
  return detail::guarded([&]() -> PyObject* {
    Passed passed;
    if (is_observed()) return Py_NewRef(Py_None);
    for (Py_ssize_t i = 0; i < count; ++i)
      if (!passed.add(inputs[i])) return Py_NewRef(Py_None);
    const py::object y = passed.call(kernel);
    return y ? as_tensors(y).release().ptr() : Py_NewRef(Py_None);
  });
}

void register_direct(Module m) {
  for (PyMethodDef& function : g_functions)
    m.attr(function.ml_name) =
        checked(PyCFunction_NewEx(&function, m.ptr(), py::object(m.attr("__name__")).ptr()));
  def(m, "_set_changed(changed)", [](Raw changed) { g_changed = changed.value.inc_ref().ptr(); });
}

}  // namespace ranvier::bind
