// The objects that programs for PyTorch get as functions, as methods and as attributes of Tensor. Each wraps
// one of this library's functions. A call first asks the `__torch_function__` of arguments and modes
// (dispatch.cpp), then calls the wrapped function. The objects look like PyTorch's: repr(), pickle and
// `__class__` give what PyTorch gives. python/ranvier/torch/torch_function/dispatch.py makes them, and
// handles failed calls.
#include "bindings/tape/public_function.h"

#include "bindings/binder/define.h"

#include <structmember.h>

#include <cstddef>
#include <vector>

#include "bindings/binder/held.h"
#include "bindings/binder/methods.h"
#include "bindings/tape/dispatch.h"
#include "bindings/tensors/tensors.h"

namespace ranvier::bind {
namespace {

// Flags of a function, with the same numbers in torch/torch_function/dispatch.py and tensors/spellings.py.
// "Asked" is the `__torch_function__` of a mode or of an argument's class.
enum How {
  kModesOnly = 1,    // modes are asked, arguments are not
  kBinds = 2,        // it becomes a method as an attribute of a class, as a Python function does
  kRetries = 4,      // g_failed gets a call that raised
  kOperator = 8,     // it implements an operator of Python, such as __add__
  kRespells = 16,    // g_again gets a call that raised and has one of NumPy's names among its keywords
  kAsksNobody = 32,  // neither modes nor arguments are asked
  kTakesApart = 64   // einsum, for which a list as the second argument stands for its items
};

constexpr Py_ssize_t kMostArguments = 8;  // of an op

struct Public {
  PyObject_HEAD vectorcallfunc call;
  PyObject* wrapped;  // the function; of an attribute: its descriptor or value
  PyObject* func;     // the function that `__torch_function__` gets; null: the object itself
  PyObject *module, *qualname, *name, *weak;  // weak: the list of weak references
  vectorcallfunc call_wrapped;
  // op: an op of the core (direct.cpp), or null. It is called in place of `wrapped` if a call gives at least
  // `least` of the first parameters, whose names are in the tuple `parameters`, and no others. It gets the
  // tuple `initial`, in which, or after which, the given parameter i stands at places[i].
  PyObject *op, *parameters, *initial;
  Py_ssize_t least;
  uint8_t places[kMostArguments];
  long how;  // How
};

PyObject* g_failed;        // failed(func, args, kwargs, error) of torch/torch_function/dispatch.py
thread_local int t_calls;  // how many of these functions the thread is within
PyObject* g_again;         // again(function, args, kwargs, error) of tensors/spellings.py
PyObject* g_spelled;       // spelled(function) of the same file
PyTypeObject *g_function, *g_method, *g_attribute;

Public* as_public(PyObject* self) { return reinterpret_cast<Public*>(self); }

// Called with Python's error set, after a call that raised. g_failed may still find a result if an argument's
// class can answer or the call has `out` or `dtype`; else the error stays.
PyObject* failed(Public* self, PyObject* const* given, Py_ssize_t count, PyObject* names) {
  if (!PyErr_ExceptionMatches(PyExc_Exception)) return nullptr;
  const py::object error = caught();
  const Py_ssize_t of_names = names ? PyTuple_GET_SIZE(names) : 0;
  bool may_help = self->how & kModesOnly || (asks_classes() && any_override(given, count + of_names));
  for (Py_ssize_t i = 0; i < of_names && !may_help; ++i)
    for (const char* name : {"out", "dtype"})
      may_help |= PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(names, i), name) == 0;
  if (!may_help) {
    raise_again(error);
    return nullptr;
  }
  return detail::guarded([&] {
    const PackedCall all(given, count, names);
    return PyObject_CallFunctionObjArgs(g_failed, self, all.args.ptr(), all.settings.ptr(), error.ptr(),
                                        nullptr);
  });
}

// Called with Python's error set, after a call with keywords that raised. The result under PyTorch's names of
// the arguments, or null with the error.
PyObject* respelled(Public* self, PyObject* const* given, Py_ssize_t count, PyObject* names) {
  if (!PyErr_ExceptionMatches(PyExc_TypeError)) return nullptr;
  bool of_numpy = false;
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(names) && !of_numpy; ++i)
    for (const char* name : {"axis", "keepdims", "x", "a", "x1", "x2"})
      of_numpy |= PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(names, i), name) == 0;
  if (!of_numpy) return nullptr;
  const py::object error = caught();
  return detail::guarded([&] {
    const PackedCall all(given, count, names);
    return PyObject_CallFunctionObjArgs(g_again, self->wrapped, all.args.ptr(), all.settings.ptr(),
                                        error.ptr(), nullptr);
  });
}

