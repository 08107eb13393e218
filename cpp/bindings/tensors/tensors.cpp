// Makes Tensors from arrays, and binds the attributes and methods of Tensor that the core implements.
#include "bindings/tensors/tensors.h"

#include <structmember.h>

#include "bindings/binder/batched.h"
#include "bindings/binder/define.h"
#include "bindings/binder/errors.h"
#include "bindings/binder/held.h"
#include "bindings/binder/methods.h"
#include "bindings/binder/numpy_api.h"
#include "bindings/tensors/grad_mode.h"

namespace ranvier::bind {
namespace {

PyTypeObject* g_tensor = nullptr;  // the class Tensor
PyObject* g_no_arguments;          // the empty tuple
TensorSlots g_slots;
// A list indexed by NumPy's type numbers: the library's dtype objects, or None.
py::object* g_dtypes = nullptr;

// Tensor.dtype: the library's dtype object, or NumPy's if there is none.
PyObject* dtype_of_tensor(PyObject* tensor, void*) {
  PyObject* array = slot_at(tensor, g_slots.array);
  if (!array || !PyArray_Check(array)) {
    PyErr_SetString(PyExc_AttributeError, "dtype");
    return nullptr;
  }
  PyArray_Descr* descr = PyArray_DESCR(as_array(array));
  PyObject* found = Py_None;
  if (descr->type_num < PyList_GET_SIZE(g_dtypes->ptr()))
    found = PyList_GET_ITEM(g_dtypes->ptr(), descr->type_num);
  if (found == Py_None) found = reinterpret_cast<PyObject*>(descr);
  return Py_NewRef(found);
}
PyTypeObject* g_size = nullptr;  // the class of Tensor.shape, a subclass of tuple

PyObject* shape_of_tensor(PyObject* tensor, void*) {
  PyObject* array = slot_at(tensor, g_slots.array);
  if (!array || !PyArray_Check(array)) {
    PyErr_SetString(PyExc_AttributeError, "shape");
    return nullptr;
  }
  const int ndim = PyArray_NDIM(as_array(array));
  PyObject* size = g_size->tp_alloc(g_size, ndim);
  for (int d = 0; size && d < ndim; ++d)
    PyTuple_SET_ITEM(size, d, PyLong_FromLongLong(PyArray_DIM(as_array(array), d)));
  return size;
}
PyGetSetDef g_read_in_c[] = {{"dtype", dtype_of_tensor, nullptr, nullptr, nullptr},
                             {"shape", shape_of_tensor, nullptr, nullptr, nullptr}};

struct NewTensor : py::object {
  RANVIER_ANNOTATION("Any");
};

// True if all elements of an array of bools are bytes of 0 or 1, as the kernels expect. False if the array
// has gaps in memory, whose elements are not looked at.
bool has_plain_bools(PyArrayObject* array) {
  if (!PyArray_ISONESEGMENT(array)) return false;
  const auto* const bytes = reinterpret_cast<const unsigned char*>(PyArray_BYTES(array));
  unsigned char any = 0;
  for (npy_intp i = 0; i < PyArray_SIZE(array); ++i) any |= bytes[i];
  return any < 2;
}

// _on_memory(array): a Tensor on the memory of the array. None if the array first has to be copied, or is
// refused.
py::object on_memory(PyObject*, PyObject* const* a, Py_ssize_t) {
  if (!PyArray_CheckExact(a[0])) return py::none();
  PyArrayObject* const array = as_array(a[0]);
  const char kind = PyArray_DESCR(array)->kind;
  const bool is_number = kind == 'f' || kind == 'i' || kind == 'u' || kind == 'b';
  if (!is_number || PyArray_ISBYTESWAPPED(array) || PyArray_SIZE(array) < 1 ||
      PyArray_SIZE(array) > int64_t{1} << 40 || (kind == 'b' && !has_plain_bools(array)))
    return py::none();
  const py::object cell = new_cell();
  cell_at(cell.ptr()).unwatched = 1;
  return new_tensor(a[0], false, Py_None, cell);
}

// _steps(tensor): the tuple of Tensor.stride(), in elements.
py::object steps(PyObject*, PyObject* const* a, Py_ssize_t) {
  PyArrayObject* const array = as_array(slot_at(a[0], g_slots.array));
  npy_intp counts[NPY_MAXDIMS];
  for (int d = 0; d < PyArray_NDIM(array); ++d)
    counts[d] = PyArray_STRIDE(array, d) / PyArray_ITEMSIZE(array);
  return checked(PyArray_IntTupleFromIntp(PyArray_NDIM(array), counts));
}

// Tensor.contiguous: returns a tensor that is in C order. All other calls go to Python's method g_contiguous.
PyObject* g_contiguous;
PyObject* contiguous(PyObject* tensor, PyObject* const* given, Py_ssize_t count, PyObject* names) {
  const Held array = slot_of(tensor, g_slots.array);
  if (!count && !names && array && PyArray_Check(array.ptr()) && PyArray_IS_C_CONTIGUOUS(as_array(array)))
    return Py_NewRef(tensor);
  PyObject* const method = PyMethod_New(g_contiguous, tensor);
  if (!method) return nullptr;
  PyObject* const y = PyObject_Vectorcall(method, given, static_cast<size_t>(count), names);
  Py_DECREF(method);
  return y;
}

// _set_contiguous(tensor, text): puts the method above in place of the class's own. text: its docstring,
// which begins with the signature.
py::object set_contiguous(PyObject*, PyObject* const* a, Py_ssize_t) {
  g_contiguous = checked(PyObject_GetAttrString(a[0], "contiguous")).release().ptr();
  static PyMethodDef own{"contiguous",
                         reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(contiguous)),
                         METH_FASTCALL | METH_KEYWORDS, PyUnicode_AsUTF8(Py_NewRef(a[1]))};
  const py::object method = checked(PyDescr_NewMethod(reinterpret_cast<PyTypeObject*>(a[0]), &own));
  if (PyObject_SetAttrString(a[0], "contiguous", method.ptr()) < 0) throw py::error_already_set();
  return py::none();
}

// size[key] of Tensor.shape: a slice has the class of `size`, too.
PyObject* item_of_size(PyObject* size, PyObject* key) {
  PyObject* const items = PyTuple_Type.tp_as_mapping->mp_subscript(size, key);
  if (!items || !PySlice_Check(key)) return items;
  PyObject* const part = PyObject_CallOneArg(reinterpret_cast<PyObject*>(g_size), items);
  Py_DECREF(items);
  return part;
}
PyType_Slot g_size_slots[] = {{Py_mp_subscript, reinterpret_cast<void*>(item_of_size)}, {0, nullptr}};
PyType_Spec g_size_spec{"ranvier._core._SizeBase", 0, 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
                        g_size_slots};

PyMethodDef g_tensor_functions[] = {
    method<steps, 1>("_steps", "_steps(tensor: Any) -> tuple[int, ...]"),
    method<on_memory, 1>("_on_memory", "_on_memory(array: Any) -> Any"),
    method<set_contiguous, 2>("_set_contiguous", "_set_contiguous(tensor: Any, text: str) -> None"),
    {nullptr, nullptr, 0, nullptr}};

}  // namespace

