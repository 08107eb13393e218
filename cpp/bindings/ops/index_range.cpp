// Checks that indices and values are in their range (index_range.h).
#include "bindings/ops/index_range.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/loop_nest.h"
#include "kernels/index/range.h"

namespace ranvier::bind {
namespace {

// Makes the view read repeated elements (stride 0) once.
template <class T>
void drop_repeats(TensorView<const T>& v) {
  for (int d = 0; d < v.ndim; ++d)
    if (v.strides[d] == 0 && v.shape[d] > 1) v.shape[d] = 1;
}

IndexRange range_of(const Input& index, int64_t low, int64_t high) {
  IndexRange call{};
  call.low = low;
  call.high = high;
  call.index = index.view<int64_t>();
  drop_repeats(call.index);
  return call;
}

// Runs a check; true if all elements are inside. The kernel writes whether it found one outside to
// call.found: in a recording to a cell of the program, by which a replay sees it.
template <class Call>
bool holds(Call call, int64_t elements) {
  int64_t here = 0;
  call.found.data = t_recording ? t_recording->cell() : &here;
  call.found.ndim = 0;
  invoke_sized(call, elements);
  return !*call.found.data;
}

bool holds(const IndexRange& call) { return holds(call, numel(call.index)); }

template <class F>  // f(element) for all elements, in the order of memory
void for_each_index(const TensorView<const int64_t>& v, const F& f) {
  const LoopNest<1> nest(v.ndim, v.shape, {v.strides});
  const int64_t step = nest.strides[0][nest.ndim - 1];
  nest.walk(0, nest.size, [&](int64_t n, const int64_t* offsets) {
    for (int64_t i = 0; i < n; ++i) f(v.data[offsets[0] + i * step]);
  });
}

// For the text of an error, after a check has failed.
struct Outside {
  int64_t first = 0;  // the first index outside its range
  int64_t least = 0;  // the least of all indices and 0
  int64_t most = -1;  // the greatest of all indices and -1
};

Outside outside(const IndexRange& call) {
  Outside found;
  bool seen = false;
  for_each_index(call.index, [&](int64_t k) {
    found.least = std::min(found.least, k);
    found.most = std::max(found.most, k);
    if (seen || (k >= call.low && k <= call.high) || (call.has_also && k == call.also)) return;
    found.first = k;
    seen = true;
  });
  return found;
}

[[noreturn]] void fail_index(const char* op, int64_t index, const std::string& of, const IndexRange& call) {
  std::string range = std::to_string(call.low) + " to " + std::to_string(call.high);
  if (call.high < 0) range = "none";
  fail(Fault::index, op, {"got index ", index, " for ", of, "; expected ", range});
}

}  // namespace

void require_classes(const Input& x, const Input& index, int64_t ignored) {
  IndexRange call = range_of(index, 0, x.shape(1) - 1);
  call.has_also = true;
  call.also = ignored;
  if (holds(call)) return;
  fail(Fault::index, x.op(),
       {"got class index ", outside(call).first, " for x of shape ", x.shape(), "; expected 0 <= index < ",
        x.shape(1)});
}

void require_rows(const Input& index, int64_t rows) {
  const IndexRange call = range_of(index, 0, rows - 1);
  if (!holds(call)) fail_index(index.op(), outside(call).first, std::to_string(rows) + " embeddings", call);
}

void require_places(const Input& index, int64_t length, bool from_0) {
  const int64_t low = from_0 ? 0 : -length;
  const IndexRange call = range_of(index, low, length - 1);
  if (holds(call)) return;
  const Outside found = outside(call);
  const int64_t wrong = found.most < length ? found.least : found.most;
  fail_index(index.op(), wrong, "an axis of length " + std::to_string(length), call);
}

bool are_inside(const Input& integers, int64_t low, int64_t high) {
  return holds(range_of(integers, low, high));
}

bool are_zero(const Output& integers) {
  IndexRange call{};
  call.index = as_const(integers.view<int64_t>());
  return holds(call);
}

bool floats_are_inside(const Input& x, double low, double high, bool above) {
  return with_float(x.dtype(), [&](auto tag) {
    using T = decltype(tag);
    using Limits = std::numeric_limits<T>;
    T least = static_cast<T>(low);
    if (above) least = std::nextafter(least, Limits::infinity());
    ValueRange<T> call{least, static_cast<T>(high), x.view<T>(), {}};
    drop_repeats(call.x);
    return holds(call, numel(call.x));
  });
}

}  // namespace ranvier::bind
