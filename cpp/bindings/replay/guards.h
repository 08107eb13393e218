// Guards: what a recorded step has read in Python, to be compared before each replay.
//
// A guard names a place (an item of a dict, an attribute, the cell of a closure, the contents of a list ...)
// and the value that was there when the step was recorded. Plain values and NumPy scalars are compared by
// value (0.0 and -0.0 differ), other objects by identity. A guard holds references to the objects, so that no
// other object can get their address.
#pragma once
#include <pybind11/pytypes.h>

#include <array>
#include <vector>

#include "bindings/binder/held.h"

namespace ranvier::bind {

namespace py = pybind11;

// The kinds of guards, and what each requires. Python gets their numbers by _guard_kind(name). Kinds that do
// not mention `key` do not use it.
//
//   items: owner, a dict, has these values at the keys in expected: (key, value ...);
//     NotImplemented: there is no such key
//   slot: owner.key, a member of a class with __slots__, is expected
//   attribute: owner.key is expected
//   cell: the content of a cell of a closure is expected
//   list: owner, a list, has the items of expected, a tuple
//   dict: owner, a dict, has the keys and values of expected, (key, value, key, value ...), in this order
//   type: the class of owner is expected; unless key is None, owner.__dict__ is the dict key itself
//   names: owner, a class, has these values under the names in expected: (name, value ...);
//     NotImplemented: the class has no such name. One more item is a version of the class at which they held.
//     key: its __mro__, which is compared too, or None
//   function: code, defaults, keyword defaults, __name__, __qualname__, __doc__ and __module__ of owner are
//     those of expected, a tuple; NotImplemented: it is not compared
//   gradient: the gradient of owner, a Tensor, begins at the address `expected`; 0: there is none; -1: it may
//     be anywhere (has_gradient()). Unless key is None, the step adds to it in place, so nothing else may
//     refer to its array
//   call: owner() gives expected
#define RANVIER_GUARD_KINDS(X) \
  X(items) X(slot) X(attribute) X(cell) X(list) X(dict) X(type) X(names) X(function) X(gradient) X(call)

#define RANVIER_X(name) name,
enum class GuardKind : int64_t { RANVIER_GUARD_KINDS(RANVIER_X) };
#undef RANVIER_X

struct Guard {
  GuardKind kind;
  py::object owner, key, expected;
  // What `number` is depends on the kind:
  //   slot: the offset of the slot
  //   names: the version of the class when they last held; 0: none
  //   gradient: the address that is expected, 0 for no gradient, -1 for any that has_gradient()
  //   attribute: 1 for `enabled` and 2 for `inference` of the gradient mode (tensors/grad_mode.h), which are
  //     read without Python; 0 for others
  int64_t number = 0;
  int place = 0;  // its index in the list of Guards::set()

  bool holds();
};

class Guards {
 public:
  // list: tuples (kind, owner, key, expected), and `_core.Guards`, which are shared with other programs and
  // stand for all their guards.
  void set(const py::list& list);
  // The `place` of a guard that does not hold, or -1. Guards on dicts are compared first, shared ones last.
  int first_changed();
  int size() const { return size_; }
  int visit(visitproc visit, void* arg) const;
  void clear();

 private:
  // The guards [begin, end) on one dict. Up to Python 3.12 a dict has a version that every change changes. If
  // it is the one at which the guards last held, they hold.
  struct Dict {
    PyObject* dict;
    size_t begin, end;
    uint64_t version;
  };
  // A place in memory, valid as long as the guard's owner exists, that must hold the pointer `expected`. Many
  // guards are such comparisons of pointers.
  struct Pointer {
    PyObject* const* place;
    PyObject* expected;
  };
  struct Shared {
    py::object guards;  // a `_core.Guards`
    int place;          // that of its first guard
  };
  int first_changed(size_t begin, size_t end);
  int first_changed_of_own();
  static bool add_pointers(const Guard& g, std::vector<Pointer>& found);

  std::vector<Guard> guards_;      // first those on dicts, then those that pointers_ compare, then all others
  std::vector<Dict> dicts_;        // of the guards on dicts
  std::vector<Pointer> pointers_;  // of the guards after those on dicts, up to others_
  size_t others_ = 0;              // the index of the first of all other guards
  std::vector<Shared> shared_;
  int size_ = 0;  // the number of guards, with shared ones
};

// True if the leaf has a gradient with its own dtype, shape and strides, whose array owns its memory and
// which nothing else refers to.
bool has_gradient(PyObject* leaf);

// How guards and signatures compare a plain value, beside its class. `number`: floats and ints of 64 bits, by
// their bits in `what`, so that 0.0 and -0.0 differ and NaN is equal to itself. `object`: strings, bytes,
// larger ints, complex numbers and NumPy's scalars; `what` is a hash or 0, and same_value() compares them in
// full. `none`: the object is no plain value.
struct PlainValue {
  enum Kind { none, number, object } kind;
  int64_t what;
};
PlainValue plain_value(PyObject* x);

// The version of a class: Python gives it another one after each change of it or of a class that it inherits
// from. 0: it can have none.
int64_t renewed_version_of(PyObject* type);

// What a guard of GuardKind::function compares, in this order: the places of a function's code, defaults ...
constexpr int kOfFunction = 7;
std::array<PyObject* const*, kOfFunction> places_of_function(PyObject* function);

// True if a and b are the same object, or equal plain values, or tuples whose items are the same values.
bool same_value(PyObject* a, PyObject* b);

}  // namespace ranvier::bind
