#include "bindings/define.h"
#include "kernels/sort/sort.h"

namespace ranvier::bind {
namespace {

// The first `count` elements (all) along the axis in order, and their indices.
std::tuple<Output, Output> sort(Floats x, Axis axis, Truth descending, MaybeWhole count) {
  const int along = axis.of(x);
  Shape shape = x.shape();
  const int64_t n = shape[along], kept = count.value_or(n);
  if (kept < 0 || kept > n)
    fail_value(x.op(), "got count ", kept, " for an axis of length ", n, "; expected 0 to ", n);
  if (n >= int64_t{1} << 32) fail_value(x.op(), "got an axis of length ", n, "; expected less than 2**32");
  shape[along] = kept;
  Output values = Output::contiguous(x.dtype(), shape), indices = Output::contiguous(DType::int64, shape);
  run<Sort>(x.dtype(), descending.holds, along, x, values, indices);
  return {std::move(values), std::move(indices)};
}

}  // namespace

void register_sort(Module m) { def(m, "sort(x, axis, descending=False, count=None)", sort); }

}  // namespace ranvier::bind
