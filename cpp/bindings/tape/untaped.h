// What the ops of untaped.cpp, untaped_reduce.cpp and direct.cpp share: the class Op, operands and their
// dtypes, and the inner loops of NumPy's ufuncs.
#pragma once
#include "bindings/binder/bfloat16.h"
#include "bindings/binder/define.h"
#include "bindings/binder/held.h"
#include "bindings/binder/numpy_api.h"
#include "bindings/tape/autocast.h"
#include "bindings/tape/tape.h"
#include "bindings/tensors/grad_mode.h"
#include "bindings/tensors/promotion.h"
#include "bindings/tensors/tensors.h"

// This header has to be included after numpy_api.h.
#define NO_IMPORT_UFUNC
#include <numpy/ufuncobject.h>

#include <atomic>

#include "base/loop_nest.h"

namespace ranvier::bind::untaped {

// What the ops know of a dtype. kKnown is indexed by NumPy's type number; half floats, whose numbers are
// larger, are in kHalves.
constexpr int kTypes = NPY_DOUBLE + 1;
struct Known {
  int rank;  // 0: bool, 1: integer, 2: float; -1: Python computes calls with this dtype
  DType dtype;
  int bytes;  // of an element
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
  if (type == NPY_HALF) return kHalves[0];
  if (type == bfloat16_number()) return kHalves[1];
  return kUnknown;
}
inline bool is_known(int type) { return known(type).rank >= 0; }
inline bool has_loops(int type) { return type < kTypes && is_known(type); }  // whether NumPy has loops for it

// An op: the core's code for simple calls, and a function of Python for all others. Each kind of op derives a
// class. Ops live as long as the process.
struct Op {
  virtual ~Op() = default;
  // The result, or empty if in_python has to compute it. arguments: as in a vectorcall, `count` positional
  // ones, then those with keywords, named by the tuple `names` (null: there are none).
  virtual py::object answer(PyObject* const* arguments, Py_ssize_t count, PyObject* names) const = 0;

  PyObject* in_python = nullptr;  // the function of Python
  PyObject* name = nullptr;    // the op's name, put into the errors of in_python; null: they have it already
  PyObject* kernel = nullptr;  // a function on arrays, or null
};

// What makes the nodes of an op: `node(settings ...)`. Most classes of nodes are made by `make_node()` at the
// first call that needs one, as a program uses few of them.
class NodeMaker {
 public:
  NodeMaker(py::handle node, py::handle make_node);  // each may be None
  // A borrowed reference, or null if Python has to make the call.
  PyObject* get() const {
    PyObject* made = node_.load(std::memory_order_acquire);
    if (!made && make_node_) {
      made = checked(PyObject_CallNoArgs(make_node_)).release().ptr();  // the same object for each thread
      node_.store(made, std::memory_order_release);
    }
    return made;
  }

 private:
  mutable std::atomic<PyObject*> node_;
  PyObject* make_node_;
};

// The inner loops of one of NumPy's ufuncs, whose operands all have one dtype.
class Loops {
 public:
  explicit Loops(py::handle ufunc);  // None: no loops
  // The index of the loop for operands of this dtype (NumPy's type number), or -1.
  int of(int type) const { return has_loops(type) ? by_type_[type] : -1; }

  PyUFuncObject* ufunc;  // null: no loops

 private:
  int8_t by_type_[kTypes];  // what of() returns
};

// An operand of an op: a Tensor or a number. Of `array` and `number`, read() sets one.
struct TensorOrNumber {
  PyObject* given = nullptr;  // the argument itself, which the caller in Python holds
  py::object array;           // the array of a Tensor
  py::object number;          // a bool, int or float
  int type = NPY_BOOL;        // NumPy's type number of the array
  int rank = 0;               // the rank (Known) of the array or number

  bool read(PyObject* x);  // false if Python has to compute the call
  bool needs_gradient() const {
    return array && slot_of(given, tensor_slots().requires_grad).ptr() != Py_False && is_grad_enabled();
  }
};

struct NewFunction : py::object {
  RANVIER_ANNOTATION("Any");
};
PyObject* kept(py::handle x);  // a new reference; null for None
// Completes the op, and makes the object that Python calls for it.
NewFunction function_of(Op* op, py::handle in_python, py::handle kernel, py::handle name);

// node.apply(inputs ...). The array has the node first; count: 1 more than there are inputs.
py::object applied(PyObject* const* node_and_inputs, size_t count);
// The array itself if it has this dtype (NumPy's type number), else a copy cast to it.
py::object in_type(const py::object& array, int type);
// Calls a kernel with these arguments and returns its result as a Tensor.
py::object kernel_result(PyObject* kernel, PyObject* const* arguments, Py_ssize_t count);

// An operand of a loop over a shape: the address of its first element, and its steps in bytes along each
// dimension of the shape. A step is 0 where the operand is broadcast, as a number is everywhere.
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

// Runs the ufunc's inner loop number k over all elements of a shape: the operands x, and the result y. If it
// reduces (`count` is 1), y is also the first operand, and its steps along the reduced dimensions are 0.
// Loops on numbers need no GIL, which is released if there are many elements.
template <int count, bool reduces>
void run_loop(const Loops& loops, int k, const Shape& shape, const Strided (&x)[count], const Strided& y) {
  const int64_t* steps[count + 1];
  // LoopNest orders the dimensions by the last operand's steps: those of the result, or in a reduction, whose
  // result has steps of 0, those of the input.
  constexpr int kFirstInput = reduces ? 1 : 0;
  constexpr int kResult = reduces ? 0 : count;
  for (int i = 0; i < count; ++i) steps[kFirstInput + i] = x[i].steps;
  steps[kResult] = y.steps;
  const LoopNest<count + 1> nest(shape.ndim, shape.sizes,
                                 *reinterpret_cast<const int64_t* const(*)[count + 1]>(&steps));
  const auto loop = loops.ufunc->functions[k];
  void* const data = loops.ufunc->data ? loops.ufunc->data[k] : nullptr;
  constexpr int kArrays = count + 1 + (reduces ? 1 : 0);  // the addresses that the loop gets
  npy_intp inner[kArrays];
  for (int i = 0; i < kArrays; ++i) inner[i] = nest.strides[i % (count + 1)][nest.ndim - 1];
  constexpr int64_t kFew = 4096;  // elements computed in less time than two switches of the GIL take
  PyThreadState* state = nest.size < kFew ? nullptr : PyEval_SaveThread();
  nest.walk(0, nest.size, [&](int64_t n, const int64_t* offsets) {
    char* at[kArrays];
    for (int i = 0; i < count; ++i) at[kFirstInput + i] = x[i].data + offsets[kFirstInput + i];
    at[kArrays - 1] = y.data + offsets[kResult];
    if (reduces) at[0] = at[kArrays - 1];
    npy_intp some = n;
    loop(at, &some, inner, data);
  });
  if (state) PyEval_RestoreThread(state);
}

}  // namespace ranvier::bind::untaped