const TensorSlots& tensor_slots() { return g_slots; }

bool has_array(PyObject* tensor) {
  if (slot_of(tensor, g_slots.array)) return true;
  static PyObject* const name = PyUnicode_InternFromString("_array");
  const auto made = py::reinterpret_steal<py::object>(PyObject_GetAttr(tensor, name));
  if (!made) PyErr_Clear();
  return static_cast<bool>(slot_of(tensor, g_slots.array));
}

Held plain_array_of(PyObject* x) {
  if (!PyObject_TypeCheck(x, g_tensor)) return {};
  Held array = slot_of(x, g_slots.array);
  if (!array || !PyArray_CheckExact(array.ptr())) return {};
  return array;
}

int64_t slot_offset(PyTypeObject* type, PyObject* name) {
  const Held member = class_attribute(type, name);
  if (!member || !Py_IS_TYPE(member.ptr(), &PyMemberDescr_Type))
    fail_type("program", "got a guard on a slot that the class does not have");
  return reinterpret_cast<PyMemberDescrObject*>(member.ptr())->d_member->offset;
}

PyTypeObject* tensor_class() { return g_tensor; }

bool has_attributes(PyObject* tensor) {
#ifdef Py_GIL_DISABLED
  const auto dict = py::reinterpret_steal<py::object>(PyObject_GenericGetDict(tensor, nullptr));
  return !dict || PyDict_Size(dict.ptr()) > 0;
#else
  PyObject** dict = _PyObject_GetDictPtr(tensor);
  return dict && *dict && PyDict_GET_SIZE(*dict) > 0;
#endif
}

