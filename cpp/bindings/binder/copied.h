// Arguments in another memory order than they came in, for kernels that read only some.
#pragma once
#include "bindings/binder/moved.h"

namespace ranvier::bind {

// x copied into an array made for it.
inline Input copied(const Input& x, Output into) {
  const py::object copy = moved_to(x, std::move(into)).release();
  return Input::real({x.op(), x.name(), copy});
}

// x where it is C-contiguous, else a copy that is.
inline Input contiguous(const Input& x) {
  const bool dense = !x || is_contiguous(x.view<char>());
  return dense ? x : copied(x, Output::contiguous(x.dtype(), x.shape()));
}

}  // namespace ranvier::bind
