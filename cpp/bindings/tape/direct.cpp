// The ops that by_kernel() and into() of tape/function.py declare. ByKernel calls one kernel on the arrays of
// the call's Tensors and makes a Tensor of its result, or makes a node if a gradient is needed. Into lets the
// kernel write to the memory of the first Tensor, which is the result. untaped.cpp calls answer(), and calls
// Python where answer() returns nothing.
#include <algorithm>

#include "bindings/tape/untaped.h"
#include "bindings/tensors/views.h"

namespace ranvier::bind {
namespace untaped {
namespace {

PyObject* g_changed;  // `bump` of tensors/views.py: notes a change in place of a Tensor

// True if an op on this Tensor has to be on the tape.
bool records(PyObject* tensor) {
  return is_grad_enabled() && slot_of(tensor, tensor_slots().requires_grad).ptr() == Py_True;
}

// The arguments of a kernel: those of a call, with arrays in place of Tensors and of lists of Tensors. It
// holds references to them.
class Passed {
 public:
  static constexpr size_t kMost = 10;  // arguments

  // Adds an argument. False if a Tensor needs a gradient or has no array, or if there are too many arguments.
  bool add(PyObject* argument) {
    if (count_ == kMost) return false;
    PyObject* array = nullptr;
    if (PyObject_TypeCheck(argument, tensor_class()))
      array = array_without_gradient(argument);
    else if ((PyList_CheckExact(argument) || PyTuple_CheckExact(argument)) && holds_tensors(argument))
      array = arrays_of(argument);
    else
      array = Py_NewRef(argument);
    if (array) {
      arguments_[count_] = py::reinterpret_steal<py::object>(array);
      ++count_;
    }
    const bool is_of_tensor = array && array != argument && PyArray_Check(array);
    halves_ = halves_ || (is_of_tensor && is_half_type(PyArray_TYPE(as_array(array))));
    return array != nullptr;
  }

  bool add_all(PyObject* const* arguments, Py_ssize_t count) {
    return std::all_of(arguments, arguments + count, [&](PyObject* x) { return add(x); });
  }

  bool has_halves() const { return halves_; }
  // Calls the kernel. The result is empty if the kernel refuses the arguments: it returns NotImplemented, or
  // raises an error, which takes longer. names: the tuple of names of the last arguments, or null.
  py::object call(PyObject* kernel, PyObject* names) const {
    PyObject* borrowed[kMost];
    for (size_t i = 0; i < count_; ++i) borrowed[i] = arguments_[i].ptr();
    const size_t named = names ? PyTuple_GET_SIZE(names) : 0;
    PyObject* const y = PyObject_Vectorcall(kernel, borrowed, count_ - named, names);
    if (!y && PyErr_ExceptionMatches(PyExc_Exception) && !PyErr_ExceptionMatches(PyExc_MemoryError))
      PyErr_Clear();  // the op's function of Python then gets the call, and raises the error in its own words
    const auto made = py::reinterpret_steal<py::object>(y);
    if (y == Py_NotImplemented) return {};
    return made;
  }

 private:
  // A new reference; null if the Tensor has no array or needs a gradient.
  static PyObject* array_without_gradient(PyObject* tensor) {
    const Held array = slot_of(tensor, tensor_slots().array);
    if (!array || records(tensor)) return nullptr;
    return Py_NewRef(array.ptr());
  }
  static bool holds_tensors(PyObject* list) {
    return Py_SIZE(list) > 0 && PyObject_TypeCheck(PySequence_Fast_ITEMS(list)[0], tensor_class());
  }
  // The same for a list of Tensors: a tuple of their arrays.
  static PyObject* arrays_of(PyObject* list) {
    const auto items = py::reinterpret_steal<py::object>(PySequence_Tuple(list));
    py::object arrays = checked(PyTuple_New(PyTuple_GET_SIZE(items.ptr())));
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(items.ptr()); ++i) {
      PyObject* item = PyTuple_GET_ITEM(items.ptr(), i);
      if (!PyObject_TypeCheck(item, tensor_class())) return nullptr;
      PyObject* array = array_without_gradient(item);
      if (!array) return nullptr;
      PyTuple_SET_ITEM(arrays.ptr(), i, array);
    }
    return arrays.release().ptr();
  }

