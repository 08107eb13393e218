// Binds copies, casts, and new arrays filled with one number.
#include "bindings/binder/array_args.h"
#include "bindings/binder/define.h"
#include "bindings/binder/moved.h"
#include "bindings/binder/numpy_api.h"
#include "bindings/binder/shape.h"

namespace ranvier::bind {

Output moved_to(const Input& x, Output y) {
  with_size(x, [&](auto tag) {
    using T = decltype(tag);
    invoke_sized(Copy<T>{x.view<T>(), y.view<T>()}, x.elements());
  });
  return y;
}

void invoke_fill(const Output& y, DType dtype, const Arg& value) {
  with_number(value.op, dtype, [&](auto tag) {
    using T = decltype(tag);
    const bool whole = dtype == DType::int64 || dtype == DType::int32;
    const T number = whole ? static_cast<T>(Whole(value)) : static_cast<T>(Real(value));
    const Fill<T> call{number, y.view<T>()};
    invoke_sized(call, numel(call.y));
  });
}

namespace {

// A copy of x: in C order, channels-last, or in the memory order of `out`.
Output copy(const Reals& x, Truth channels_last, Out out) {
  if (channels_last && x.ndim() != 4) x.fail("4 dimensions for channels-last");
  Output y = channels_last && !out.given() ? Output::channels_last(x.dtype(), x.shape())
                                           : out.shaped(x.dtype(), x.shape(), x);
  with_movable(x, [&](auto tag) { invoke_released(Copy<decltype(tag)>{x, y}); });
  return y;
}

// A copy of x in the memory order of `like`, which has the same shape.
Output copy_like(const Reals& x, const Numbers& like) {
  x.expect_same_shape(like);
  Output y = Output::like(like, x.dtype());
  with_movable(x, [&](auto tag) { invoke_sized(Copy<decltype(tag)>{x, y}, x.elements()); });
  return y;
}

// A new array in C order, all elements set to a number; value None: uninitialised.
Output full(const ShapeArg& shape, DTypeArg dtype, Raw value) {
  with_number(value.op, dtype.dtype, [](auto) {});  // fails for dtypes that cannot be filled
  Output y = Output::contiguous(dtype.dtype, shape.shape());
  if (value.given()) invoke_fill(y, dtype.dtype, value);
  return y;
}

// The same with the shape and memory order of x.
Output full_like(const Numbers& x, DTypeArg dtype, Raw value) {
  with_number(value.op, dtype.dtype, [](auto) {});
  Output y = Output::like(x, dtype.dtype);
  if (value.given()) invoke_fill(y, dtype.dtype, value);
  return y;
}

// x in another dtype, in x's memory order.
Output cast(const Numbers& x, DTypeArg dtype, Out out) {
  with_number(x.op(), dtype.dtype, [](auto) {});
  Output y = out.given() ? out.shaped(dtype.dtype, x.shape(), x) : Output::like(x, dtype.dtype);
  invoke_cast(x, y, dtype.dtype);
  return y;
}

}  // namespace

void register_copy(Module m) {
  def(m, "copy(x, channels_last=False, out=None)", copy);
  def(m, "copy_like(x, like)", copy_like);
  def(m, "full(shape, dtype, value)", full);
  def(m, "full_like(x, dtype, value)", full_like);
  def(m, "cast(x, dtype, out=None)", cast);
}

namespace {

// Casts x to y. From is an unsigned integer of the size of x's elements: the kernel gets x's dtype as a
// field, so that fewer kernels are compiled.
template <class From, class To>
void cast_from(const Input& x, const Output& y) {
  const Cast<From, To> call{x.dtype(), x.view<From>(), y.view<To>()};
  invoke_sized(call, numel(call.y));
}

template <class To>
void cast_to(const Input& x, const Output& y) {
  switch (x.dtype()) {
    case DType::uint8:
    case DType::boolean:
    case DType::int8:
      return cast_from<uint8_t, To>(x, y);
    case DType::int16:
    case DType::uint16:
    case DType::float16:
    case DType::bfloat16:
      return cast_from<uint16_t, To>(x, y);
    case DType::int32:
    case DType::uint32:
    case DType::float32:
      return cast_from<uint32_t, To>(x, y);
    case DType::int64:
    case DType::float64:
      return cast_from<uint64_t, To>(x, y);
  }
}

}  // namespace

void invoke_cast(const Input& x, const Output& y, DType to) {
  switch (to) {
    case DType::float32:
      return cast_to<float>(x, y);
    case DType::float64:
      return cast_to<double>(x, y);
    case DType::int64:
      return cast_to<int64_t>(x, y);
    case DType::int32:
      return cast_to<int32_t>(x, y);
    case DType::float16:
      return cast_to<Float16>(x, y);
    case DType::bfloat16:
      return cast_to<BFloat16>(x, y);
    default:
      return cast_to<bool>(x, y);
  }
}

}  // namespace ranvier::bind
