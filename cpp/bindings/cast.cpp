// Arrays in another dtype.
#include "bindings/array_args.h"
#include "kernels/copy/copy.h"

namespace ranvier::bind {
namespace {

template <class From, class To>
void cast(const Input& x, const Output& y) {
  const Cast<From, To> call{x.dtype(), x.view<From>(), y.view<To>()};
  invoke_sized(call, numel(call.y));
}

template <class To>
void cast_to(const Input& x, const Output& y) {
  switch (x.dtype()) {
    case DType::uint8:
    case DType::boolean:
    case DType::int8:
      return cast<uint8_t, To>(x, y);
    case DType::int16:
    case DType::uint16:
      return cast<uint16_t, To>(x, y);
    case DType::int32:
    case DType::uint32:
    case DType::float32:
      return cast<uint32_t, To>(x, y);
    case DType::int64:
    case DType::float64:
      return cast<uint64_t, To>(x, y);
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
    default:
      return cast_to<bool>(x, y);
  }
}

}  // namespace ranvier::bind
