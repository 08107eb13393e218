// The loops over several arrays of one shape: they are shared out, and each run of elements is handed to the
// inner loop.
#pragma once
#include "base/parallel.h"
#include "kernels/elementwise/elementwise.h"

namespace ranvier::elementwise {

constexpr double kNsPerByte = 0.03;

struct Array {
  const char* data;
  int item;  // bytes of an element
  int64_t strides[kMaxDims];
};

template <class T>
Array array_of(const TensorView<T>& v) {
  Array a{reinterpret_cast<const char*>(v.data), sizeof(T), {}};
  for (int d = 0; d < v.ndim; ++d) a.strides[d] = v.strides[d];
  return a;
}
template <class T>
Array array_of(const TensorView<const T>& v, const T* scalar) {
  return v.data ? array_of(v) : Array{reinterpret_cast<const char*>(scalar), sizeof(T), {}};
}

// Runs f on arrays that are all stored in C order, or repeat one element: the loops of a small call take as
// long as the rest of it. False where there are others.
template <class T>
bool run_row(const Team& team, int operands, const Array* x, const TensorView<T>& y, ElementwiseFunction f,
             double ns, const void* attributes) {
  if (!is_contiguous(y)) return false;
  ElementRow row{};
  row.attributes = attributes;
  for (int k = 0; k < operands; ++k) {
    bool same = true, repeated = true;
    for (int d = 0; d < y.ndim; ++d) {
      if (y.shape[d] == 1) continue;
      same = same && x[k].strides[d] == y.strides[d];
      repeated = repeated && x[k].strides[d] == 0;
    }
    if (!same && !repeated) return false;
    row.step[k] = !repeated;
  }
  team.parallel_for(numel(y), ns, [&](int64_t begin, int64_t end) {
    ElementRow part = row;
    for (int k = 0; k < operands; ++k) part.x[k] = x[k].data + row.step[k] * begin * x[k].item;
    part.n = end - begin, part.y = y.data + begin;
    f(part);
  });
  return true;
}

// Any other arrays, of this shape.
void run_strided(const Team& team, int operands, const Array* x, const Array& y, int ndim,
                 const int64_t* shape, ElementwiseFunction f, double ns, const void* attributes);

// f over all elements; ns: of the arithmetic of one; attributes: of each row.
template <class T>
void run_loops(const Team& team, int operands, const Array* x, const TensorView<T>& y, ElementwiseFunction f,
               double ns, const void* attributes = nullptr) {
  ns += kNsPerByte * static_cast<double>(sizeof(T));
  for (int k = 0; k < operands; ++k) ns += kNsPerByte * x[k].item;
  ns *= static_cast<double>(numel(y));
  if (!run_row(team, operands, x, y, f, ns, attributes))
    run_strided(team, operands, x, array_of(y), y.ndim, y.shape, f, ns, attributes);
}

}  // namespace ranvier::elementwise
