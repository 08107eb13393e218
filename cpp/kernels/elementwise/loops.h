// The loops over several arrays of one shape: they are shared out, and each run of elements is handed to the
// inner loop. Arrays of 16-bit floats come to it as blocks of float.
#pragma once
#include "base/parallel.h"
#include "kernels/elementwise/elementwise.h"

namespace ranvier::elementwise {

struct Array {
  const char* data;
  int item;  // bytes of an element
  Stored stored;
  int64_t strides[kMaxDims];
};

template <class T>
Array array_of(const TensorView<T>& v) {
  Array a{reinterpret_cast<const char*>(v.data), item_of(v), v.stored, {}};
  for (int d = 0; d < v.ndim; ++d) a.strides[d] = v.strides[d];
  return a;
}
template <class T>
Array array_of(const TensorView<const T>& v, const T* scalar) {
  return v.data ? array_of(v) : Array{reinterpret_cast<const char*>(scalar), sizeof(T), Stored::whole, {}};
}

// f over all elements of this shape; ns: of the arithmetic of one; attributes: of each row.
void run_loops(const Team& team, int operands, const Array* x, const Array& y, int ndim, const int64_t* shape,
               ElementwiseFunction f, double ns, const void* attributes);

template <class T>
void run_loops(const Team& team, int operands, const Array* x, const TensorView<T>& y, ElementwiseFunction f,
               double ns, const void* attributes = nullptr) {
  run_loops(team, operands, x, array_of(y), y.ndim, y.shape, f, ns, attributes);
}

// Arrays that are not all in C order; ns: of all elements.
void run_strided(const Team& team, int operands, const Array* x, const Array& y, int ndim,
                 const int64_t* shape, ElementwiseFunction f, double ns, const void* attributes);

}  // namespace ranvier::elementwise
