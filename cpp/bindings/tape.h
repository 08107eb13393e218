// Calls of Functions of the Python layer.
#pragma once
#include <pybind11/pytypes.h>

namespace ranvier::bind {

namespace py = pybind11;

// function.apply(x) for a Tensor.
py::object applied_to(PyObject* function, PyObject* x);
// Whether what follows a program's calls has put another function in the place of Function.apply.
bool is_apply_replaced();
// A new Tensor of what a kernel returns for the arrays of Tensors; None: as `_core._direct` (direct.cpp).
PyObject* answer_of(PyObject* kernel, PyObject* const* inputs, Py_ssize_t count);

// While a node's backward runs, its products have the precision that a block, as one of autocast, gave to its
// forward (base/precision.h).
class PrecisionOfNode {
 public:
  explicit PrecisionOfNode(PyObject* node);
  ~PrecisionOfNode();
  PrecisionOfNode(const PrecisionOfNode&) = delete;

 private:
  bool holds_;
  int before_ = -1;
};

}  // namespace ranvier::bind