// True if self->op can take the call: the first argument is a plain Tensor, and keyword arguments follow in
// the order of the parameters, so that the op gets all of them by position.
bool answers(Public* self, PyObject* const* given, Py_ssize_t count, PyObject* names) {
  const Py_ssize_t all = count + (names ? PyTuple_GET_SIZE(names) : 0);
  if (count < 1 || all < self->least || all > PyTuple_GET_SIZE(self->parameters)) return false;
  for (Py_ssize_t i = count; i < all; ++i)
    if (PyTuple_GET_ITEM(names, i - count) != PyTuple_GET_ITEM(self->parameters, i)) return false;
  return Py_IS_TYPE(given[0], tensor_class());
}

// The result of self->op for the first `count` parameters.
PyObject* by_op(Public* self, PyObject* const* given, Py_ssize_t count) {
  PyObject* all[kMostArguments];
  Py_ssize_t size = PyTuple_GET_SIZE(self->initial);
  for (Py_ssize_t i = 0; i < size; ++i) all[i] = PyTuple_GET_ITEM(self->initial, i);
  for (Py_ssize_t i = 0; i < count; ++i) {
    const Py_ssize_t place = self->places[i];
    all[place] = given[i];
    if (place >= size) size = place + 1;
  }
  return PyObject_Vectorcall(self->op, all, static_cast<size_t>(size), nullptr);
}

// asked() for einsum(equation, [a, b]), with the operands as arguments of their own.
PyObject* asked_for_items(PyObject* func, PyObject* const* given) {
  return detail::guarded([&] {
    const py::object items = checked(PySequence_Tuple(given[1]));
    std::vector<PyObject*> all{given[0]};
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(items.ptr()); ++i)
      all.push_back(PyTuple_GET_ITEM(items.ptr(), i));
    return asked(func, all.data(), static_cast<Py_ssize_t>(all.size()), nullptr, false);
  });
}

// A call of the object: asks classes and modes if there are any, then calls the op or the wrapped function.
PyObject* call(PyObject* object, PyObject* const* given, size_t flags, PyObject* names) {
  Public* const self = as_public(object);
  const Py_ssize_t count = PyVectorcall_NARGS(flags);
  const Py_ssize_t all = count + (names ? PyTuple_GET_SIZE(names) : 0);
  if (g_dispatches.load(std::memory_order_relaxed) && !(self->how & kAsksNobody) &&
      (asks_modes() || (!(self->how & kModesOnly) && asks_classes() && any_override(given, all)))) {
    PyObject* const func = self->func ? self->func : object;
    const bool is_list = count == 2 && !names && (PyList_Check(given[1]) || PyTuple_Check(given[1]));
    if (is_list && self->how & kTakesApart) return asked_for_items(func, given);
    return asked(func, given, count, names, self->how & kOperator);
  }
  ++t_calls;
  PyObject* y = nullptr;
  if (self->op && answers(self, given, count, names)) {
    y = by_op(self, given, all);
  } else {
    y = self->call_wrapped(self->wrapped, given, flags, names);
  }
  --t_calls;
  if (!y && names && self->how & kRespells) y = respelled(self, given, count, names);
  if (!y && self->how & kRetries) y = failed(self, given, count, names);
  return y;
}

// For Py_tp_descr_get: a method of `owner` if the function binds, else the function itself.
PyObject* bound(PyObject* self, PyObject* owner, PyObject*) {
  const bool is_method = owner && owner != Py_None && as_public(self)->how & kBinds;
  return is_method ? PyMethod_New(self, owner) : Py_NewRef(self);
}

// --- attributes of Tensor: reading and writing asks first, too
PyObject* get(PyObject* self, PyObject* owner, PyObject* kind) {
  PyObject* const wrapped = as_public(self)->wrapped;
  if (!owner || owner == Py_None) return Py_NewRef(self);
  if (g_dispatches.load(std::memory_order_relaxed) &&
      (asks_modes() || (asks_classes() && overrides(owner)))) {
    PyObject* const func = PyObject_GetAttrString(self, "__get__");
    if (!func) return nullptr;
    PyObject* const y = asked(func, &owner, 1, /*names=*/nullptr, /*is_operator=*/false);
    Py_DECREF(func);
    return y;
  }
  const descrgetfunc getter = Py_TYPE(wrapped)->tp_descr_get;
  return getter ? getter(wrapped, owner, kind) : Py_NewRef(wrapped);
}

