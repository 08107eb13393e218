// Calls from Python's operands to a Tensor in one step: dtypes by PyTorch's rules, then a kernel, or NumPy's
// own inner loop for dtypes that no kernel computes; where a gradient is needed, the node.
//
// A call answers None where Python has to see to it: for other dtypes and operands, for what a recorded step
// would not see, and for all errors.
#include "bindings/define.h"
#include "bindings/grad_mode.h"
#include "bindings/guards.h"
#include "bindings/numpy_api.h"
#include "bindings/tape.h"
#include "bindings/tensors.h"

// after numpy_api.h
#define NO_IMPORT_UFUNC
#include <numpy/ufuncobject.h>

#include <algorithm>
#include <cstring>

#include "base/loop_nest.h"

namespace ranvier::bind {
namespace {

constexpr int kTypes = NPY_DOUBLE + 1;  // NumPy's numbers of dtypes
struct Known {
  int rank;  // of its kind: bool, integer, float; -1: of a dtype that is left to Python
  DType dtype;
  int bytes;
  bool is_signed;
};
constexpr Known kUnknown = {-1, DType::boolean, 0, false};
constexpr Known kKnown[kTypes] = {{0, DType::boolean, 1, false},
                                  {1, DType::int8, 1, true},
                                  {1, DType::uint8, 1, false},
                                  {1, DType::int16, 2, true},
                                  {1, DType::uint16, 2, false},
                                  {1, DType::int32, 4, true},
                                  {1, DType::uint32, 4, false},
                                  {1, DType::int64, 8, true},
                                  kUnknown,
                                  kUnknown,
                                  kUnknown,
                                  {2, DType::float32, 4, true},
                                  {2, DType::float64, 8, true}};
static_assert(NPY_BOOL == 0 && NPY_INT64 == 7 && NPY_FLOAT == 11 && NPY_DOUBLE == 12);

bool is_known(int type) { return type >= 0 && type < kTypes && kKnown[type].rank >= 0; }

// A function of Python, and what it calls. It lives as long as the process.
struct Op {
  py::object (*answer)(const Op&, PyObject* const* arguments, Py_ssize_t count);
  PyObject* kernel;                          // or null
  PyUFuncObject* ufunc;                      // or null
  PyObject *node, *with_number, *of_number;  // or null: what makes the node of f(a, b), f(a, 2.0), f(2.0, b)
  bool divides;                              // integers: by 0 is an error
  bool is_flat;                              // the results carry no gradient
  int type, initial;     // a reduction's dtype, and what it begins with; -1: x's own, the first element
  int8_t loops[kTypes];  // of the ufunc, by the dtype of its operands; -1: there is none
};

py::object elementwise(const Op& op, PyObject* const* arguments, Py_ssize_t count);

PyObject* called(PyObject* self, PyObject* const* arguments, Py_ssize_t count) {
  try {
    const Op& op = *static_cast<const Op*>(PyCapsule_GetPointer(self, nullptr));
    const bool by_nodes = op.answer != elementwise && is_apply_replaced();
    py::object answer = by_nodes ? py::object() : op.answer(op, arguments, count);
    return answer ? answer.release().ptr() : Py_NewRef(Py_None);
  } catch (py::error_already_set& e) {
    e.restore();
  } catch (...) {
    detail::raise_in_python();
  }
  // Python's way to the same error names the op.
  PyObject* const known[] = {PyExc_ValueError, PyExc_TypeError, PyExc_OverflowError, PyExc_IndexError,
                             PyExc_MemoryError};
  if (std::none_of(std::begin(known), std::end(known), PyErr_ExceptionMatches)) return nullptr;
  PyErr_Clear();
  return Py_NewRef(Py_None);
}

PyMethodDef g_method = {"untaped", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(called)),
                        METH_FASTCALL, nullptr};

struct NewFunction : py::object {
  RANVIER_ANNOTATION("Any");
};

PyObject* kept(py::handle x) { return x.is_none() ? nullptr : x.inc_ref().ptr(); }

NewFunction function_of(Op op, py::handle kernel, py::handle ufunc) {
  op.kernel = kept(kernel), op.ufunc = reinterpret_cast<PyUFuncObject*>(kept(ufunc));
  std::fill_n(op.loops, kTypes, -1);
  for (int k = 0; op.ufunc && k < op.ufunc->ntypes; ++k) {
    const char* types = op.ufunc->types + k * op.ufunc->nargs;
    const bool alike = op.ufunc->nin == 1 || types[0] == types[1];
    if (alike && is_known(types[0]) && is_known(types[op.ufunc->nin]) && op.loops[int{types[0]}] < 0)
      op.loops[int{types[0]}] = static_cast<int8_t>(k);
  }
  PyObject* self = PyCapsule_New(new Op(op), nullptr, nullptr);
  PyObject* function = self ? PyCFunction_NewEx(&g_method, self, nullptr) : nullptr;
  Py_XDECREF(self);
  if (!function) throw py::error_already_set();
  return {py::reinterpret_steal<py::object>(function)};
}

// The array of a Tensor; empty: it is another object, or left to Python.
py::object array_of(PyObject* x) {
  if (!PyObject_TypeCheck(x, tensor_class())) return {};
  const Held array = slot_of(x, tensor_slots().array);
  if (!array || !PyArray_CheckExact(array.ptr())) return {};
  return py::reinterpret_borrow<py::object>(array);
}

bool needs_gradient(PyObject* tensor) {
  return slot_of(tensor, tensor_slots().requires_grad).ptr() != Py_False && is_grad_enabled();
}

struct Operand {
  PyObject* given = nullptr;
  py::object array;   // of a Tensor, or
  py::object number;  // a bool, int or float
  int type = NPY_BOOL, rank = 0;