  size_t count_ = 0;
  bool halves_ = false;
  py::object arguments_[kMost];
};

// The result of a kernel as a Tensor, or as a tuple of Tensors if it is a tuple of arrays. result: the class
// of named tuples to make of several, or null.
py::object as_tensors(const py::object& y, PyObject* result) {
  if (!PyTuple_CheckExact(y.ptr())) return new_tensor(y.ptr());
  const auto tensor = [&](size_t i) { return new_tensor(PyTuple_GET_ITEM(y.ptr(), i)).release().ptr(); };
  py::object tensors = new_tuple(PyTuple_GET_SIZE(y.ptr()), tensor);
  if (!result) return tensors;
  const py::object items = checked(PyTuple_Pack(1, tensors.ptr()));
  return checked(PyTuple_Type.tp_new(reinterpret_cast<PyTypeObject*>(result), items.ptr(), nullptr));
}

// kernel(arguments ...): a Tensor, or several.
struct ByKernel final : Op {
  ByKernel(py::handle node, py::handle make_node) : node(node, make_node) {}
  py::object answer(PyObject* const* arguments, Py_ssize_t count, PyObject* names) const override;
  py::object by_node(PyObject* const* arguments, Py_ssize_t count) const;

  NodeMaker node;     // node(settings ...) makes the node if a gradient is needed
  PyObject* result;   // the class of named tuples that several results make, or null
  Py_ssize_t inputs;  // how many first arguments are inputs of the node
  Py_ssize_t most;    // how many arguments the kernel takes
  bool floats;        // Python computes calls whose first Tensor has no dtype of floats
  bool autocast;      // Python computes calls in blocks of autocast
};

// node(settings ...).apply(inputs ...); empty if Python has to make the call.
py::object ByKernel::by_node(PyObject* const* arguments, Py_ssize_t count) const {
  if (count < inputs) return {};
  PyObject* const maker = node.get();
  if (!maker) return {};
  const auto made = py::reinterpret_steal<py::object>(
      PyObject_Vectorcall(maker, arguments + inputs, count - inputs, nullptr));
  if (!made) return {};
  PyObject* all[Passed::kMost + 1] = {made.ptr()};
  std::copy_n(arguments, inputs, all + 1);
  return applied(all, inputs + 1);
}

// Calls the kernel; makes the node if an argument needs a gradient.
py::object ByKernel::answer(PyObject* const* arguments, Py_ssize_t count, PyObject* names) const {
  if (names || is_observed() || (t_autocast && autocast)) return {};
  if (floats && count && PyObject_TypeCheck(arguments[0], tensor_class())) {
    const Held array = slot_of(arguments[0], tensor_slots().array);
    if (!array || !is_known(PyArray_TYPE(as_array(array))) || known(PyArray_TYPE(as_array(array))).rank < 2)
      return {};
  }
  Passed passed;
  if (!passed.add_all(arguments, std::min(count, most))) return by_node(arguments, count);
  // A `kernel` that is a function of Python calls several kernels, each of which would round halves.
  if (floats && passed.has_halves() && !PyCFunction_Check(kernel)) return {};
  const py::object y = passed.call(kernel, nullptr);
  return y ? as_tensors(y, result) : y;
}

// The base in `view`, a Tensor's _view that is not None. Null unless it is a tuple of three items
// (tensors/views.py).
PyObject* base_of(const Held& view) {
  return PyTuple_Check(view.ptr()) && PyTuple_GET_SIZE(view.ptr()) == 3 ? PyTuple_GET_ITEM(view.ptr(), 0)
                                                                        : nullptr;
}

// True if the memory of a Tensor can be written without a change of the tape. It must not be lent by the
// caller (`borrowed`), no Function may have made this Tensor or another one of the same memory, and the base
// of a view must need no gradient.
bool is_free(PyObject* tensor) {
  const TensorSlots& slots = tensor_slots();
  const Held cell = slot_of(tensor, slots.cell);
  const Held view = slot_of(tensor, slots.view);
  if (!cell || !view || !is_cell(cell.ptr()) || cell_at(cell.ptr()).borrowed) return false;
  // A Function may have saved its result for backward; Python then copies it before the change.
  const auto has_maker = [&](PyObject* t) { return !slot_of(t, slots.grad_fn).is_none(); };
  if (has_maker(tensor)) return false;
  const Held links = links_of(cell.ptr());
  for (Py_ssize_t i = 0; i < count_of(links); ++i) {
    const py::object other = target_of(PyList_GET_ITEM(links.ptr(), i));
    if (other && has_maker(other.ptr())) return false;
  }
  if (view.is_none() || !is_grad_enabled()) return true;
  PyObject* const base = base_of(view);
  return base && PyObject_TypeCheck(base, tensor_class()) && !records(base);
}

// True if a Tensor is a view of one that requires gradients, so that a change gives it a new history.
bool follows_gradients(PyObject* tensor) {
  const Held view = slot_of(tensor, tensor_slots().view);
  if (!view || view.is_none()) return false;
  PyObject* const base = base_of(view);
  return !base || (PyObject_TypeCheck(base, tensor_class()) &&
                   slot_of(base, tensor_slots().requires_grad).ptr() == Py_True);
}

// Counts a change in place of the Tensor, as `bump` of tensors/views.py. Calls that function if the Tensor,
// or another one of its memory, is a view that gets new nodes of the tape.
void note_change(PyObject* tensor) {
  const TensorSlots& slots = tensor_slots();
  const Held cell = slot_of(tensor, slots.cell);
  const Held array = slot_of(tensor, slots.array);
  bool simple = !follows_gradients(tensor);
  const Held links = links_of(cell.ptr());
  for (Py_ssize_t i = 0; simple && i < count_of(links); ++i) {
    PyObject* other = PyWeakref_GET_OBJECT(PyList_GET_ITEM(links.ptr(), i));
    simple = other == Py_None || !follows_gradients(other);
  }
#ifdef Py_GIL_DISABLED  // another thread may free the objects that the loop has looked at
  simple = simple && count_of(links) == 0;
#endif
  if (simple) {
    count_change(cell.ptr(), array.ptr());
  } else {
    checked(PyObject_CallOneArg(g_changed, tensor));
  }
}

// kernel(arguments ..., out), where `out` is the array of the first Tensor, which is the result. Python makes
// the calls while a step is recorded and those that need gradients.
struct Into final : Op {
  py::object answer(PyObject* const* arguments, Py_ssize_t count, PyObject* names) const override;
  // The kernel for a dtype of this kind (NumPy's 'f', 'i', 'u' ...), or null. named: the call has keywords.
  PyObject* kernel_for(char kind, bool named) const {
    if (named) return kind == 'f' ? with_names : nullptr;
    if (kind == 'f') return kernel;
    if (kind == 'i' || kind == 'u') return of_integers;
    return of_others;
  }

