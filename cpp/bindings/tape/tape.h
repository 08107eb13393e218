// Calls of Functions of the Python layer.
#pragma once
#include "bindings/tape/observers.h"

namespace ranvier::bind {

namespace py = pybind11;

// function.apply(x) for a Tensor.
py::object applied_to(PyObject* function, PyObject* x);

bool is_true(const py::object& x);
bool is_true(PyObject* owner, PyObject* name);  // an attribute

// In which dtypes a Function computes: the first two fields of Dtypes (tape/function.py).
struct OpDtypes {
  py::object halves, autocast;
};
OpDtypes dtypes_of(PyObject* function);

// While a node's backward runs, its products have the precision that a block gave to its forward
// (base/precision.h).
class PrecisionOfNode {
 public:
  explicit PrecisionOfNode(PyObject* node);
  ~PrecisionOfNode();
  PrecisionOfNode(const PrecisionOfNode&) = delete;

 private:
  bool holds_;
  int before_ = -1;
};

// While a node's backward runs in this thread, its `needs` are those of the pass: `needs` is null where they
// are the node's own.
class NeedsOfPass {
 public:
  NeedsOfPass(PyObject* node, PyObject* needs);
  ~NeedsOfPass();
  NeedsOfPass(const NeedsOfPass&) = delete;

 private:
  PyObject *node_, *needs_;  // of the backward around this one
};

}  // namespace ranvier::bind