int set(PyObject* self, PyObject* owner, PyObject* value) {
  PyObject* const wrapped = as_public(self)->wrapped;
  if (g_dispatches.load(std::memory_order_relaxed) &&
      (asks_modes() || (asks_classes() && (overrides(owner) || (value && overrides(value)))))) {
    const char* const name = value ? "__set__" : "__delete__";
    PyObject* const func = PyObject_GetAttrString(self, name);
    if (!func) return -1;
    PyObject* const given[] = {owner, value};
    const Py_ssize_t count = value ? 2 : 1;  // without a value: del tensor.attribute
    PyObject* const y = asked(func, given, count, /*names=*/nullptr, /*is_operator=*/false);
    Py_DECREF(func);
    Py_XDECREF(y);
    return y ? 0 : -1;
  }
  if (const descrsetfunc setter = Py_TYPE(wrapped)->tp_descr_set) return setter(wrapped, owner, value);
  PyErr_Format(PyExc_AttributeError, "attribute %R of Tensor objects is not writable", as_public(self)->name);
  return -1;
}

// --- what Python asks of the object itself
// Attributes that the object lacks, and `__doc__`, are those of the wrapped function. Except `__module__` and
// `__qualname__`, attributes are set there, too.
PyObject* get_attribute(PyObject* self, PyObject* name) {
  if (PyUnicode_CompareWithASCIIString(name, "__doc__") == 0)
    return PyObject_GetAttr(as_public(self)->wrapped, name);
  if (PyObject* const own = PyObject_GenericGetAttr(self, name)) return own;
  if (!PyErr_ExceptionMatches(PyExc_AttributeError)) return nullptr;
  PyErr_Clear();
  return PyObject_GetAttr(as_public(self)->wrapped, name);
}
int set_attribute(PyObject* self, PyObject* name, PyObject* value) {
  if (PyUnicode_CompareWithASCIIString(name, "__module__") &&
      PyUnicode_CompareWithASCIIString(name, "__qualname__"))
    return PyObject_SetAttr(as_public(self)->wrapped, name, value);
  return PyObject_GenericSetAttr(self, name, value);
}
PyObject* text(PyObject* self) {
  const Public* const p = as_public(self);
  if (Py_IS_TYPE(self, g_attribute))
    return PyUnicode_FromFormat("<attribute '%U' of 'torch.Tensor' objects>", p->name);
  if (Py_IS_TYPE(self, g_method))
    return PyUnicode_FromFormat("<method '%U' of 'torch.Tensor' objects>", p->name);
  const char* const format = p->how & kBinds ? "<function %U>" : "<built-in function %U>";
  return PyUnicode_FromFormat(format, p->name);
}
// Hash and equality are those of the wrapped function: a program may have used it as a key of a dict before
// this object took its place.
Py_hash_t hash(PyObject* self) { return PyObject_Hash(as_public(self)->wrapped); }
PyObject* compared(PyObject* self, PyObject* other, int how) {
  if (how != Py_EQ && how != Py_NE) Py_RETURN_NOTIMPLEMENTED;
  // Two methods of Tensor may wrap one function: that of before classes were asked, and that of since then.
  const bool are_methods = Py_IS_TYPE(self, g_method) && Py_IS_TYPE(other, g_method);
  PyObject* const function = are_methods ? as_public(other)->wrapped : other;
  const bool same = self == other || as_public(self)->wrapped == function;
  return Py_NewRef(same == (how == Py_EQ) ? Py_True : Py_False);
}
// `__class__`: the class that PyTorch's object has.
PyObject* looks_like(PyObject* self, void*) {
  const bool is_built_in = Py_IS_TYPE(self, g_function) && !(as_public(self)->how & kBinds);
  PyTypeObject* type = &PyFunction_Type;
  if (is_built_in) type = &PyCFunction_Type;
  if (Py_IS_TYPE(self, g_method)) type = &PyMethodDescr_Type;
  if (Py_IS_TYPE(self, g_attribute)) type = &PyGetSetDescr_Type;
  return Py_NewRef(reinterpret_cast<PyObject*>(type));
}
// For pickle: a function by its qualified name, a method or attribute as getattr(Tensor, name); a function of
// this library alone is made again of the one that it wraps.
PyObject* reduced(PyObject* self, PyObject*) {
  const Public* const p = as_public(self);
  if (Py_IS_TYPE(self, g_function) && p->how & kAsksNobody)
    return Py_BuildValue("O(O)", g_spelled, p->wrapped);
  if (Py_IS_TYPE(self, g_function)) return Py_NewRef(p->qualname);
  PyObject* const builtins = PyEval_GetBuiltins();
  PyObject* const getattr = PyDict_GetItemString(builtins, "getattr");
  return Py_BuildValue("O(OO)", getattr, tensor_class(), p->name);
}

