// GuardForm: the guards of a step, with numbers in the place of the objects that belong to this step alone.
//
// A step on other objects, such as a new cache of keys and values or a fresh model, does the same kernel
// calls if all that it reads in Python is equal: plain values by value; what steps have in common (functions,
// classes, modules) by identity; and its own objects in the same places, different ones where they were
// different. match() reads the places of all guards again, beginning at other roots, and finds for each
// number the object of the other step. The result are the guards of that step.
//
// Why that is enough: a program stays valid as long as its guards hold, whatever else its objects are. An
// object of the other step is then like the old one after changes that no guard mentions. What an object
// leads to without a guard, because it never changes, is compared when the object gets its number: its class,
// the layout of an array, the code and the closure of a function, what a wrapper wraps.
#pragma once
#include <pybind11/pytypes.h>

#include <memory>
#include <unordered_set>
#include <utility>
#include <vector>

#include "bindings/replay/array_recording.h"
#include "bindings/replay/guards.h"

namespace ranvier::bind {

class GuardForm {
 public:
  // roots: the objects from which the guards were found. guards: in the order in which they were found, as
  // Guards::set() takes them. described: {id of an object: True if guards compare all that the step reads of
  // it, so that it gets a number; False if it is common to all steps}. Null if the step has an object of its
  // own of which neither is known.
  static std::unique_ptr<GuardForm> of(const py::list& roots, const py::list& guards,
                                       const py::dict& described);
  // The objects by number. The form keeps no reference to them: this may be called once.
  py::list take_objects() { return std::exchange(objects_, py::list()); }
  // The indices, in `guards` of of(), of the guards that mention objects with numbers. All others are the
  // same in all steps of the form.
  py::list own_places() const;
  // For a step with these roots: the tuple (its objects by number, its own guards). Else the index of the
  // first own guard that does not hold; -1: the roots differ.
  py::object match(const py::list& roots);

 private:
  friend class FormOfGuards;
  friend class MatchOfGuards;

  // What stands in a guard: an object that all steps have in common; the object with a number; the id of that
  // object, as an int; or a tuple, a bound method (function, self) or a functools.partial (function,
  // arguments) of such parts.
  struct Operand {
    enum Kind { common, numbered, id, tuple, method, partial } kind;
    py::object object = {};
    int number = -1;
    std::vector<Operand> parts = {};
  };
  struct Row {
    GuardKind kind;
    Operand owner, key, expected;
  };
  // What is compared when an object gets a number.
  struct OwnObject {
    py::object type;
    int dict = -1;                        // the number of its __dict__; -1: it has none
    py::object code, globals;             // of a function
    std::vector<int> cells;               // the numbers of the cells of its closure
    py::object factory;                   // of a defaultdict
    std::unique_ptr<ArrayLayout> layout;  // of an array
    int flags = 0;                        // of an array: see flags_of()
    py::object root_name;                 // of a wrapper, such as a compiled function: its `step_root`
    std::vector<Operand> root;            // the attribute of this name; empty: the object is no wrapper
  };

  std::vector<Operand> roots_;
  std::vector<Row> rows_;                 // the own guards
  std::vector<size_t> places_;            // their indices
  std::vector<OwnObject> own_;            // by number
  std::unordered_set<PyObject*> common_;  // objects without a number, which guards refer to
  py::list objects_;
};

}  // namespace ranvier::bind
