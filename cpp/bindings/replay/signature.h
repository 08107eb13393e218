// Signature: which call of a compiled function it is. Calls of one signature differ in the elements of their
// arrays alone, so that one program serves them all.
#pragma once
#include <pybind11/pytypes.h>

#include <array>
#include <string>
#include <vector>

namespace ranvier::bind {

namespace py = pybind11;

// The settings of the library: those that kernels follow (threads, algorithms of convolutions, level,
// precision), those of Python (python/ranvier/settings.py), and
// which classes and modes are asked about calls.
using KernelSettings = std::array<int64_t, 9>;
KernelSettings kernel_settings();

// Arrays may differ in each call: a NumPy array, or a Tensor that has no gradient, requires none,
// and has no attributes. All else is compared: plain values by what they are, other objects by identity.
class Signature {
 public:
  // Reads a call into an empty one. keywords: a dict or null. as_tensors: whether the step gets Tensors for
  // all arrays.
  void read(const py::tuple& positional, PyObject* keywords, bool as_tensors);
  // Adds what follows from more than the arguments themselves: settings, and which arrays share memory. Those
  // become one array of the bytes that they cover together: an address then means one of them only.
  void complete();
  void clear();

  bool operator==(const Signature& other) const { return is_same_call(other) && more_ == other.more_; }
  bool is_same_call(const Signature& other) const;        // equal but for complete()
  bool has_same_structure(const Signature& other) const;  // equal but for the shapes of arrays
  bool is_joined() const { return joined_; }              // whether arrays share memory
  bool as_tensors() const { return as_tensors_; }
  size_t hash(bool of_numbers) const;  // if false, calls that differ in numbers alone have the same
  int different_argument(const Signature& other) const;  // the first one; -1: none

  std::vector<py::object> arrays;  // arrays of exactly NumPy's class
  std::vector<PyObject*> sources;  // the arguments that have them
  std::string fault;               // why the call cannot be compared with others, or empty

 private:
  struct Part {
    enum Kind {
      argument,  // what follows is another argument; 1: the name of a keyword is first
      array,     // its type of elements
      extent,    // for each dimension of this array: its size, then its stride
      again,     // an array that came before: which one
      items,     // a tuple, named tuple, list or dict: this many items follow
      number,    // its bits
      value,     // its hash; it is the next one of values_
      object     // its address
    } kind;
    const void* type;  // its class; of arrays that arrive as Tensors anyway null
    int64_t what;

    bool operator==(const Part& p) const { return kind == p.kind && type == p.type && what == p.what; }
  };
  void add(PyObject* x, int depth);
  bool add_array(PyObject* x);
  bool add_value(PyObject* x);
  bool add_items(PyObject* x, int depth);
  void add_object(PyObject* x);
  bool has_same_values(const Signature& other) const;

  std::vector<Part> parts_;
  std::vector<py::object> values_;  // str, bytes, int, complex, or scalars of NumPy
  std::vector<int64_t> more_;
  bool as_tensors_ = false, joined_ = false;
};

}  // namespace ranvier::bind
