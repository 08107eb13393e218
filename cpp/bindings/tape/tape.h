// Calls of Functions of the Python layer.
#pragma once
#include "bindings/tape/observers.h"

namespace ranvier::bind {

namespace py = pybind11;

// The classes of nodes (tape/function.py), and where a Function has what the tape needs.
struct NodeClasses {
  PyTypeObject *function, *output;
  int64_t needs, edges, versions, changes, hooks, released, outputs;
};
extern NodeClasses g_nodes;

// function.apply(x) for a Tensor.
py::object applied_to(PyObject* function, PyObject* x);

bool is_true(const py::object& x);
bool is_true(PyObject* owner, PyObject* name);  // an attribute

// A field of the Dtypes of a Function (tape/function.py): 0: halves, 1: the list of autocast.
py::object dtypes_of(PyObject* function, Py_ssize_t field);

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

// The node whose backward this thread runs with other `needs` than the node's own; null: there is none.
struct NeedsOfPass {
  PyObject *node, *needs;
};
extern thread_local NeedsOfPass t_pass;

}  // namespace ranvier::bind
