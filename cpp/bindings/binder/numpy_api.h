// Includes NumPy's C API. A source file that uses it includes this header first. The table of NumPy's
// functions is one variable of the module, ranvier_array_api, which new_array.cpp defines and fills.
#pragma once
#define NPY_NO_DEPRECATED_API NPY_1_22_API_VERSION
#define NPY_TARGET_VERSION NPY_1_22_API_VERSION
#define NO_IMPORT_ARRAY
#define PY_ARRAY_UNIQUE_SYMBOL ranvier_array_api
#include <pybind11/pytypes.h>

#include <numpy/arrayobject.h>

#include <utility>

namespace ranvier::bind {

inline PyArrayObject* as_array(pybind11::handle h) { return reinterpret_cast<PyArrayObject*>(h.ptr()); }

// The addresses [first, last) of the bytes from the array's lowest element to its highest; first = last if it
// has no elements.
inline std::pair<char*, char*> reach_of(PyArrayObject* a) {
  char* first = PyArray_BYTES(a);
  char* last = first + (PyArray_SIZE(a) ? PyArray_ITEMSIZE(a) : 0);
  for (int d = 0; d < PyArray_NDIM(a) && last > first; ++d) {
    const npy_intp reach = (PyArray_DIM(a, d) - 1) * PyArray_STRIDE(a, d);
    if (reach < 0) {
      first += reach;
    } else {
      last += reach;
    }
  }
  return {first, last};
}

}  // namespace ranvier::bind
