// The operand of a shape op: a Tensor, and how the op's other arguments are read for it.
#pragma once
#include <vector>

#include "bindings/array_views.h"
#include "bindings/params.h"

namespace ranvier::bind {

struct Kind {  // a Function that gives a view, and the attribute that makes it
  PyObject* type = nullptr;
  PyObject* attribute = nullptr;
};

// What makes a Tensor of other operands, and what reads other sizes and dimensions than plain ints in their
// range, or raises: functions of ops/shape/reshape.py.
void set_readers(PyObject* as_tensor, PyObject* sizes, PyObject* dim, PyObject* some_dim);

// A whole number; beyond 2**62 as that.
int64_t clamped(PyObject* number);

struct Operand {
  const Raw& op;
  py::object tensor;

  Operand(const Raw& op, const Raw& input);
  const char* name() const;
  PyArrayObject* array() const;
  int ndim() const { return PyArray_NDIM(array()); }
  int64_t size(int d) const { return PyArray_DIM(array(), d); }
  std::vector<npy_intp> shape() const { return {PyArray_DIMS(array()), PyArray_DIMS(array()) + ndim()}; }

  // A dimension of so many, counted from the front.
  int dim(PyObject* number, int count) const;
  int dim(const Raw& number) const { return dim(number.value.ptr(), ndim()); }
  // The same of an op that removes a dimension or takes a part of it.
  int some_dim(const Raw& number) const;
  // A tuple of the numbers of `f(2, 3)` or `f((2, 3))`.
  py::object sizes(PyObject* arguments) const;
  py::object sizes_of(const Raw& argument) const;  // of a number, or several

  // The view that a Function with this attribute gives.
  py::object view(const Kind& kind, const py::object& setting) const;
  py::object view(const Kind& kind, const std::vector<npy_intp>& numbers) const;
  // The same, or nothing where NumPy's error means that the setting does not fit x.
  py::object fitting(const Kind& kind, const py::object& setting) const;
  [[noreturn]] void fail_shape(const py::object& target, const char* expected) const;
  [[noreturn]] void fail(const char* expected) const;
};

}  // namespace ranvier::bind
