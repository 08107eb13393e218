// The operand of a shape op, a Tensor, and how the op's other arguments (sizes, dimensions) are read for it.
#pragma once
#include "bindings/binder/errors.h"
#include "bindings/tensors/array_views.h"

namespace ranvier::bind {

// The class of a Function that gives a view, and the name of the attribute that says which (Settings in
// array_views.h).
struct Kind {
  PyObject* type = nullptr;
  PyObject* attribute = nullptr;
};

// functions: a tuple of Python's as_tensor, and _sizes, _dim and some_dim of ops/shape/reshape.py. They read
// what is rare (operands that are no Tensors; sizes and dimensions that are no ints in range) or raise the
// error.
void set_readers(PyObject* functions);

int64_t clamped(PyObject* number);        // the value of an int, clamped to -2**62 ... 2**62
py::object tuple_of(PyObject* argument);  // a tuple of one item

struct Setting {  // the value of a Kind's attribute: a shape, an order of dimensions, a place
  npy_intp at[NPY_MAXDIMS + 1];
  int count = 0;
  void add(npy_intp n) {
    if (count <= NPY_MAXDIMS) at[count++] = n;
  }
};

// x of a call op(x, ...). It holds a reference to the Tensor. All methods run with the GIL and throw Python's
// errors under the name of the op.
struct ShapeOperand {
  PyObject* op;  // the op's name, for errors; borrowed from the call
  py::object tensor;

  explicit ShapeOperand(PyObject* const* arguments);  // arguments[0]: the op's name; [1]: the operand
  PyArrayObject* array() const;
  int ndim() const { return PyArray_NDIM(array()); }
  npy_intp size(int d) const { return PyArray_DIM(array(), d); }

  // Reads a dimension of `count` dimensions; returns it counted from the front.
  int dim(PyObject* number, int count) const;
  int dim(PyObject* number) const { return dim(number, ndim()); }
  // The same for an op that removes a dimension or takes a part of it: x must have one.
  int some_dim(PyObject* number) const;
  // The tuple of ints in the arguments of `f(2, 3)` or `f((2, 3))`.
  py::object sizes(PyObject* arguments) const;

  // The view of the tensor that a Function of this kind gives, with this value of its attribute.
  py::object view(const Kind& kind, const py::object& setting) const;
  py::object view(const Kind& kind, const Setting& setting) const;
  // The same; empty if NumPy raises TypeError, ValueError or OverflowError: the setting does not fit x.
  py::object fitting(const Kind& kind, const py::object& setting) const;
  template <class... P>
  [[noreturn]] void fail(Fault fault, const P&... pieces) const {
    bind::fail(fault, PyUnicode_AsUTF8(op), {Piece(pieces)...});
  }
  [[noreturn]] void fail_shape(const py::object& target, const char* expected) const;
};

}  // namespace ranvier::bind
