// Guards: what a recorded step has read in Python, and whether that is still so.
//
// A guard names one place (an item of a dict, an attribute, a cell, the contents of a list ...) and what was
// there when the step was recorded. Plain values and NumPy scalars are compared by value (0.0 and
// -0.0 differ), all else by identity. A guard holds references, so an address never means two objects.
#pragma once
#include <pybind11/pytypes.h>

#include <vector>

#include "bindings/held.h"

namespace ranvier::bind {

namespace py = pybind11;

// In the order of `Kind` in python/ranvier/program/kinds.py.
enum class GuardKind : int64_t {
  items,      // of owner, a dict, the keys in expected have these values: (key, value ...);
              // NotImplemented: there is no such key
  slot,       // owner.key, a member of a class with __slots__, is expected
  attribute,  // owner.key is expected
  cell,       // the content of a cell of a closure is expected
  list,       // owner, a list, has the items of expected, a tuple
  dict,   // owner, a dict, has the keys and values of expected, (key, value, key, value ...), in this order
  type,   // the class of owner is expected
  names,  // of owner, a class, the names in expected, have these values: (name, value ...);
          // NotImplemented: the class has no such name
  function,  // code, defaults and keyword defaults of owner are those of expected, a tuple
  array,     // shape, dtype and elements of owner, a NumPy array, are those of expected
  gradient,  // the gradient of owner, a Tensor, begins at the address `expected`, and nothing else refers
             // to its array; 0: there is none; -1: it may move (`has_gradient`)
  call,      // owner() gives expected
};

struct Guard {
  GuardKind kind;
  py::object owner, key, expected;
  int64_t number = 0;  // slot: offset of the member; names: version of the class; address
  int place = 0;       // in the list that the guards came in

  bool holds();
};

class Guards {
 public:
  // list: of (kind, owner, key, expected).
  void set(const py::list& list);
  // The first one that does not hold, or -1; those on dicts are looked at first.
  int first_changed();
  int visit(visitproc visit, void* arg) const;
  void clear();

 private:
  // Guards on one dict. Up to Python 3.12 a dict has a version, another one after each change: where it is
  // the same, nothing is looked up.
  struct Dict {
    PyObject* dict;
    size_t begin, end;
    uint64_t version;
  };
  int first_changed(size_t begin, size_t end);

  std::vector<Guard> guards_;
  std::vector<Dict> dicts_;  // the guards before dicts_.back().end
};

// The slots of a Tensor, read directly: an attribute lookup takes ten times as long.
struct TensorSlots {
  int64_t array, cell, grad, requires_grad;  // offsets

  static TensorSlots of(py::handle tensor);  // any Tensor: they are the same for all
};

// Whether it has a gradient in the layout of the leaf, in memory that nothing else refers to.
bool has_gradient(PyObject* leaf);

// One value, by the rule above.
bool same_value(PyObject* a, PyObject* b);

}  // namespace ranvier::bind
