// Copies an argument to another memory order, for kernels that do not read every memory order.
#pragma once
#include "bindings/binder/moved.h"

namespace ranvier::bind {

// Copies x into the new array `into` of the same shape and dtype, and returns the copy as an Input with x's
// name. x must be an array of floats.
inline Input copied(const Input& x, Output into) {
  const py::object copy = moved_to(x, std::move(into)).release();
  return Input::real({x.op(), x.name(), copy});
}

// x itself if it is C-contiguous (or empty), else a C-contiguous copy.
inline Input contiguous(const Input& x) {
  const bool dense = !x || is_contiguous(x.view<char>());
  return dense ? x : copied(x, Output::contiguous(x.dtype(), x.shape()));
}

// x itself if the elements of its last dimension lie one after another, or if it repeats elements (stride 0);
// else a C-contiguous copy. For kernels that read other strides slowly.
inline Input with_dense_rows(const Input& x) {
  if (!x) return x;
  const auto v = x.view<char>();
  if (v.ndim == 0 || v.shape[v.ndim - 1] <= 1 || v.strides[v.ndim - 1] == 1) return x;
  for (int d = 0; d < v.ndim; ++d)
    if (v.strides[d] == 0 && v.shape[d] > 1) return x;
  return contiguous(x);
}

}  // namespace ranvier::bind
