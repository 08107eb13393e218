// Applies an inner loop to several arrays of the same shape: divides the elements among threads, and calls
// the loop on runs of elements (ElementRow in base/element_row.h: each operand contiguous, or one repeated
// element). Arrays of 16-bit floats are converted to blocks of float before. Called by elementwise.cpp and
// kernels/activation.
#pragma once
#include "base/parallel.h"
#include "kernels/elementwise/elementwise.h"

namespace ranvier::elementwise {

// A view without its type and shape.
struct Array {
  const char* data;
  int item;  // bytes of an element
  Stored stored;
  int64_t strides[kMaxDims];  // in elements
};

template <class T>
Array array_of(const TensorView<T>& v) {
  Array a{reinterpret_cast<const char*>(v.data), item_of(v), v.stored, {}};
  for (int d = 0; d < v.ndim; ++d) a.strides[d] = v.strides[d];
  return a;
}
// The view, or if it has no data the number `scalar`, repeated.
template <class T>
Array array_of(const TensorView<const T>& v, const T* scalar) {
  return v.data ? array_of(v) : Array{reinterpret_cast<const char*>(scalar), sizeof(T), Stored::whole, {}};
}

// Applies f to all elements. ns: nanoseconds of arithmetic for one element; attributes:
// ElementRow::attributes, which f may need.
void run_loops(const Team& team, int operands, const Array* x, const Array& y, int ndim, const int64_t* shape,
               ElementwiseFunction f, double ns, const void* attributes);

template <class T>
void run_loops(const Team& team, int operands, const Array* x, const TensorView<T>& y, ElementwiseFunction f,
               double ns, const void* attributes = nullptr) {
  run_loops(team, operands, x, array_of(y), y.ndim, y.shape, f, ns, attributes);
}

// The same for arrays that are not all in C order. Here ns is the time of all elements.
void run_strided(const Team& team, int operands, const Array* x, const Array& y, int ndim,
                 const int64_t* shape, ElementwiseFunction f, double ns, const void* attributes);

}  // namespace ranvier::elementwise
