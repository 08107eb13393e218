// Shared by the calls of untaped.cpp and untaped_reduce.cpp: operands, dtypes, and NumPy's inner loops.
#pragma once
#include "bindings/binder/bfloat16.h"
#include "bindings/binder/define.h"
#include "bindings/binder/numpy_api.h"
#include "bindings/replay/guards.h"
#include "bindings/tape/autocast.h"
#include "bindings/tape/grad_mode.h"
#include "bindings/tape/tape.h"
#include "bindings/tensors/promotion.h"
#include "bindings/tensors/tensors.h"

// after numpy_api.h
#define NO_IMPORT_UFUNC
#include <numpy/ufuncobject.h>

#include "base/loop_nest.h"

namespace ranvier::bind::untaped {

constexpr int kTypes = NPY_DOUBLE + 1;  // NumPy's numbers of dtypes
struct Known {
  int rank;  // rank of its kind: bool, integer, float; -1: its dtype is left to Python
  DType dtype;
  int bytes;
  bool is_signed;
};
inline constexpr Known kUnknown = {-1, DType::boolean, 0, false};
inline constexpr Known kKnown[kTypes] = {{0, DType::boolean, 1, false},
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

inline constexpr Known kHalves[] = {{2, DType::float16, 2, true}, {2, DType::bfloat16, 2, true}};
inline const Known& known(int type) {
  if (type >= 0 && type < kTypes) return kKnown[type];
  return type == NPY_HALF ? kHalves[0] : type == bfloat16_number() ? kHalves[1] : kUnknown;
}
inline bool is_known(int type) { return known(type).rank >= 0; }
inline bool has_loops(int type) { return type < kTypes && is_known(type); }  // whether NumPy has loops for it

// A Python function and the core's implementation of its simple calls: a class for each kind of op. Never
// freed.
struct Op {
  virtual ~Op() = default;
  // The result; empty if Python has to compute it. names: of the last arguments, as in a vectorcall; null:
  // none.
  virtual py::object answer(PyObject* const* arguments, Py_ssize_t count, PyObject* names) const = 0;

  PyObject* in_python = nullptr;  // computes the calls that answer() does not
  PyObject* name = nullptr;       // that its errors get, or null: they have it
  PyObject* kernel = nullptr;     // on arrays, or null
};

// The inner loops of one of NumPy's ufuncs.
class Loops {
 public:
  explicit Loops(py::handle ufunc);  // None: there are none
  int of(int type) const { return has_loops(type) ? by_type_[type] : -1; }

  PyUFuncObject* ufunc;

 private:
  int8_t by_type_[kTypes];  // by the dtype of the operands; -1: there is none
};

struct Operand {
  PyObject* given = nullptr;
  py::object array;   // the array of a Tensor, or
  py::object number;  // a bool, int or float
  int type = NPY_BOOL, rank = 0;

  bool read(PyObject* x);  // false: Python reads it
  bool needs_gradient() const {
    return array && slot_of(given, tensor_slots().requires_grad).ptr() != Py_False && is_grad_enabled();
  }
};

struct NewFunction : py::object {
  RANVIER_ANNOTATION("Any");
};
PyObject* kept(py::handle x);  // a new reference; null for None
NewFunction function_of(Op* op, py::handle in_python, py::handle kernel, py::handle name);

// node.apply(inputs ...): all of them, one after another.
py::object applied(PyObject* const* node_and_inputs, size_t count);
py::object in_type(const py::object& array, int type);
// Calls a kernel with these arguments and returns its result as a Tensor.
py::object kernel_result(PyObject* kernel, PyObject* const* arguments, Py_ssize_t count);

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

// The k-th of the inner loops, over all elements of a shape: of x and y. A reduction reads y, too. The
// loops of numbers need no GIL.
template <int count, bool reduces>
void run_loop(const Loops& loops, int k, const Shape& shape, const Strided (&x)[count], const Strided& y) {
  const int64_t* steps[count + 1];
  for (int i = 0; i < count; ++i) steps[i + reduces] = x[i].steps;
  steps[reduces ? 0 : count] = y.steps;  // the last one decides the order
  const LoopNest<count + 1> nest(shape.ndim, shape.sizes,
                                 *reinterpret_cast<const int64_t* const(*)[count + 1]>(&steps));
  const auto loop = loops.ufunc->functions[k];
  void* const data = loops.ufunc->data ? loops.ufunc->data[k] : nullptr;
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

}  // namespace ranvier::bind::untaped
