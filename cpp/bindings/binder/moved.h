// Chooses the C++ element type with which a kernel that only moves, fills or casts elements is instantiated.
// A kernel that moves elements does not read their values, so it needs one type for each size only.
#pragma once
#include "bindings/binder/array_args.h"
#include "kernels/copy/copy.h"

namespace ranvier::bind {

inline bool is_half(const Input& x) { return stored_as(x.dtype()) != Stored::whole; }

// Reads the argument of a kernel that only moves elements: an array of any dtype. While a step is recorded it
// must have a floating dtype.
inline Input moved(const Arg& arg) {
  if (t_recording) return Input::real(arg);
  return Input::number(arg);
}

// f(T{}) for a type of the size of the dtype's elements.
template <class F>
void with_size(const Input& x, const F& f) {
  switch (x.dtype()) {
    case DType::float32:
    case DType::int32:
    case DType::uint32:
      return f(float{});
    case DType::float64:
    case DType::int64:
      return f(double{});
    case DType::boolean:
    case DType::uint8:
    case DType::int8:
      return f(uint8_t{});
    default:  // both halves, and integers of 16 bits
      return f(BFloat16{});
  }
}

// The same for the arrays that Movable or Reals (params.h) read, which have no elements of one byte: f is not
// instantiated for uint8_t.
template <class F>
void with_movable(const Input& x, const F& f) {
  with_size(x, [&](auto tag) {
    if constexpr (sizeof tag > 1) f(tag);
  });
}

// f(T{}) for the element type of a dtype that the kernels `fill` and `cast` can write; TypeError for others.
template <class F>
void with_number(const char* op, DType dtype, const F& f) {
  switch (dtype) {
    case DType::float32:
      return f(float{});
    case DType::float64:
      return f(double{});
    case DType::int64:
      return f(int64_t{});
    case DType::int32:
      return f(int32_t{});
    case DType::boolean:
      return f(bool{});
    case DType::float16:
      return f(Float16{});
    case DType::bfloat16:
      return f(BFloat16{});
    default:
      fail_type(op, "got another dtype; expected floats, int64, int32 or bool");
  }
}

// Both are defined in ops/bind_copy.cpp.
Output moved_to(const Input& x, Output y);                         // copies x's elements to y, of one shape
void invoke_fill(const Output& y, DType dtype, const Arg& value);  // sets all elements of y to a number

}  // namespace ranvier::bind