  // Kernels beside `kernel`, which is for floats, or null: for integers, for other dtypes, for floats in a
  // call with keywords.
  PyObject *of_integers, *of_others, *with_names;
  Py_ssize_t most;  // how many of the call's arguments the kernel gets
  bool reads;       // the tensor is the kernel's first argument, too
};

py::object Into::answer(PyObject* const* arguments, Py_ssize_t count, PyObject* names) const {
  if (is_observed() || t_recording || !count || !PyObject_TypeCheck(arguments[0], tensor_class())) return {};
  PyObject* const tensor = arguments[0];
  const Held array = slot_of(tensor, tensor_slots().array);
  if (!array || !is_free(tensor)) return {};
  PyObject* const writes = kernel_for(PyArray_DESCR(as_array(array))->kind, /*named=*/names != nullptr);
  if (!writes) return {};
  const Py_ssize_t first = reads ? 0 : 1;
  const Py_ssize_t named = names ? PyTuple_GET_SIZE(names) : 0;  // they follow the `count` others
  Passed passed;
  if (!passed.add_all(arguments + first, std::min(count - first, most)) || !passed.add(tensor) ||
      !passed.add_all(arguments + count, named))
    return {};
  const py::object y = passed.call(writes, names);
  // Another array as the result: the call lacked an operand, so the kernel took the output in its place.
  if (!y || (PyArray_Check(y.ptr()) && y.ptr() != array.ptr())) return {};
  note_change(tensor);
  return py::reinterpret_borrow<py::object>(tensor);
}

// takes: the number of arguments; -1: any number.
Py_ssize_t most_of(const Whole& takes) { return takes.number < 0 ? PY_SSIZE_T_MAX : takes.number; }

}  // namespace
}  // namespace untaped

void register_direct(Module m) {
  using namespace untaped;
  def(m,
      "_by_kernel(in_python, kernel, node=None, make_node=None, inputs=1, floats=False, result=None, "
      "takes=-1, autocast=False, name=None)",
      [](Raw in_python, Raw kernel, Raw node, Raw make_node, Whole inputs, Truth floats, Raw result,
         Whole takes, Truth autocast, Raw name) {
        auto* op = new ByKernel(node.value, make_node.value);
        op->result = kept(result.value);
        op->inputs = std::min<Py_ssize_t>(inputs.number, Passed::kMost);
        op->most = most_of(takes);
        op->floats = floats;
        op->autocast = autocast;
        return function_of(op, in_python.value, kernel.value, name.value);
      });
  def(m,
      "_into(in_python, of_floats, of_integers, of_others, with_names=None, reads=False, takes=-1, "
      "name=None)",
      [](Raw in_python, Raw of_floats, Raw of_integers, Raw of_others, Raw with_names, Truth reads,
         Whole takes, Raw name) {
        auto* op = new Into;
        op->of_integers = kept(of_integers.value);
        op->of_others = kept(of_others.value);
        op->with_names = kept(with_names.value);
        op->most = most_of(takes);
        op->reads = reads;
        return function_of(op, in_python.value, of_floats.value, name.value);
      });
  def(m, "_set_changed(changed)", [](Raw changed) { g_changed = changed.value.inc_ref().ptr(); });
}

}  // namespace ranvier::bind