int visit(PyObject* self, visitproc visit, void* arg) {
  const Public* const p = as_public(self);
  Py_VISIT(p->wrapped);
  Py_VISIT(p->func);
  Py_VISIT(p->op);
  Py_VISIT(p->parameters);
  Py_VISIT(p->initial);
  Py_VISIT(Py_TYPE(self));
  return 0;
}
int clear(PyObject* self) {
  Public* const p = as_public(self);
  for (PyObject** member :
       {&p->wrapped, &p->func, &p->op, &p->parameters, &p->initial, &p->module, &p->qualname, &p->name}) {
    Py_CLEAR(*member);
  }
  return 0;
}
void deallocate_function(PyObject* self) {
  PyTypeObject* const type = Py_TYPE(self);
  PyObject_GC_UnTrack(self);
  if (as_public(self)->weak) PyObject_ClearWeakRefs(self);
  clear(self);
  type->tp_free(self);
  Py_DECREF(type);
}

PyMemberDef g_members[] = {{"__wrapped__", T_OBJECT, offsetof(Public, wrapped), READONLY, nullptr},
                           {"__module__", T_OBJECT, offsetof(Public, module), 0, nullptr},
                           {"__qualname__", T_OBJECT, offsetof(Public, qualname), 0, nullptr},
                           {"__name__", T_OBJECT, offsetof(Public, name), READONLY, nullptr},
                           {"__vectorcalloffset__", T_PYSSIZET, offsetof(Public, call), READONLY, nullptr},
                           {"__weaklistoffset__", T_PYSSIZET, offsetof(Public, weak), READONLY, nullptr},
                           {nullptr, 0, 0, 0, nullptr}};
PyObject* modes_only(PyObject* self, void*) { return PyBool_FromLong(as_public(self)->how & kModesOnly); }
PyGetSetDef g_getters[] = {{"__class__", looks_like, nullptr, nullptr, nullptr},
                           {"modes_only", modes_only, nullptr, "bool", nullptr},
                           {nullptr, nullptr, nullptr, nullptr, nullptr}};
PyMethodDef g_public_methods[] = {{"__reduce__", reduced, METH_NOARGS, nullptr},
                                  {nullptr, nullptr, 0, nullptr}};

// Makes one of the three classes: the common slots, and its own.
PyTypeObject* new_type(Module m, const char* name, unsigned long flags,
                       std::initializer_list<PyType_Slot> own) {
  std::vector<PyType_Slot> slots{{Py_tp_getattro, slot(get_attribute)},
                                 {Py_tp_setattro, slot(set_attribute)},
                                 {Py_tp_repr, slot(text)},
                                 {Py_tp_hash, slot(hash)},
                                 {Py_tp_richcompare, slot(compared)},
                                 {Py_tp_traverse, slot(visit)},
                                 {Py_tp_clear, slot(clear)},
                                 {Py_tp_dealloc, slot(deallocate_function)},
                                 {Py_tp_members, g_members},
                                 {Py_tp_getset, g_getters},
                                 {Py_tp_methods, g_public_methods}};
  slots.insert(slots.end(), own);
  slots.push_back({0, nullptr});
  PyType_Spec spec{name, sizeof(Public), 0,
                   static_cast<unsigned>(Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC |
                                         Py_TPFLAGS_DISALLOW_INSTANTIATION | flags),
                   slots.data()};
  return add_type(m, spec);
}

