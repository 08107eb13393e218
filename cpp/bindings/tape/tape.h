// Calls of Functions of the Python layer (tape/function.py), which are the nodes of the tape.
#pragma once
#include "bindings/tape/observers.h"

namespace ranvier::bind {

namespace py = pybind11;

// The classes Function and Output of tape/function.py, and the offsets (for slot_of) of a Function's slots
// that have these names; `needs` is the slot _needs.
struct NodeClasses {
  PyTypeObject *function, *output;
  int64_t needs, edges, versions, changes, hooks, released, outputs;
};
extern NodeClasses g_nodes;

// The number of a Function among those that its thread has recorded: later ones have a larger one. 0: it is
// not recorded. backward runs nodes with larger numbers first.
int64_t sequence_of(PyObject* function);

// function.apply(x) for a Function that gives a view of the Tensor x. Views are the same in blocks of
// autocast.
py::object applied_to(PyObject* function, PyObject* x);

bool is_true(const py::object& x);
bool is_true(PyObject* owner, PyObject* name);  // is_true() of the attribute owner.name

// A field of function.dtypes, a Dtypes of tape/function.py. field 0: `halves`, 1: `autocast`.
py::object dtypes_of(PyObject* function, Py_ssize_t field);

// While this object exists, products of float32 have the precision that they had in the node's forward, if a
// block set it there (base/precision.h).
class PrecisionOfNode {
 public:
  explicit PrecisionOfNode(PyObject* node);
  ~PrecisionOfNode();
  PrecisionOfNode(const PrecisionOfNode&) = delete;

 private:
  bool holds_;
  int before_ = -1;
};

// In a backward for some inputs only: the node that this thread runs, and the `needs` that it has meanwhile
// (a tuple of bools, one for each input). Null if the node has its own.
struct NeedsOfPass {
  PyObject *node, *needs;
};
extern thread_local NeedsOfPass t_pass;

}  // namespace ranvier::bind
