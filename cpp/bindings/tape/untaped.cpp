// Element-wise ops, which compute most calls from Python's operands to a Tensor in one step. The dtype
// follows PyTorch's rules; floats are computed by a kernel, other dtypes by the inner loop of NumPy's ufunc.
// If a gradient is needed, the op makes the node of the tape. The file also has the function that Python
// calls for any Op.
//
// The op's function `in_python` computes all other calls: other dtypes and operands, and calls of NumPy's
// loops while a step is recorded, which only sees kernels. It also raises all errors.
#include "bindings/tape/untaped.h"

#include <algorithm>
#include <cstring>

#include "bindings/tape/dispatch.h"
#include "bindings/tape/public_function.h"

namespace ranvier::bind {
namespace untaped {
namespace {

PyObject* g_renamed;  // `renamed` of tensors/errors.py: puts the op's name into an error
PyObject* g_offered;  // `_offered` of torch/attached.py, or null

// Called with the TypeError of in_python set. If the class of an argument has a `__torch_function__`, but
// nothing asks classes yet, g_offered finds the result; else null with the error. A public function that the
// call is within asks for itself.
PyObject* offered(const Op& op, PyObject* const* arguments, Py_ssize_t count, PyObject* names) {
  if (!g_offered || g_dispatches || within_public_function() || !asks_classes()) return nullptr;
  if (!PyErr_ExceptionMatches(PyExc_TypeError)) return nullptr;
  const py::object error = caught();
  const Py_ssize_t named = names ? PyTuple_GET_SIZE(names) : 0;
  if (!any_override(arguments, count + named)) {
    raise_again(error);
    return nullptr;
  }
  return detail::guarded([&] {
    const PackedCall all(arguments, count, names);
    return PyObject_CallFunctionObjArgs(g_offered, op.in_python, all.args.ptr(), all.settings.ptr(),
                                        error.ptr(), nullptr);
  });
}

// Called with the error of in_python set: raises it under the op's name. Always returns null.
PyObject* named_error(const Op& op, PyObject* const* arguments, Py_ssize_t count, PyObject* names) {
  if (!op.name || !PyErr_ExceptionMatches(PyExc_Exception)) return nullptr;
  return detail::guarded([&]() -> PyObject* {
    const py::object error = caught();
    const PackedCall all(arguments, count, names);
    raise_again(checked(PyObject_CallFunctionObjArgs(g_renamed, error.ptr(), op.name, op.in_python,
                                                     all.args.ptr(), all.settings.ptr(), nullptr)));
    return nullptr;
  });
}

// The C function of all ops. self: a capsule with the Op. Calls answer(), then in_python if that has no
// result or raised an error for which in_python gives the better text. No op returns None, so None stands for
// no result.
PyObject* called(PyObject* self, PyObject* const* arguments, Py_ssize_t count, PyObject* names) {
  const Op* op = nullptr;
  PyObject* made = detail::guarded([&] {
    op = static_cast<const Op*>(PyCapsule_GetPointer(self, nullptr));
    py::object answer = op->answer(arguments, count, names);
    if (answer) return answer.release().ptr();
    if (PyErr_Occurred()) return static_cast<PyObject*>(nullptr);
    return Py_NewRef(Py_None);
  });
  if (made && made != Py_None) return made;
  if (made) {
    Py_DECREF(made);
  } else {
    // in_python meets the same error and names the op in it.
    PyObject* const kinds[] = {PyExc_ValueError, PyExc_TypeError, PyExc_OverflowError, PyExc_IndexError,
                               PyExc_MemoryError};
    if (std::none_of(std::begin(kinds), std::end(kinds), PyErr_ExceptionMatches)) return nullptr;
    PyErr_Clear();
  }
  made = PyObject_Vectorcall(op->in_python, arguments, count, names);
  if (!made) made = offered(*op, arguments, count, names);
  if (!made) return named_error(*op, arguments, count, names);
  return made;
}

PyMethodDef g_method = {"untaped", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(called)),
                        METH_FASTCALL | METH_KEYWORDS, nullptr};

}  // namespace

PyObject* kept(py::handle x) {
  if (x.is_none()) return nullptr;
  return x.inc_ref().ptr();
}

Loops::Loops(py::handle given) : ufunc(reinterpret_cast<PyUFuncObject*>(kept(given))) {
  std::fill_n(by_type_, kTypes, -1);
  for (int k = 0; ufunc && k < ufunc->ntypes; ++k) {
    const char* types = ufunc->types + k * ufunc->nargs;
    const bool alike = ufunc->nin == 1 || types[0] == types[1];
    if (alike && has_loops(types[0]) && has_loops(types[ufunc->nin]) && by_type_[int{types[0]}] < 0)
      by_type_[int{types[0]}] = static_cast<int8_t>(k);
  }
}

NodeMaker::NodeMaker(py::handle node, py::handle make_node)
    : node_(kept(node)), make_node_(kept(make_node)) {}

NewFunction function_of(Op* op, py::handle in_python, py::handle kernel, py::handle name) {
  op->in_python = kept(in_python);
  op->kernel = kept(kernel);
  op->name = kept(name);
  const py::object self = checked(PyCapsule_New(op, nullptr, nullptr));
  return {checked(PyCFunction_NewEx(&g_method, self.ptr(), nullptr))};
}

bool TensorOrNumber::read(PyObject* x) {
  given = x;
  if (PyObject_TypeCheck(x, tensor_class())) {
    array = py::reinterpret_borrow<py::object>(plain_array_of(x));
    if (!array || !PyArray_ISBEHAVED_RO(as_array(array)) || !is_known(PyArray_TYPE(as_array(array))) ||
        PyArray_NDIM(as_array(array)) > kMaxDims)
      return false;
    type = PyArray_TYPE(as_array(array));
    rank = known(type).rank;
    return true;
  }
  if (PyArray_IsScalar(x, Generic)) {
    number = checked(PyObject_CallMethod(x, "item", nullptr));  // as a number of Python
  } else {
    number = py::reinterpret_borrow<py::object>(x);
  }
  x = number.ptr();
  if (PyBool_Check(x)) {
    rank = 0;
  } else if (PyLong_Check(x)) {
    rank = 1;
  } else if (PyFloat_Check(x)) {
    rank = 2;
  } else {
    return false;
  }
  return true;
}

py::object applied(PyObject* const* node_and_inputs, size_t count) {
  static PyObject* const apply = PyUnicode_InternFromString("apply");
  return checked(PyObject_VectorcallMethod(apply, node_and_inputs, count, nullptr));
}

py::object in_type(const py::object& array, int type) {
  if (PyArray_TYPE(as_array(array)) == type) return array;
  if (known(type).bytes >= 4 && known(type).dtype != DType::int32 && known(type).dtype != DType::uint32) {
    const Input x = Input::number(Arg{"untaped", "x", array});
    Output y = Output::like(x, known(type).dtype);
    invoke_cast(x, y, known(type).dtype);
    return y.release();
  }
  return checked(PyArray_CastToType(as_array(array), PyArray_DescrFromType(type), 0));
}

py::object kernel_result(PyObject* kernel, PyObject* const* arguments, Py_ssize_t count) {
  return new_tensor(checked(PyObject_Vectorcall(kernel, arguments, count, nullptr)).ptr());
}

namespace {

// f(x) or f(a, b), element by element; or where(condition, a, b), the only op of three operands, whose kernel
// moves elements of any dtype.
struct Elementwise final : Op {
  Elementwise(py::handle ufunc, py::handle node, py::handle make_node)
      : loops(ufunc), node(node, make_node) {}
  py::object answer(PyObject* const* arguments, Py_ssize_t count, PyObject* names) const override;
  template <int count>
  py::object by_loop(TensorOrNumber* x, int type) const;
  py::object by_node(const TensorOrNumber* x, Py_ssize_t operands, int type) const;