// _public(kind, wrapped, func, module, qualname, name, how): a new object of one of the three classes.
py::object make(PyObject*, PyObject* const* a, Py_ssize_t) {
  PyTypeObject* const type = reinterpret_cast<PyTypeObject*>(a[0]);
  const py::object made = checked(type->tp_alloc(type, 0));
  Public* const p = as_public(made.ptr());
  p->call = call;
  p->wrapped = Py_NewRef(a[1]);
  const vectorcallfunc quick = PyVectorcall_Function(a[1]);
  p->call_wrapped = quick ? quick : PyObject_Vectorcall;
  p->func = a[2] == Py_None ? nullptr : Py_NewRef(a[2]);
  p->module = Py_NewRef(a[3]);
  p->qualname = Py_NewRef(a[4]);
  p->name = Py_NewRef(a[5]);
  p->how = static_cast<long>(whole_number(a[6]));
  return made;
}

// _set_op(function, op, least, parameters, initial, places)
py::object set_op(PyObject*, PyObject* const* a, Py_ssize_t) {
  Public* const p = as_public(a[0]);
  const Py_ssize_t count = PyTuple_GET_SIZE(a[3]);
  if (PyTuple_GET_SIZE(a[4]) > kMostArguments || PyTuple_GET_SIZE(a[5]) != count)
    throw py::value_error("[_set_op] got too many arguments, or places for other numbers of parameters");
  for (Py_ssize_t i = 0; i < count; ++i) {
    const int64_t place = whole_number(PyTuple_GET_ITEM(a[5], i));
    if (place < 0 || place >= kMostArguments) throw py::value_error("[_set_op] got no place of an argument");
    p->places[i] = static_cast<uint8_t>(place);
  }
  p->least = whole_number(a[2]);
  Py_XSETREF(p->op, Py_NewRef(a[1]));
  Py_XSETREF(p->parameters, Py_NewRef(a[3]));
  Py_XSETREF(p->initial, Py_NewRef(a[4]));
  return py::none();
}

py::object set_failed(PyObject*, PyObject* const* a, Py_ssize_t) {
  g_failed = Py_NewRef(a[0]);
  return py::none();
}

py::object set_again(PyObject*, PyObject* const* a, Py_ssize_t) {
  g_again = Py_NewRef(a[0]);
  g_spelled = Py_NewRef(a[1]);
  return py::none();
}

PyMethodDef g_public_functions[] = {
    method<make, 7>("_public",
                    "_public(kind: Any, wrapped: Any, func: Any, module: str, qualname: str, name: str, how: "
                    "int) -> Any"),
    method<set_op, 6>("_set_op",
                      "_set_op(function: Any, op: Any, least: int, parameters: tuple[str, ...], initial: "
                      "tuple[Any, ...], places: tuple[int, ...]) -> None"),
    method<set_failed, 1>("_set_failed", "_set_failed(failed: Any) -> None"),
    method<set_again, 2>("_set_again", "_set_again(again: Any, spelled: Any) -> None"),
    {nullptr, nullptr, 0, nullptr}};

}  // namespace

bool is_public(PyObject* func) {
  if (Py_IS_TYPE(func, g_function) || Py_IS_TYPE(func, g_method)) return true;
  if (!Py_IS_TYPE(func, &_PyMethodWrapper_Type)) return false;  // it may be __get__ of an attribute
  return Py_IS_TYPE(checked(PyObject_GetAttrString(func, "__self__")).ptr(), g_attribute);
}
bool is_in_python(PyObject* func) {
  return PyFunction_Check(func) || (Py_IS_TYPE(func, g_function) && as_public(func)->how & kBinds);
}

bool within_public_function() { return t_calls > 0; }

void register_public_function(Module m) {
  constexpr unsigned long calls = Py_TPFLAGS_HAVE_VECTORCALL;
  g_function = new_type(m, "ranvier._core.PublicFunction", calls,
                        {{Py_tp_call, slot(PyVectorcall_Call)}, {Py_tp_descr_get, slot(bound)}});
  g_method = new_type(m, "ranvier._core.PublicMethod", calls | Py_TPFLAGS_METHOD_DESCRIPTOR,
                      {{Py_tp_call, slot(PyVectorcall_Call)}, {Py_tp_descr_get, slot(bound)}});
  g_attribute = new_type(m, "ranvier._core.PublicAttribute", 0,
                         {{Py_tp_descr_get, slot(get)}, {Py_tp_descr_set, slot(set)}});
  if (PyModule_AddFunctions(m.ptr(), g_public_functions) < 0) throw py::error_already_set();
}

}  // namespace ranvier::bind
