// The dtype of an op on several operands, by PyTorch's rules. The highest rank among them (bool, integer,
// float) decides. Within that rank, tensors with dimensions count first; if there are none, tensors without
// dimensions; if there are none of these either, Python's numbers. tape/untaped.cpp asks for each
// element-wise call, Python by _result_dtype().
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
  void add_array(PyArrayObject* array) {
    const Group group = PyArray_NDIM(array) > 0 ? kWithDimensions : kWithoutDimensions;
    add(PyArray_TYPE(array), group);
  }
  void add_dtype(int type) { add(type, kWithDimensions); }
  void add_number(int rank);  // adds a Python number of this rank: 0, 1 or 2
  int type() const;           // -1: there was no operand

 private:
  enum Group { kWithDimensions, kWithoutDimensions, kNumbers };
  void add(int type, Group group);
  int best_[3] = {-1, -1, -1};  // for each Group the type so far; -1: it has no operand
};

}  // namespace ranvier::bind
