// The gradient mode (grad_mode.h): the class of the object grad_mode.mode, and the base class of the `with`
// blocks no_grad(), enable_grad() and others. The blocks are in C++ because a block in Python would take
// longer than a small op.
#include "bindings/tensors/grad_mode.h"

#include <new>
#include <string>

#include "bindings/binder/define.h"
#include "bindings/binder/methods.h"

namespace ranvier::bind {
namespace {

constexpr int kRecords = 1, kInfers = 2;  // bits of the mode: operations are recorded; inference_mode()
thread_local int t_mode = kRecords;

// The attributes mode.enabled and mode.inference.

PyObject* enabled(PyObject*, void*) { return PyBool_FromLong(t_mode & kRecords); }
PyObject* inference(PyObject*, void*) { return PyBool_FromLong(is_inference()); }

int set_enabled(PyObject*, PyObject* value, void*) {
  if (!value) {
    PyErr_SetString(PyExc_AttributeError, "enabled cannot be deleted");
    return -1;
  }
  const int holds = PyObject_IsTrue(value);
  if (holds >= 0) t_mode = (t_mode & kInfers) | holds;
  return holds < 0 ? -1 : 0;
}

PyGetSetDef g_mode_members[] = {{"enabled", enabled, set_enabled, "bool", nullptr},
                                {"inference", inference, nullptr, "bool", nullptr},
                                {}};
PyType_Slot g_mode_slots[] = {
    {Py_tp_new, slot(PyType_GenericNew)}, {Py_tp_getset, g_mode_members}, {0, nullptr}};
PyType_Spec g_mode{"ranvier._core._GradMode", sizeof(PyObject), 0, Py_TPFLAGS_DEFAULT, g_mode_slots};

// The base class of blocks. A derived class has the class attribute `wanted`, the mode inside its blocks, and
// the class method `_decorated(function)`, for use as a decorator. A block belongs to one thread, whose mode
// it changes.
constexpr int kWhole = 4;  // a bit of `wanted`: it sets both bits of the mode; without it only kRecords

struct Block {
  PyObject_HEAD int wanted;
  // A stack of modes, one for each entry that has not ended, each as a char. A short std::string needs no
  // memory of its own.
  std::string before;
};

PyObject *g_wanted, *g_decorated, *g_mode_class;

Block& block_of(PyObject* self) { return *reinterpret_cast<Block*>(self); }

// For Py_tp_new: a block, or with a function as the argument the decorated function.
PyObject* new_block(PyTypeObject* type, PyObject* arguments, PyObject* keywords) {
  PyObject* const cls = reinterpret_cast<PyObject*>(type);
  if (PyTuple_GET_SIZE(arguments) > 0 || keywords) {
    static char name[] = "function";
    static char* names[] = {name, nullptr};
    PyObject* function = Py_None;
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "|O", names, &function)) return nullptr;
    if (function != Py_None) return PyObject_CallMethodObjArgs(cls, g_decorated, function, nullptr);
  }
  const auto wanted = py::reinterpret_steal<py::object>(PyObject_GetAttr(cls, g_wanted));
  PyObject* self = wanted ? type->tp_alloc(type, 0) : nullptr;
  if (!self) return nullptr;
  new (&block_of(self).before) std::string;
  block_of(self).wanted = static_cast<int>(PyLong_AsLong(wanted.ptr()));
  return self;
}

void free_block(PyObject* self) {
  PyTypeObject* type = Py_TYPE(self);
  block_of(self).before.~basic_string();
  type->tp_free(self);
  Py_DECREF(type);
}

PyObject* enter(PyObject* self, PyObject*) {
  Block& block = block_of(self);
  try {
    block.before.push_back(static_cast<char>(t_mode));
  } catch (const std::bad_alloc&) {
    return PyErr_NoMemory();
  }
  t_mode = block.wanted & kWhole ? block.wanted - kWhole : (t_mode & kInfers) | block.wanted;
  Py_RETURN_NONE;
}

PyObject* leave(PyObject* self, PyObject* const*, Py_ssize_t) {
  std::string& before = block_of(self).before;
  if (before.empty()) {
    PyErr_SetString(PyExc_RuntimeError,
                    "[no_grad] got the end of a block that was not entered; expected a with block");
    return nullptr;
  }
  t_mode = before.back();
  before.pop_back();
  Py_RETURN_NONE;
}

PyMethodDef g_block_methods[] = {{"__enter__", enter, METH_NOARGS, "__enter__(self: _GradBlock) -> None"},
                                 {"__exit__", reinterpret_cast<PyCFunction>(slot(leave)), METH_FASTCALL,
                                  "__exit__(self: _GradBlock, *error: object) -> None"},
                                 {nullptr, nullptr, 0, nullptr}};
PyType_Slot g_block_slots[] = {{Py_tp_new, slot(new_block)},
                               {Py_tp_dealloc, slot(free_block)},
                               {Py_tp_methods, g_block_methods},
                               {0, nullptr}};
PyType_Spec g_block{"ranvier._core._GradBlock", sizeof(Block), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
                    g_block_slots};

}  // namespace

bool is_grad_enabled() { return t_mode & kRecords; }
bool is_inference() { return t_mode & kInfers; }
bool is_grad_mode(PyObject* x) { return reinterpret_cast<PyObject*>(Py_TYPE(x)) == g_mode_class; }

void register_grad_mode(Module m) {
  g_wanted = PyUnicode_InternFromString("wanted");
  g_decorated = PyUnicode_InternFromString("_decorated");
  g_mode_class = reinterpret_cast<PyObject*>(add_type(m, g_mode));
  add_type(m, g_block);
}

}  // namespace ranvier::bind
