// Arguments in another memory order than they came in, for kernels that read only some.
#pragma once
#include "bindings/array_args.h"
#include "kernels/copy/copy.h"

namespace ranvier::bind {

// x copied into an array made for it.
inline Input copied(const Input& x, Output into) {
  with_float(x.dtype(), [&](auto tag) {
    using T = decltype(tag);
    invoke_released(Copy<T>{x.view<T>(), into.view<T>()});
  });
  return Input::floating("copy", "x", into.release());
}

// x where it is C-contiguous, else a copy that is.
inline Input contiguous(const Input& x) {
  const bool dense = with_float(x.dtype(), [&](auto tag) { return is_contiguous(x.view<decltype(tag)>()); });
  return dense ? x : copied(x, Output::contiguous(x.dtype(), x.ndim(), x.shape()));
}

}  // namespace ranvier::bind
