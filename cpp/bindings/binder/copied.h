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

}  // namespace ranvier::bind
