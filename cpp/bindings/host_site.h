// HostSite: what a HostCall of the core calls in Python, and the arrays that it gets.
#pragma once
#include <pybind11/pytypes.h>

#include <vector>

#include "base/tensor_view.h"
#include "program/host_call.h"

namespace ranvier::bind {

namespace py = pybind11;

// An array on memory that is given later.
struct ArrayLayout {
  int64_t offset;  // of its first element in that memory
  py::object dtype;
  int ndim;
  int64_t shape[kMaxDims], strides[kMaxDims];  // strides in bytes

  ArrayLayout(py::handle array, const char* memory);
  // base: what keeps the memory, or null.
  py::object at(char* memory, py::handle base = {}, bool writeable = true) const;
};

struct HostSite {
  py::object callable;  // gives a tuple of arrays, or None where an exception was raised
  std::vector<ArrayLayout> arrays;

  // Adds an array to the call.
  void add(HostCall& call, py::handle array);
  static bool run(const HostCall& call);
};

}  // namespace ranvier::bind