  Loops loops;
  bool is_flat;           // the results carry no gradient
  bool fails_at_zero;     // integers with a 0 as the second operand are an error: a division
  NodeMaker node;         // node() makes the node of f(x) or f(a, b)
  PyObject* with_number;  // with_number(2.0) makes that of f(a, 2.0); or null
  PyObject* of_number;    // of_number(2.0) makes that of f(2.0, b); or null
};

// NumPy's type number of the dtype of f on these operands; -1 if Python has to find it.
int result_type(const TensorOrNumber* x, Py_ssize_t count) {
  if (x[0].array) {  // most calls end here
    if (count == 1) return x[0].type;
    const bool is_of_first = x[1].array ? x[1].type == x[0].type : x[1].rank <= x[0].rank;
    if (is_of_first) return x[0].type;
  }
  Promotion promotion;
  bool has_array = false;
  for (Py_ssize_t i = 0; i < count; ++i) {
    has_array = has_array || x[i].array;
    if (x[i].array) {
      promotion.add_array(as_array(x[i].array));
    } else {
      promotion.add_number(x[i].rank);
    }
  }
  const int type = promotion.type();
  return has_array && is_known(type) ? type : -1;
}

// Writes the number to `to` as an element of a dtype: float32, float64, bool or an integer. False if an
// integer is out of the dtype's range.
bool write_element(py::handle number, int type, char* to) {
  const Known& dtype = known(type);
  if (dtype.rank == 2) {
    const double x = PyFloat_AsDouble(number.ptr());
    if (x == -1 && PyErr_Occurred()) throw py::error_already_set();
    const float narrow = static_cast<float>(x);
    if (dtype.bytes == 4) {
      std::memcpy(to, &narrow, 4);
    } else {
      std::memcpy(to, &x, 8);
    }
    return true;
  }
  int overflow = 0;
  const long long x = PyLong_AsLongLongAndOverflow(number.ptr(), &overflow);
  if (overflow) return false;
  std::memcpy(to, &x, dtype.bytes);  // little-endian: the first bytes are the low ones
  const int sign_bits = dtype.is_signed ? 1 : 0;
  const int bits = 8 * dtype.bytes - sign_bits;
  if (bits >= 63) return true;
  const long long above = x >> bits;  // what does not fit: 0, or -1 (all bits set) of a negative number
  return above == 0 || (dtype.is_signed && above == -1);
}

bool has_zero(const TensorOrNumber& x) {
  if (!x.array) return PyObject_IsTrue(x.number.ptr()) == 0;
  return PyArray_CountNonzero(as_array(x.array)) != PyArray_SIZE(as_array(x.array));
}

// The array of the result, in the memory order of the first operand that has the full shape, as the kernels'
// results are; else in C order.
Output result_like(const TensorOrNumber* x, int count, const Shape& shape, int type) {
  const DType dtype = known(type).dtype;
  for (int i = 0; i < count; ++i) {
    if (!x[i].array || PyArray_NDIM(as_array(x[i].array)) != shape.ndim) continue;
    const Input full = Input::number(Arg{"untaped", "x", x[i].array});
    if (full.has_shape(shape)) return Output::like(full, dtype);
  }
  return Output::contiguous(dtype, shape);
}

// The result by the ufunc's inner loop; empty if Python has to compute it. x: `count` operands, of which
// arrays are cast in place.
template <int count>
py::object Elementwise::by_loop(TensorOrNumber* x, int type) const {
  const int k = loops.of(type);
  if (k < 0 || t_recording) return {};
  const bool may_fail = count == 2 && fails_at_zero && known(type).rank < 2;
  if (may_fail && has_zero(x[1])) return {};
  const int made = loops.ufunc->types[k * loops.ufunc->nargs + count];  // the type of the result
  if (type == NPY_BOOL && made == NPY_BYTE) return {};  // NumPy gives an int8 for bools, PyTorch an error
  Shape shape;                                          // to which all operands broadcast
  for (int i = 0; i < count; ++i) {
    if (!x[i].array) continue;
    x[i].array = in_type(x[i].array, type);
    PyArrayObject* const a = as_array(x[i].array);
    const Shape own(PyArray_NDIM(a), reinterpret_cast<const int64_t*>(PyArray_DIMS(a)));
    if (!shape.broadcast_with(own)) return {};
  }
  Output y = result_like(x, count, shape, made);
  alignas(8) char numbers[count][8];
  Strided all[count];
  for (int i = 0; i < count; ++i) {
    if (x[i].array) {
      all[i] = Strided(x[i].array, shape.ndim);
    } else {
      if (!write_element(x[i].number, type, numbers[i])) return {};
      all[i] = Strided(numbers[i]);
    }
  }
  py::object array = y.release();
  run_loop<count, false>(loops, k, shape, all, Strided(array, shape.ndim));
  return new_tensor(array.ptr());
}

py::object as_float(const py::object& number) { return checked(PyNumber_Float(number.ptr())); }

// The result of a call that makes a node, on one or two Tensors of this dtype, or on a Tensor and a number.
// Empty if there is no node for it, or if a Tensor must be cast first.
py::object Elementwise::by_node(const TensorOrNumber* x, Py_ssize_t operands, int type) const {
  if (known(type).rank < 2) return {};
  PyObject* maker = nullptr;
  const TensorOrNumber* number = nullptr;
  if (!x[0].array) {
    maker = of_number;
    number = &x[0];
  } else if (operands == 2 && !x[1].array) {
    maker = with_number;
    number = &x[1];
  } else {
    maker = node.get();
  }
  if (!maker) return {};
  PyObject* arguments[3] = {};  // the node, then the Tensors
  size_t count = 1;
  for (Py_ssize_t i = 0; i < operands; ++i) {
    if (!x[i].array) continue;
    if (x[i].type != type) return {};
    arguments[count] = x[i].given;
    ++count;
  }
  py::object made;
  if (number) {
    made = checked(PyObject_CallOneArg(maker, as_float(number->number).ptr()));
  } else {
    made = checked(PyObject_CallNoArgs(maker));
  }
  arguments[0] = made.ptr();
  return applied(arguments, count);
}

// A number as an array of a dtype without dimensions, for the kernel of where(). Empty if the dtype cannot
// hold it, or while a step is recorded.
py::object array_of_number(py::handle number, int type) {
  if (t_recording) return {};
  py::object array = Output::contiguous(known(type).dtype, Shape()).release();
  if (!write_element(number, type, PyArray_BYTES(as_array(array)))) return {};
  return array;
}

// Reads the operands, finds the dtype of the result, and computes it: by the node if a gradient is needed or
// an observer follows the call, by NumPy's loop if there is no kernel for the dtype, else by the kernel.
py::object Elementwise::answer(PyObject* const* arguments, Py_ssize_t count, PyObject* names) const {
  TensorOrNumber x[3];
  if (names || count < 1 || count > 3) return {};
  for (int i = 0; i < count; ++i)
    if (!x[i].read(arguments[i])) return {};
  const bool chooses = count == 3;  // where(condition, a, b)
  if (chooses && (!x[0].array || x[0].type != NPY_BOOL)) return {};
  const int type = chooses ? result_type(x + 1, 2) : result_type(x, count);  // the condition does not count
  if (type < 0) return {};
  const bool is_float = known(type).rank == 2;
  const bool is_half = is_half_type(type);
  if (chooses && known(type).bytes < 4 && !is_half) return {};
  for (int i = chooses; is_half && i < count; ++i)
    if (x[i].array && x[i].type != type) return {};  // cast to a half, an element may be out of its range
  const auto needs = [](const TensorOrNumber& operand) { return operand.needs_gradient(); };
  if (is_observed() || (!is_flat && std::any_of(x, x + count, needs))) {
    if (chooses || is_flat) return {};
    return by_node(x, count, type);
  }
  if (!chooses && !(kernel && is_float)) {
    if (!loops.ufunc || loops.ufunc->nin != count) return {};
    if (count == 2) return by_loop<2>(x, type);
    return by_loop<1>(x, type);
  }
  PyObject* given[4] = {};
  py::object numbers[3];
  for (int i = 0; i < count; ++i) {
    if (x[i].array) {
      const bool is_condition = chooses && i == 0;
      if (!is_condition) x[i].array = in_type(x[i].array, type);
      given[i] = x[i].array.ptr();
      continue;
    }
    if (is_float) {
      numbers[i] = as_float(x[i].number);
    } else {
      numbers[i] = array_of_number(x[i].number, type);
    }
    if (!numbers[i]) return {};
    given[i] = numbers[i].ptr();
  }
  given[count] = Py_None;  // out
  return kernel_result(kernel, given, count + 1);
}

}  // namespace
}  // namespace untaped

void register_untaped(Module m) {
  using namespace untaped;
  def(m,
      "_elementwise(in_python, kernel, ufunc, flat=False, fails_at_zero=False, node=None, make_node=None, "
      "with_number=None, of_number=None, name=None)",
      [](Raw in_python, Raw kernel, Raw ufunc, Truth flat, Truth fails_at_zero, Raw node, Raw make_node,
         Raw with_number, Raw of_number, Raw name) {
        auto* op = new Elementwise(ufunc.value, node.value, make_node.value);
        op->is_flat = flat;
        op->fails_at_zero = fails_at_zero;
        op->with_number = kept(with_number.value);
        op->of_number = kept(of_number.value);
        return function_of(op, in_python.value, kernel.value, name.value);
      });
  def(m, "_set_renamed(renamed)", [](Raw renamed) { g_renamed = renamed.value.inc_ref().ptr(); });
  def(m, "_set_offered(offered)", [](Raw offered) { g_offered = offered.value.inc_ref().ptr(); });
}

}  // namespace ranvier::bind
