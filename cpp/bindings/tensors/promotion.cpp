// Finds the dtype of an op on several operands (promotion.h).
#include "bindings/tensors/promotion.h"

#include "bindings/binder/bfloat16.h"
#include "bindings/binder/held.h"
#include "bindings/tensors/tensors.h"

namespace ranvier::bind {
namespace {

PyObject* g_default;  // tensors/dtypes.py: default

// The common type of two types of one rank: NumPy's, except that float16 and bfloat16 give float32.
int wider(int a, int b) {
  if (a == b) return a;
  if (is_half_type(a) && is_half_type(b)) return NPY_FLOAT;
  // NumPy does not know bfloat16, the narrowest of the floats here beside float16 (which is dealt with
  // above).
  const int bfloat16 = bfloat16_number();
  if (a == bfloat16) return b;
  if (b == bfloat16) return a;
  const auto descr = [](int type) {
    return checked(reinterpret_cast<PyObject*>(PyArray_DescrFromType(type)));
  };
  const py::object of_a = descr(a);
  const py::object of_b = descr(b);
  const py::object common = checked(reinterpret_cast<PyObject*>(PyArray_PromoteTypes(
      reinterpret_cast<PyArray_Descr*>(of_a.ptr()), reinterpret_cast<PyArray_Descr*>(of_b.ptr()))));
  return reinterpret_cast<PyArray_Descr*>(common.ptr())->type_num;
}

// The array of a Tensor; AttributeError where a subclass has made a Tensor without memory.
py::object required_array(PyObject* tensor) {
  static PyObject* const name = PyUnicode_InternFromString("_array");
  const Held array = slot_of(tensor, tensor_slots().array);
  if (array) return py::reinterpret_borrow<py::object>(array);
  return checked(PyObject_GetAttr(tensor, name));
}

// The rank of a number; -1: x is no number.
int rank_of_number(PyObject* x) {
  if (PyBool_Check(x) || PyArray_IsScalar(x, Bool)) return 0;
  if (PyLong_Check(x) || PyArray_IsScalar(x, Integer)) return 1;
  if (PyFloat_Check(x) || PyArray_IsScalar(x, Floating)) return 2;
  return -1;
}

// _result_dtype(*operands): the common dtype of Tensors, arrays, numbers and dtypes.
PyObject* result_dtype(PyObject*, PyObject* const* operands, Py_ssize_t count) {
  return detail::guarded([&]() -> PyObject* {
    Promotion promotion;
    for (Py_ssize_t i = 0; i < count; ++i) {
      PyObject* x = operands[i];
      const int rank = rank_of_number(x);
      if (PyObject_TypeCheck(x, tensor_class()))
        promotion.add_array(as_array(required_array(x)));
      else if (PyArray_Check(x))
        promotion.add_array(as_array(x));
      else if (PyArray_DescrCheck(x))
        promotion.add_dtype(reinterpret_cast<PyArray_Descr*>(x)->type_num);
      else if (rank >= 0)
        promotion.add_number(rank);
      else
        fail_type("result_dtype", "got an operand that is no Tensor, array, number or dtype");
    }
    if (promotion.type() < 0) fail_value("result_dtype", "got no operand; expected at least one");
    return reinterpret_cast<PyObject*>(PyArray_DescrFromType(promotion.type()));
  });
}

PyMethodDef g_function = {
    "_result_dtype", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(result_dtype)), METH_FASTCALL,
    "_result_dtype(*operands: Any) -> Any\n\n"
    "The common dtype of Tensors, arrays, numbers and dtypes, by PyTorch's rules."};

}  // namespace

int rank_of_dtype(int type) {
  if (PyTypeNum_ISBOOL(type)) return 0;
  if (PyTypeNum_ISINTEGER(type)) return 1;
  if (is_float_type(type)) return 2;
  return kOther;
}

int default_dtype() {
  static PyObject* const name = PyUnicode_InternFromString("dtype");
  const py::object dtype = checked(PyObject_GetAttr(g_default, name));
  return reinterpret_cast<PyArray_Descr*>(dtype.ptr())->type_num;
}

void Promotion::add_number(int rank) {
  int type = NPY_BOOL;
  if (rank == 1) type = NPY_INT64;
  if (rank == 2) type = default_dtype();
  add(type, kNumbers);
}

// Within a group, a higher rank replaces the type; of one rank it becomes the wider type.
void Promotion::add(int type, Group group) {
  int& best = best_[group];
  if (best < 0) {
    best = type;
    return;
  }
  const int difference = rank_of_dtype(type) - rank_of_dtype(best);
  if (difference > 0) best = type;
  if (difference == 0) best = wider(best, type);
}

// The first group (in the order of Group) of the highest rank.
int Promotion::type() const {
  int found = -1;
  for (const int type : best_)
    if (type >= 0 && (found < 0 || rank_of_dtype(type) > rank_of_dtype(found))) found = type;
  return found;
}

void register_promotion(Module m) {
  m.attr(g_function.ml_name) =
      checked(PyCFunction_NewEx(&g_function, m.ptr(), py::object(m.attr("__name__")).ptr()));
  def(m, "_set_default(default)", [](Raw value) { g_default = value.value.inc_ref().ptr(); });
}

}  // namespace ranvier::bind
