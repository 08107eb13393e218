// Signature: everything of a call of a compiled function that a recorded program depends on. Calls with equal
// signatures differ only in the elements of their arrays, so that one program serves them all.
#pragma once
#include <pybind11/pytypes.h>

#include <array>
#include <string>
#include <vector>

namespace ranvier::bind {

namespace py = pybind11;

// The settings of the library as numbers: those of the kernels (threads, algorithms of convolutions,
// instruction-set level, precision), one number for the settings of Python (python/ranvier/settings.py), and
// which classes and modes are asked about calls (tape/dispatch.h).
using KernelSettings = std::array<int64_t, 9>;
KernelSettings kernel_settings();

// The elements of arrays may differ from call to call. An array is a NumPy array, or a Tensor that has no
// gradient, requires none and has no attributes. Everything else is compared: plain values by value
// (guards.h), other objects by identity.
class Signature {
 public:
  // Reads a call; this signature must be empty. keywords: a dict or null. as_tensors: the step gets Tensors
  // for all arrays, so that NumPy arrays and Tensors are alike.
  void read(const py::tuple& positional, PyObject* keywords, bool as_tensors);
  // Adds settings, and which arrays share memory. Arrays that do are replaced by one array of the bytes that
  // they cover together, so that an address belongs to one array only.
  void complete();
  void clear();

  bool operator==(const Signature& other) const { return is_same_call(other) && more_ == other.more_; }
  bool is_same_call(const Signature& other) const;        // equal, without what complete() adds
  bool has_same_structure(const Signature& other) const;  // equal, without shapes and strides and complete()
  // Equal, except that objects that are compared by identity may be other ones of the same classes.
  bool has_same_form(const Signature& other) const;
  bool is_joined() const { return joined_; }  // whether arrays share memory
  bool as_tensors() const { return as_tensors_; }
  size_t hash(bool of_numbers) const;  // of_numbers false: the same for calls that differ only in numbers
  size_t hash_of_form() const;         // the same for signatures of the same form
  int different_argument(const Signature& other) const;  // the index of the first one; -1: none

  std::vector<py::object> arrays;  // the arrays of the call, all of NumPy's own class
  std::vector<PyObject*> sources;  // for each of them the argument (Tensor or array) that has it
  std::string fault;               // why the call cannot be compared with others, or empty

 private:
  // The call is a sequence of parts. What `what` is depends on the kind.
  struct Part {
    enum Kind {
      argument,  // a new argument begins; what: 1 if the name of a keyword follows, else 0
      array,     // what: NumPy's type number of its elements. Its extents follow, then, for a dtype that is
                 // no number, its text as a value
      extent,    // of the array before; what: for each dimension its size, then its stride
      again,     // an array that came before; what: its index in `arrays`
      items,     // a tuple, named tuple, list or dict; what: how many items follow
      number,    // what: its bits
      value,     // what: its hash; the value itself is the next one of values_
      object     // what: its address
    } kind;
    const void* type;  // its class; null for arrays if as_tensors
    int64_t what;

    bool operator==(const Part& p) const { return kind == p.kind && type == p.type && what == p.what; }
  };
  void add(PyObject* x, int depth);
  bool add_array(PyObject* x);
  bool add_value(PyObject* x);
  bool add_items(PyObject* x, int depth);
  void add_object(PyObject* x);
  bool has_same_values(const Signature& other) const;
  static bool may_be_another(const Part& part);
  // skips: says which numbers of parts are left out.
  template <class F>
  size_t hash_without(const F& skips) const;

  std::vector<Part> parts_;
  std::vector<py::object> values_;  // str, bytes, int, complex, or scalars of NumPy
  std::vector<int64_t> more_;       // what complete() adds
  bool as_tensors_ = false, joined_ = false;
};

}  // namespace ranvier::bind