py::object new_object(PyObject* type) {
  return checked(PyBaseObject_Type.tp_new(reinterpret_cast<PyTypeObject*>(type), g_no_arguments, nullptr));
}

py::object new_tensor(PyObject* array, bool requires_grad, PyObject* maker, const py::object& cell) {
  PyTypeObject* const type = is_batched(array) ? batched_tensor_class() : g_tensor;
  py::object tensor = new_object(reinterpret_cast<PyObject*>(type));
  const auto set = [&](int64_t slot, PyObject* value) { slot_at(tensor.ptr(), slot) = Py_XNewRef(value); };
  set(g_slots.array, array);
  set(g_slots.grad, Py_None);
  set(g_slots.grad_fn, maker);
  PyObject* const needs_gradient = requires_grad ? Py_True : Py_False;
  set(g_slots.requires_grad, needs_gradient);
  set(g_slots.view, Py_None);
  set(g_slots.cell, cell.ptr());
  return tensor;
}

void register_tensors(Module m) {
  g_no_arguments = PyTuple_New(0);
  const py::object tuple = py::reinterpret_borrow<py::object>(reinterpret_cast<PyObject*>(&PyTuple_Type));
  m.attr("_SizeBase") = checked(PyType_FromSpecWithBases(&g_size_spec, tuple_of({tuple}).ptr()));
  if (PyModule_AddFunctions(m.ptr(), g_tensor_functions) < 0) throw py::error_already_set();
  def(m, "_set_tensor_class(tensor, size)", [](Raw tensor, Raw size) {
    g_size = reinterpret_cast<PyTypeObject*>(size.value.inc_ref().ptr());
    g_tensor = reinterpret_cast<PyTypeObject*>(tensor.value.inc_ref().ptr());
    const auto offset = [](const char* name) { return slot_offset(g_tensor, py::str(name).ptr()); };
    g_slots = {offset("_array"),   offset("_grad"), offset("_requires_grad"),
               offset("_grad_fn"), offset("_view"), offset("_cell")};
    for (PyGetSetDef& read : g_read_in_c) {
      const auto attribute = py::reinterpret_steal<py::object>(PyDescr_NewGetSet(g_tensor, &read));
      if (!attribute || PyObject_SetAttrString(tensor.value.ptr(), read.name, attribute.ptr()) < 0)
        throw py::error_already_set();
    }
  });
  def(m, "_set_errors(classes)", [](Raw classes) { set_errors(classes.value); });
  def(m, "_set_dtypes(dtypes)",
      [](Raw dtypes) { g_dtypes = new py::object(py::reinterpret_borrow<py::object>(dtypes.value)); });
  def(m, "_wrap(array, requires_grad=False)",
      [](Raw array, Truth requires_grad) { return NewTensor{new_tensor(array.value.ptr(), requires_grad)}; });
}

}  // namespace ranvier::bind
