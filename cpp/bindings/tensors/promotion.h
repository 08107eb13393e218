// The dtype of an op on several operands, by PyTorch's rules: the highest kind (bool, integers, floats)
// decides, and within it tensors with dimensions before those without, and these before Python's numbers.
#pragma once
#include "bindings/binder/define.h"
#include "bindings/binder/numpy_api.h"

namespace ranvier::bind {

constexpr int kOther = 3;     // the rank of what is no bool (0), integer (1) or float (2)
int rank_of_dtype(int type);  // by NumPy's number of the dtype

int default_dtype();  // NumPy's number of the dtype that Python's floats get

class Promotion {
 public:
  void add_array(PyArrayObject* array) { add(PyArray_TYPE(array), PyArray_NDIM(array) ? 0 : 1); }
  void add_dtype(int type) { add(type, 0); }
  void add_number(int rank);  // adds a Python number
  int type() const;           // -1: there was no operand

 private:
  void add(int type, int group);
  int best_[3] = {-1, -1, -1};  // the best dtype of tensors with dimensions, of others, of numbers
};

}  // namespace ranvier::bind
