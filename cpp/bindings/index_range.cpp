#include "bindings/index_range.h"

#include <algorithm>

#include "base/loop_nest.h"

namespace ranvier::bind {
namespace {

IndexRange range_of(Indexed indexed, const Input& index, int64_t low, int64_t high) {
  IndexRange call{};
  call.op = index.op(), call.indexed = indexed;
  call.low = low, call.high = high;
  call.index = index.view<int64_t>();
  for (int d = 0; d < call.index.ndim; ++d)  // an index that is repeated is read once
    if (call.index.strides[d] == 0 && call.index.shape[d] > 1) call.index.shape[d] = 1;
  return call;
}

template <class F>  // f(index) in the order of memory
void for_each_index(const TensorView<const int64_t>& v, const F& f) {
  const LoopNest<1> nest(v.ndim, v.shape, {v.strides});
  const int64_t step = nest.strides[0][nest.ndim - 1];
  nest.walk(0, nest.size, [&](int64_t n, const int64_t* offsets) {
    for (int64_t i = 0; i < n; ++i) f(v.data[offsets[0] + i * step]);
  });
}

}  // namespace

IndexRange class_range(const Input& x, const Input& index, int64_t ignored) {
  IndexRange call = range_of(Indexed::classes, index, 0, x.shape(1) - 1);
  call.has_also = true, call.also = ignored;
  call.ndim = x.ndim();
  for (int d = 0; d < x.ndim(); ++d) call.shape[d] = x.shape(d);
  return call;
}

IndexRange row_range(const Input& index, int64_t rows) {
  return range_of(Indexed::embeddings, index, 0, rows - 1);
}

IndexRange axis_range(const Input& index, int64_t length, bool from_0) {
  return range_of(Indexed::axis, index, from_0 ? 0 : -length, length - 1);
}

void require_range(IndexRange call) {
  int64_t here = 0;
  call.found.data = t_recording ? t_recording->cell() : &here, call.found.ndim = 0;
  invoke_sized(call, numel(call.index));
  if (*call.found.data) fail_range(call);
}

void fail_range(const IndexRange& call) {
  const int64_t size = call.high + 1;
  int64_t first = 0, least = 0, most = -1;
  bool seen = false;
  for_each_index(call.index, [&](int64_t k) {
    least = std::min(least, k), most = std::max(most, k);
    if (seen || (k >= call.low && k <= call.high) || (call.has_also && k == call.also)) return;
    first = k, seen = true;
  });
  if (call.indexed == Indexed::classes)
    fail_value(call.op, "got class index ", first, " for x of shape ", Shape(call.ndim, call.shape),
               "; expected 0 <= index < ", size);
  const bool of_axis = call.indexed == Indexed::axis;
  if (of_axis) first = most < size ? least : most;
  const std::string range = std::to_string(call.low) + " to " + std::to_string(call.high);
  throw py::index_error("[" + std::string(call.op) + "] got index " + std::to_string(first) +
                        (of_axis ? " for an axis of length " : " for ") + std::to_string(size) +
                        (of_axis ? "" : " embeddings") + "; expected " + (call.high < 0 ? "none" : range));
}

}  // namespace ranvier::bind
