// The operand of a shape op: a Tensor, and how the op's other arguments are read for it.
#pragma once
#include "bindings/binder/errors.h"
#include "bindings/tensors/array_views.h"

namespace ranvier::bind {

struct Kind {  // a Function that gives a view, and the attribute that makes it
  PyObject* type = nullptr;
  PyObject* attribute = nullptr;
};

// Functions of Python that make a Tensor of other operands, or read other sizes and dimensions than ints in
// their range, or raise: as_tensor, and _sizes, _dim and some_dim of ops/shape/reshape.py.
void set_readers(PyObject* functions);

int64_t clamped(PyObject* number);        // a whole number; beyond 2**62 as that
py::object tuple_of(PyObject* argument);  // a tuple of one item

struct Setting {  // a shape, or the order of dimensions
  npy_intp at[NPY_MAXDIMS + 1];
  int count = 0;
  void add(npy_intp n) {
    if (count <= NPY_MAXDIMS) at[count++] = n;
  }
};

struct Operand {
  PyObject* op;  // its name, for errors
  py::object tensor;

  explicit Operand(PyObject* const* arguments);  // op and operand
  PyArrayObject* array() const;
  int ndim() const { return PyArray_NDIM(array()); }
  npy_intp size(int d) const { return PyArray_DIM(array(), d); }

  // A dimension of this many, counted from the front.
  int dim(PyObject* number, int count) const;
  int dim(PyObject* number) const { return dim(number, ndim()); }
  // The same of an op that removes a dimension or takes a part of it.
  int some_dim(PyObject* number) const;
  // A tuple of the numbers of `f(2, 3)` or `f((2, 3))`.
  py::object sizes(PyObject* arguments) const;

  // The view that a Function with this attribute gives.
  py::object view(const Kind& kind, const py::object& setting) const;
  py::object view(const Kind& kind, const Setting& setting) const;
  // The same, or nothing where NumPy's error means that the setting does not fit x.
  py::object fitting(const Kind& kind, const py::object& setting) const;
  template <class... P>
  [[noreturn]] void fail(Fault fault, const P&... pieces) const {
    bind::fail(fault, PyUnicode_AsUTF8(op), {Piece(pieces)...});
  }
  [[noreturn]] void fail_shape(const py::object& target, const char* expected) const;
};

}  // namespace ranvier::bind
