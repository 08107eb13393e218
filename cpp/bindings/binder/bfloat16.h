// The dtype bfloat16 for NumPy arrays (bfloat16.cpp), and questions about NumPy's type numbers in which
// bfloat16 counts as a float.
#pragma once
#include "bindings/binder/numpy_api.h"

namespace ranvier::bind {

int bfloat16_number();  // the type number of bfloat16, which NumPy gives when the dtype is registered

inline bool is_half_type(int type) { return type == NPY_HALF || type == bfloat16_number(); }
inline bool is_float_type(int type) { return PyTypeNum_ISFLOAT(type) || type == bfloat16_number(); }
inline bool is_number_type(int type) {  // complex numbers and bools, too
  return PyTypeNum_ISNUMBER(type) || PyTypeNum_ISBOOL(type) || type == bfloat16_number();
}

}  // namespace ranvier::bind
