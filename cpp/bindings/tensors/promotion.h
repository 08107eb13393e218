// The dtype of an op on several operands, by PyTorch's rules. The highest kind among them (bool, integer,
// float) decides. Within that kind, tensors with dimensions count first; if there are none, tensors without
// dimensions; if there are none of these either, Python's numbers.
#pragma once
#include "bindings/binder/define.h"
#include "bindings/binder/numpy_api.h"

namespace ranvier::bind {

// A `type` is NumPy's type number of a dtype. A rank is 0 for bool, 1 for integers, 2 for floats, kOther for
// others.
constexpr int kOther = 3;
int rank_of_dtype(int type);

int default_dtype();  // the type of Python's floats (rv.set_default_dtype)

// Add all operands, then ask for type().
class Promotion {
 public:
  void add_array(PyArrayObject* array) { add(PyArray_TYPE(array), PyArray_NDIM(array) ? 0 : 1); }
  void add_dtype(int type) { add(type, 0); }
  void add_number(int rank);  // adds a Python number of this rank
  int type() const;           // -1: there was no operand

 private:
  void add(int type, int group);
  // The type of each group so far, or -1. Group 0: tensors with dimensions; 1: tensors without; 2: numbers.
  int best_[3] = {-1, -1, -1};
};

}  // namespace ranvier::bind
