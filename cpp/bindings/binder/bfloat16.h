// bfloat16 as a dtype of NumPy's arrays, and kinds of dtypes by NumPy's numbers, it among them.
#pragma once
#include "bindings/binder/numpy_api.h"

namespace ranvier::bind {

int bfloat16_number();  // NumPy's number of the dtype

inline bool is_half_type(int type) { return type == NPY_HALF || type == bfloat16_number(); }
inline bool is_float_type(int type) { return PyTypeNum_ISFLOAT(type) || type == bfloat16_number(); }
inline bool is_number_type(int type) {  // complex numbers and bools, too
  return PyTypeNum_ISNUMBER(type) || PyTypeNum_ISBOOL(type) || type == bfloat16_number();
}

}  // namespace ranvier::bind