  bool read(PyObject* x) {
    given = x;
    if (PyObject_TypeCheck(x, tensor_class())) {
      array = array_of(x);
      if (!array || !PyArray_ISBEHAVED_RO(as_array(array)) || !is_known(PyArray_TYPE(as_array(array))) ||
          PyArray_NDIM(as_array(array)) > kMaxDims)
        return false;
      type = PyArray_TYPE(as_array(array)), rank = kKnown[type].rank;
      return true;
    }
    number = py::reinterpret_steal<py::object>(
        PyArray_IsScalar(x, Generic) ? PyObject_CallMethod(x, "item", nullptr) : Py_NewRef(x));
    if (!number) throw py::error_already_set();
    x = number.ptr();
    rank = PyBool_Check(x) ? 0 : PyLong_Check(x) ? 1 : PyFloat_Check(x) ? 2 : -1;
    return rank >= 0;
  }
  bool needs_gradient() const { return array && bind::needs_gradient(given); }
  bool is_strong() const { return array && PyArray_NDIM(as_array(array)) > 0; }
};

// -1: Python decides. As result_dtype in python/ranvier/ops/elementwise/dtypes.py.
int result_type(const Operand& a, const Operand& b) {
  if (!a.array && !b.array) return -1;
  if (a.rank != b.rank) {
    const Operand& x = a.rank > b.rank ? a : b;
    return x.array ? x.type : x.rank == 1 ? int{NPY_INT64} : -1;
  }
  if (a.is_strong() != b.is_strong()) return (a.is_strong() ? a : b).type;
  if (!a.array || !b.array || a.type == b.type) return (a.array ? a : b).type;
  const auto descr = [](int type) {
    return py::reinterpret_steal<py::object>(reinterpret_cast<PyObject*>(PyArray_DescrFromType(type)));
  };
  const auto as_descr = [](const py::object& x) { return reinterpret_cast<PyArray_Descr*>(x.ptr()); };
  const py::object of_a = descr(a.type), of_b = descr(b.type);
  const auto common = py::reinterpret_steal<py::object>(
      reinterpret_cast<PyObject*>(PyArray_PromoteTypes(as_descr(of_a), as_descr(of_b))));
  if (!common) throw py::error_already_set();
  const int type = as_descr(common)->type_num;
  return is_known(type) ? type : -1;
}

py::object in_type(const py::object& array, int type) {
  if (PyArray_TYPE(as_array(array)) == type) return array;
  if (kKnown[type].bytes >= 4 && kKnown[type].dtype != DType::int32 && kKnown[type].dtype != DType::uint32) {
    const Input x = Input::number(Arg{"untaped", "x", array});
    Output y = Output::like(x, kKnown[type].dtype);
    invoke_cast(x, y, kKnown[type].dtype);
    return y.release();
  }
  PyObject* made = PyArray_CastToType(as_array(array), PyArray_DescrFromType(type), 0);
  if (!made) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(made);
}

// The number as an element of a dtype; false where that cannot hold it.
bool write(py::handle number, int type, char* to) {
  const Known& known = kKnown[type];
  if (known.rank == 2) {
    const double x = PyFloat_AsDouble(number.ptr());
    if (x == -1 && PyErr_Occurred()) throw py::error_already_set();
    const float narrow = static_cast<float>(x);
    known.bytes == 4 ? std::memcpy(to, &narrow, 4) : std::memcpy(to, &x, 8);
    return true;
  }
  int overflow = 0;
  const long long x = PyLong_AsLongLongAndOverflow(number.ptr(), &overflow);
  const int bits = 8 * known.bytes - (known.is_signed ? 1 : 0);
  std::memcpy(to, &x, known.bytes);  // the first bytes are the low ones
  return !overflow && (bits >= 63 || (x >> bits) == 0 || (known.is_signed && (x >> bits) == -1));
}

bool has_zero(const Operand& x) {
  if (!x.array) return PyObject_IsTrue(x.number.ptr()) == 0;
  return PyArray_CountNonzero(as_array(x.array)) != PyArray_SIZE(as_array(x.array));
}

// The shape that two arrays broadcast to; false: they do not.
bool widen(Shape& shape, PyArrayObject* a) {
  const int ndim = PyArray_NDIM(a), n = std::max(shape.ndim, ndim);
  Shape wide;
  for (int d = 0; d < n; ++d) {
    const int64_t p = d < n - shape.ndim ? 1 : shape[d - (n - shape.ndim)];
    const int64_t q = d < n - ndim ? 1 : PyArray_DIM(a, d - (n - ndim));
    if (p != q && p != 1 && q != 1) return false;
    wide.append(p == 1 ? q : p);
  }
  shape = wide;
  return true;
}

// An array, or what is repeated, along the dimensions of a shape: its address and its steps in bytes.
struct Strided {
  char* data;
  int64_t steps[kMaxDims] = {};

