// Reductions of Tensors, as sums and maxima, in one step from Python's arguments to a Tensor: floats by a
// kernel, other dtypes by the inner loop of NumPy's ufunc. Python computes all other calls, as for the ops of
// untaped.cpp.
#include "bindings/tape/untaped.h"

#include <algorithm>
#include <cstring>

namespace ranvier::bind {
namespace untaped {
namespace {

// Sets reduced[d] for each axis d that `axes` names: None (all), an int, or a tuple of ints. False if Python
// has to read them, or to raise an error.
bool read_axes(PyObject* axes, int ndim, bool* reduced) {
  if (axes == Py_None) {
    std::fill_n(reduced, ndim, true);
    return true;
  }
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

// Sets every element of y to a number before the loop: 0 for a sum, 1 for a product. If the number is
// negative, to the first element of x along the reduced axes, as for a maximum.
void begin(int64_t number, const Shape& shape, const bool* reduced, const Strided& x, const Strided& y,
           int type) {
  const int64_t item = known(type).bytes;  // the first bytes of a little-endian number are the low ones
  Shape first;
  for (int d = 0; d < shape.ndim; ++d) {
    const int64_t size = reduced[d] ? 1 : shape[d];
    first.append(size);
  }
  const LoopNest<2> nest(first.ndim, first.sizes, {x.steps, y.steps});
  const int64_t from = nest.strides[0][nest.ndim - 1];
  const int64_t to = nest.strides[1][nest.ndim - 1];
  nest.walk(0, nest.size, [&](int64_t n, const int64_t* offsets) {
    for (int64_t i = 0; i < n; ++i) {
      const char* first = reinterpret_cast<const char*>(&number);
      if (number < 0) first = x.data + offsets[0] + i * from;
      std::memcpy(y.data + offsets[1] + i * to, first, item);
    }
  });
}

// f(x, dim, axis, keepdim, keepdims): `axis` and `keepdims` are NumPy's names of `dim` and `keepdim`. The
// kernel, if there is one, computes floats.
struct Reduction final : Op {
  explicit Reduction(py::handle ufunc) : loops(ufunc) {}
  py::object answer(PyObject* const* arguments, Py_ssize_t count, PyObject* names) const override;

  Loops loops;
  bool is_flat;  // the results carry no gradient
  int type;      // NumPy's type number in which the loop computes; -1: x's own
  int initial;   // the number of begin()
};

// Floats go to the kernel. For the loop, `kept` is the shape of the result, and y is the result as an operand
// of the shape of x, with steps of 0 along the reduced axes.
py::object Reduction::answer(PyObject* const* arguments, Py_ssize_t count, PyObject* names) const {
  TensorOrNumber x;
  if (names || is_observed() || count != 5 || !x.read(arguments[0]) || !x.array ||
      (x.needs_gradient() && !is_flat) || !PyBool_Check(arguments[3]) || !PyBool_Check(arguments[4]))
    return {};
  const bool keepdims = arguments[3] == Py_True || arguments[4] == Py_True;
  PyObject* const axes = arguments[2] == Py_None ? arguments[1] : arguments[2];
  const int ndim = PyArray_NDIM(as_array(x.array));
  bool reduced[kMaxDims] = {};
  if (!read_axes(axes, ndim, reduced)) return {};
  if (x.rank == 2 && kernel && (has_loops(x.type) || PyCFunction_Check(kernel))) {
    PyObject* const keeps = keepdims ? Py_True : Py_False;
    PyObject* const given[] = {x.array.ptr(), axes, keeps, /*out=*/Py_None};
    return kernel_result(kernel, given, 4);
  }
  const int of = type < 0 ? x.type : type;
  const int k = loops.of(of);
  // all() and any() of uint8 are uint8, as in PyTorch: Python computes them.
  if (k < 0 || t_recording || (of == NPY_BOOL && x.type == NPY_UINT8)) return {};
  const py::object array = in_type(x.array, of);
  Shape shape(ndim, reinterpret_cast<const int64_t*>(PyArray_DIMS(as_array(array)))), kept;
  for (int d = 0; d < ndim; ++d) {
    if (!reduced[d]) kept.append(shape[d]);
    if (reduced[d] && keepdims) kept.append(1);
    if (initial < 0 && reduced[d] && !shape[d]) return {};
  }
  const py::object result = Output::contiguous(known(of).dtype, kept).release();
  const Strided own(result, kept.ndim);
  Strided y(own.data);
  for (int d = 0, at = 0; d < ndim; ++d) {
    if (!reduced[d]) y.steps[d] = own.steps[at];
    if (!reduced[d] || keepdims) ++at;
  }
  const Strided all[1] = {Strided(array, ndim)};
  begin(initial, shape, reduced, all[0], y, of);
  run_loop<1, true>(loops, k, shape, all, y);
  return new_tensor(result.ptr());
}

}  // namespace
}  // namespace untaped

void register_untaped_reduce(Module m) {
  using namespace untaped;
  def(m, "_reduction(in_python, kernel, ufunc, flat=False, dtype=-1, initial=-1, name=None)",
      [](Raw in_python, Raw kernel, Raw ufunc, Truth flat, Whole dtype, Whole initial, Raw name) {
        auto* op = new Reduction(ufunc.value);
        op->is_flat = flat;
        op->type = static_cast<int>(dtype);
        op->initial = static_cast<int>(initial);
        return function_of(op, in_python.value, kernel.value, name.value);
      });
}

}  // namespace ranvier::bind