  explicit Strided(char* number = nullptr) : data(number) {}
  Strided(py::handle array, int ndim) : data(PyArray_BYTES(as_array(array))) {
    const int own = PyArray_NDIM(as_array(array));
    for (int d = 0; d < own; ++d)
      if (PyArray_DIM(as_array(array), d) != 1) steps[ndim - own + d] = PyArray_STRIDE(as_array(array), d);
  }
};

// The k-th inner loop of a ufunc, over all elements of a shape: of x and y. A reduction reads y, too. The
// loops of numbers need no GIL.
template <int count, bool reduces>
void run_loop(const Op& op, int k, const Shape& shape, const Strided (&x)[count], const Strided& y) {
  const int64_t* steps[count + 1];
  for (int i = 0; i < count; ++i) steps[i + reduces] = x[i].steps;
  steps[reduces ? 0 : count] = y.steps;  // the last one decides the order
  const LoopNest<count + 1> nest(shape.ndim, shape.sizes,
                                 *reinterpret_cast<const int64_t* const(*)[count + 1]>(&steps));
  const auto loop = op.ufunc->functions[k];
  void* const data = op.ufunc->data ? op.ufunc->data[k] : nullptr;
  constexpr int kArrays = count + 1 + reduces;
  npy_intp inner[kArrays];
  for (int i = 0; i < kArrays; ++i) inner[i] = nest.strides[i % (count + 1)][nest.ndim - 1];
  constexpr int64_t kFew = 4096;
  PyThreadState* state = nest.size < kFew ? nullptr : PyEval_SaveThread();
  nest.walk(0, nest.size, [&](int64_t n, const int64_t* offsets) {
    char* at[kArrays];
    for (int i = 0; i < count; ++i) at[i + reduces] = x[i].data + offsets[i + reduces];
    at[kArrays - 1] = y.data + offsets[reduces ? 0 : count];
    if (reduces) at[0] = at[kArrays - 1];
    npy_intp some = n;
    loop(at, &some, inner, data);
  });
  if (state) PyEval_RestoreThread(state);
}

// As Python's kernels: in the order of the first operand of the full shape.
Output result_like(const Operand* x, int count, const Shape& shape, int type) {
  const DType dtype = kKnown[type].dtype;
  for (int i = 0; i < count; ++i) {
    if (!x[i].array || PyArray_NDIM(as_array(x[i].array)) != shape.ndim) continue;
    const Input full = Input::number(Arg{"untaped", "x", x[i].array});
    if (full.has_shape(shape)) return Output::like(full, dtype);
  }
  return Output::contiguous(dtype, shape);
}

template <int count>
py::object by_loop(const Op& op, Operand* x, int type) {
  const int k = op.loops[type], made = k < 0 ? -1 : op.ufunc->types[k * op.ufunc->nargs + count];
  if (k < 0 || t_recording || (count == 2 && op.divides && kKnown[type].rank < 2 && has_zero(x[1])))
    return {};
  Shape shape;
  for (int i = 0; i < count; ++i) {
    if (!x[i].array) continue;
    x[i].array = in_type(x[i].array, type);
    if (!widen(shape, as_array(x[i].array))) return {};
  }
  Output y = result_like(x, count, shape, made);
  alignas(8) char numbers[count][8];
  Strided all[count];
  for (int i = 0; i < count; ++i) {
    if (!x[i].array && !write(x[i].number, type, numbers[i])) return {};
    all[i] = x[i].array ? Strided(x[i].array, shape.ndim) : Strided(numbers[i]);
  }
  py::object array = y.release();
  run_loop<count, false>(op, k, shape, all, Strided(array, shape.ndim));
  return new_tensor(array.ptr());
}

py::object as_tensors(const py::object& y) {
  if (!PyTuple_CheckExact(y.ptr())) return new_tensor(y.ptr());
  const Py_ssize_t n = PyTuple_GET_SIZE(y.ptr());
  auto tensors = py::reinterpret_steal<py::object>(PyTuple_New(n));
  if (!tensors) throw py::error_already_set();
  for (Py_ssize_t i = 0; i < n; ++i)
    PyTuple_SET_ITEM(tensors.ptr(), i, new_tensor(PyTuple_GET_ITEM(y.ptr(), i)).release().ptr());
  return tensors;
}

py::object by_kernel(const Op& op, PyObject* const* arguments, Py_ssize_t count) {
  auto y = py::reinterpret_steal<py::object>(PyObject_Vectorcall(op.kernel, arguments, count, nullptr));
  if (!y) throw py::error_already_set();
  return as_tensors(y);
}

py::object as_float(const py::object& number) {
  auto x = py::reinterpret_steal<py::object>(PyNumber_Float(number.ptr()));
  if (!x) throw py::error_already_set();
  return x;
}

// The result of a node on two Tensors of the dtype, or one and a number; empty: Python casts.
py::object by_node(const Op& op, const Operand& a, const Operand& b, int type) {
  PyObject* const maker = !a.array ? op.of_number : !b.array ? op.with_number : op.node;
  if (!maker || kKnown[type].rank < 2) return {};
  PyObject* arguments[3] = {};
  size_t count = 1;
  for (const Operand* x : {&a, &b}) {
    if (x->array && x->type != type) return {};
    if (x->array) arguments[count++] = x->given;
  }
  const auto node = py::reinterpret_steal<py::object>(
      count == 3 ? PyObject_CallNoArgs(maker)
                 : PyObject_CallOneArg(maker, as_float(a.array ? b.number : a.number).ptr()));
  if (!node) throw py::error_already_set();
  static PyObject* const apply = PyUnicode_InternFromString("apply");
  arguments[0] = node.ptr();
  auto y = py::reinterpret_steal<py::object>(PyObject_VectorcallMethod(apply, arguments, count, nullptr));
  if (!y) throw py::error_already_set();
  return y;
}

// A number as an array of a dtype, for kernels that move elements of any; empty where it cannot be one.
py::object array_of_number(py::handle number, int type) {
  if (t_recording) return {};
  py::object array = Output::contiguous(kKnown[type].dtype, Shape()).release();
  return write(number, type, PyArray_BYTES(as_array(array))) ? array : py::object();
}

// f(x) or f(a, b), element by element; f(condition, a, b), whose kernel moves elements.
py::object elementwise(const Op& op, PyObject* const* arguments, Py_ssize_t count) {
  Operand x[3];
  if (count < 1 || count > 3) return {};
  for (int i = 0; i < count; ++i)
    if (!x[i].read(arguments[i])) return {};
  const bool chooses = count == 3;
  if (chooses && (!x[0].array || x[0].type != NPY_BOOL)) return {};
  const int type = count == 1 ? (x[0].array ? x[0].type : -1) : result_type(x[count - 2], x[count - 1]);
  if (type < 0 || (chooses && kKnown[type].bytes < 4)) return {};
  const bool is_float = kKnown[type].rank == 2;
  const auto needs = [](const Operand& operand) { return operand.needs_gradient(); };
  if (is_apply_replaced() || (!op.is_flat && std::any_of(x, x + count, needs)))
    return count == 2 && !op.is_flat ? by_node(op, x[0], x[1], type) : py::object();
  if (!chooses && !(op.kernel && is_float)) {
    if (!op.ufunc || op.ufunc->nin != count) return {};
    return count == 2 ? by_loop<2>(op, x, type) : by_loop<1>(op, x, type);
  }
  PyObject* given[4] = {};
  py::object numbers[3];
  for (int i = 0; i < count; ++i) {
    if (x[i].array) {
      if (!chooses || i) x[i].array = in_type(x[i].array, type);
      given[i] = x[i].array.ptr();
      continue;
    }
    numbers[i] = is_float ? as_float(x[i].number) : array_of_number(x[i].number, type);
    if (!numbers[i]) return {};
    given[i] = numbers[i].ptr();
  }
  given[count] = Py_None;  // out
  return by_kernel(op, given, count + 1);
}

// The axes that are reduced; false: Python reads them, or raises.
bool read_axes(PyObject* axes, int ndim, bool* reduced) {
  if (axes == Py_None) return std::fill_n(reduced, ndim, true), true;
  const bool several = PyTuple_CheckExact(axes);
  const Py_ssize_t count = several ? PyTuple_GET_SIZE(axes) : 1;
  for (Py_ssize_t i = 0; i < count; ++i) {
    PyObject* axis = several ? PyTuple_GET_ITEM(axes, i) : axes;
    if (!PyLong_CheckExact(axis)) return false;
    int overflow = 0;
    int64_t d = PyLong_AsLongLongAndOverflow(axis, &overflow);
    if (d < 0) d += ndim;
    if (overflow || d < 0 || d >= ndim || reduced[d]) return false;
    reduced[d] = true;
  }
  return count > 0;
}

// The first element along the reduced axes of x, or a number, for each result.
void begin(const Op& op, const Shape& shape, const bool* reduced, const Strided& x, const Strided& y,
           int type) {
  const int64_t item = kKnown[type].bytes, number = op.initial;  // whose first bytes are the low ones
  Shape first;
  for (int d = 0; d < shape.ndim; ++d) first.append(reduced[d] ? 1 : shape[d]);
  const LoopNest<2> nest(first.ndim, first.sizes, {x.steps, y.steps});
  const int64_t from = nest.strides[0][nest.ndim - 1], to = nest.strides[1][nest.ndim - 1];
  nest.walk(0, nest.size, [&](int64_t n, const int64_t* offsets) {
    for (int64_t i = 0; i < n; ++i)
      std::memcpy(y.data + offsets[1] + i * to,
                  number < 0 ? x.data + offsets[0] + i * from : reinterpret_cast<const char*>(&number), item);
  });
}

// f(x, dim, axis, keepdim, keepdims), with NumPy's names of the same: floats by the kernel, if there is one.
py::object reduction(const Op& op, PyObject* const* arguments, Py_ssize_t count) {
  Operand x;
  if (count != 5 || !x.read(arguments[0]) || !x.array || (x.needs_gradient() && !op.is_flat) ||
      !PyBool_Check(arguments[3]) || !PyBool_Check(arguments[4]))
    return {};
  const bool keepdims = arguments[3] == Py_True || arguments[4] == Py_True;
  PyObject* const axes = arguments[2] == Py_None ? arguments[1] : arguments[2];
  const int ndim = PyArray_NDIM(as_array(x.array));
  bool reduced[kMaxDims] = {};
  if (!read_axes(axes, ndim, reduced)) return {};
  if (x.rank == 2 && op.kernel) {
    PyObject* const given[] = {x.array.ptr(), axes, keepdims ? Py_True : Py_False, Py_None};
    return by_kernel(op, given, 4);
  }
  const int type = op.type < 0 ? x.type : op.type, k = op.loops[type];
  if (k < 0 || t_recording || (type == NPY_BOOL && x.type == NPY_UINT8)) return {};  // all of bytes is a byte
  const py::object array = in_type(x.array, type);
  Shape shape(ndim, reinterpret_cast<const int64_t*>(PyArray_DIMS(as_array(array)))), kept;
  for (int d = 0; d < ndim; ++d) {
    if (!reduced[d] || keepdims) kept.append(reduced[d] ? 1 : shape[d]);
    if (op.initial < 0 && reduced[d] && !shape[d]) return {};
  }
  const py::object result = Output::contiguous(kKnown[type].dtype, kept).release();
  const Strided own(result, kept.ndim);
  Strided y(own.data);
  for (int d = 0, at = 0; d < ndim; ++d) {
    if (!reduced[d]) y.steps[d] = own.steps[at];
    at += !reduced[d] || keepdims;
  }
  const Strided all[1] = {Strided(array, ndim)};
  begin(op, shape, reduced, all[0], y, type);
  run_loop<1, true>(op, k, shape, all, y);
  return new_tensor(result.ptr());
}

// The kernel of these arguments, Tensors among them.
py::object direct(const Op& op, PyObject* const* arguments, Py_ssize_t count) {
  constexpr Py_ssize_t kMost = 8;
  if (count > kMost) return {};
  PyObject* given[kMost];
  py::object arrays[kMost];
  for (Py_ssize_t i = 0; i < count; ++i) {
    given[i] = arguments[i];
    if (!PyObject_TypeCheck(arguments[i], tensor_class())) continue;
    arrays[i] = array_of(arguments[i]);
    if (!arrays[i] || needs_gradient(arguments[i])) return {};
    given[i] = arrays[i].ptr();
  }
  return by_kernel(op, given, count);
}

}  // namespace

void register_untaped(Module m) {
  def(m,
      "_elementwise(kernel, ufunc, flat=False, divides=False, node=None, with_number=None, of_number=None)",
      [](Raw kernel, Raw ufunc, Truth flat, Truth divides, Raw node, Raw with_number, Raw of_number) {
        Op op{};
        op.answer = elementwise, op.is_flat = flat, op.divides = divides;
        op.node = kept(node.value), op.with_number = kept(with_number.value);
        op.of_number = kept(of_number.value);
        return function_of(op, kernel.value, ufunc.value);
      });
  def(m, "_reduction(kernel, ufunc, flat=False, dtype=-1, initial=-1)",
      [](Raw kernel, Raw ufunc, Truth flat, Whole dtype, Whole initial) {
        Op op{};
        op.answer = reduction, op.is_flat = flat;
        op.type = static_cast<int>(dtype), op.initial = static_cast<int>(initial);
        return function_of(op, kernel.value, ufunc.value);
      });
  def(m, "_untaped(kernel)", [](Raw kernel) {
    Op op{};
    op.answer = direct;
    return function_of(op, kernel.value, py::none());
  });
}

}  // namespace ranvier::bind
