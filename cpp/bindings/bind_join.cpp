// Arrays joined, repeated, shifted, reversed, and parts of matrices: elements only move.
#include <cstring>
#include <vector>

#include "bindings/define.h"
#include "bindings/moved.h"

namespace ranvier::bind {
namespace {

constexpr int64_t kLongRow = 8192;  // bytes of a row of the result: arrays are copied one by one
constexpr int64_t kFewRows = 16;

// Rows of an array in C order, or channels-last, whose elements are next to each other from dimension d on.
int64_t rows_before(const Shape& shape, int d, bool channels_last) {
  constexpr int kChannelsLast[] = {0, 2, 3, 1};
  int64_t rows = 1;
  for (int k = 0; k < shape.ndim; ++k) {
    const int e = channels_last ? kChannelsLast[k] : k;
    if (e == d) break;
    rows *= shape[e];
  }
  return rows;
}

template <class E>
TensorView<E> matrix(E* data, int64_t rows, int64_t columns, int64_t step) {
  TensorView<E> view;
  view.data = data, view.ndim = 2;
  view.shape[0] = rows, view.shape[1] = columns, view.strides[0] = step, view.strides[1] = 1;
  return view;
}

// Arrays of the memory order of y as matrices, side by side in y.
template <class T>
void join_rows(const std::vector<Input>& inputs, int64_t rows, TensorView<T> y) {
  const int64_t width = numel(y) / rows;
  JoinRows<T> call{};
  int parts = 0;
  int64_t columns = 0, from = 0;
  for (size_t i = 0; i < inputs.size(); ++i) {
    const int64_t n = inputs[i].elements() / rows;
    if (n) call.x[parts++] = matrix(inputs[i].view<T>().data, rows, n, n);
    columns += n;
    if (!columns || (parts < kJoined && i + 1 < inputs.size())) continue;
    call.y = matrix(y.data + from, rows, columns, width);
    invoke_released(call);
    from += columns;
    call = {}, parts = 0, columns = 0;
  }
}

// A view of x with a new dimension of length 1.
template <class T>
TensorView<const T> widened(const Input& x, int d) {
  const TensorView<const T> own = x.view<T>();
  TensorView<const T> v;
  v.data = own.data, v.ndim = own.ndim + 1;
  for (int e = 0; e < v.ndim; ++e) {
    v.shape[e] = e == d ? 1 : own.shape[e - (e > d)];
    v.strides[e] = e == d ? 1 : own.strides[e - (e > d)];
  }
  return v;
}

// Whether arrays in C order, one after another, are copied in less time than kernels are called.
bool is_short(int64_t rows, int64_t bytes) {
  constexpr int64_t kShort = 1 << 18;
  return rows == 1 && bytes <= kShort && !t_recording;
}
template <class T>
void append(const std::vector<Input>& inputs, T* y) {
  for (const Input& x : inputs) {
    std::memcpy(y, x.view<T>().data, size_t(x.elements()) * sizeof(T));
    y += x.elements();
  }
}

std::vector<Input> joined_inputs(const Arrays& arrays) {
  if (PySequence_Size(arrays.value.ptr()) == 0)
    fail_value(arrays.op, "got no tensors; expected at least one");
  std::vector<Input> inputs;
  inputs.reserve(PySequence_Size(arrays.value.ptr()));
  for (py::handle h : arrays.value) inputs.push_back(moved({arrays.op, "a tensor", h}));
  return inputs;
}

int joined_dim(const char* op, int64_t dim, int ndim) {
  if (dim < -ndim || dim >= ndim)
    fail_axis(op,
              {"got dim ", dim, " for tensors of ", ndim, " dimensions; expected ", -ndim, " to ", ndim - 1});
  return static_cast<int>(dim < 0 ? dim + ndim : dim);
}

// The arrays one after another; channels-last if all are, and not all in C order too (by dimensions of length
// 1).
Output concatenate(Arrays arrays, Whole dim) {
  const std::vector<Input> inputs = joined_inputs(arrays);
  const Input& first = inputs[0];
  const int ndim = first.ndim(), d = joined_dim(arrays.op, dim, ndim);
  Shape shape = first.shape();
  shape[d] = 0;
  bool channels_last = true, all_contiguous = true;
  for (const Input& x : inputs) {
    channels_last = channels_last && is_channels_last(x);
    all_contiguous = all_contiguous && x.is_contiguous();
    first.expect_same_dtype(x);
    bool fits = x.ndim() == ndim;
    for (int e = 0; e < ndim && fits; ++e) fits = e == d || x.shape(e) == shape[e];
    if (!fits)
      fail_value(arrays.op, "got shapes ", first.shape(), " and ", x.shape(),
                 "; expected shapes equal but for dimension ", d);
    shape[d] += x.shape(d);
  }
  const bool is_last = channels_last && !all_contiguous;
  Output y = is_last ? Output::channels_last(first.dtype(), shape) : Output::contiguous(first.dtype(), shape);
  const int64_t rows = is_last || all_contiguous ? rows_before(shape, d, is_last) : 0;
  with_size(first, [&](auto tag) {
    using T = decltype(tag);
    TensorView<T> part = y.view<T>();
    const int64_t bytes = numel(part) * int64_t(sizeof(T));
    if constexpr (sizeof(T) > 1)
      if (bytes && rows >= kFewRows && bytes / rows <= kLongRow) return join_rows<T>(inputs, rows, part);
    if (is_short(rows, bytes)) return append(inputs, part.data);
    for (const Input& x : inputs) {
      part.shape[d] = x.shape(d);
      invoke_sized(Copy<T>{x, part}, x.elements());
      part.data += part.shape[d] * part.strides[d];
    }
  });
  return y;
}

// Arrays of one shape, along a new dimension.
Output stack(Arrays arrays, Whole dim) {
  const std::vector<Input> inputs = joined_inputs(arrays);
  const Input& first = inputs[0];
  if (first.ndim() == kMaxDims) first.fail("fewer dimensions");
  const int d = joined_dim(arrays.op, dim, first.ndim() + 1);
  bool all_contiguous = true;
  for (const Input& x : inputs) {
    first.expect_same_dtype(x);
    if (!x.has_shape(first.shape()))
      fail_value(arrays.op, "got shapes ", first.shape(), " and ", x.shape(), "; expected equal shapes");
    all_contiguous = all_contiguous && x.is_contiguous();
  }
  Shape shape;
  for (int e = 0; e <= first.ndim(); ++e)
    shape.append(e == d ? static_cast<int64_t>(inputs.size()) : first.shape(e - (e > d)));
  Output y = Output::contiguous(first.dtype(), shape);
  const int64_t rows = all_contiguous ? rows_before(shape, d, false) : 0;
  with_size(first, [&](auto tag) {
    using T = decltype(tag);
    TensorView<T> part = y.view<T>();
    const int64_t bytes = numel(part) * int64_t(sizeof(T));
    if constexpr (sizeof(T) > 1)
      if (bytes && rows >= kFewRows && bytes / rows <= kLongRow) return join_rows<T>(inputs, rows, part);
    if (is_short(rows, bytes)) return append(inputs, part.data);
    part.shape[d] = 1;
    for (const Input& x : inputs) {
      invoke_sized(Copy<T>{widened<T>(x, d), part}, x.elements());
      part.data += part.strides[d];
    }
  });
  return y;
}

// x shifted cyclically along an axis; None: of all elements in C order.
Output roll(Raw array, Whole step, MaybeWhole axis) {
  const Input x = moved(array);
  if (!axis.given() && !x.is_contiguous()) x.fail("memory in C order");
  const int d = axis.given() ? Axis(axis).of(x) : 0;
  Output y = Output::contiguous(x.dtype(), x.shape());
  const int64_t n = axis.given() ? x.shape(d) : x.elements(), shift = n ? (step % n + n) % n : 0;
  with_size(x, [&](auto tag) {
    using T = decltype(tag);
    TensorView<const T> from = x.view<T>();
    TensorView<T> to = y;
    if (!axis.given()) from.ndim = to.ndim = 1, from.strides[0] = to.strides[0] = 1;
    from.shape[d] = to.shape[d] = n - shift;
    to.data += shift * to.strides[d];
    invoke_sized(Copy<T>{from, to}, x.elements());
    if (shift == 0) return;
    from.data += (n - shift) * from.strides[d], to.data -= shift * to.strides[d];
    from.shape[d] = to.shape[d] = shift;
    invoke_sized(Copy<T>{from, to}, x.elements());
  });
  return y;
}

// Each slice of x along an axis, repeated in place.
Output repeat_each(Raw array, Whole times, Axis axis) {
  const Input x = moved(array);
  const int d = axis.of(x);
  if (times < 0 || x.ndim() == kMaxDims) x.fail("fewer dimensions, and a number >= 0");
  Shape shape = x.shape();
  if (__builtin_mul_overflow(shape[d], times.number, &shape[d])) times.fail("a smaller number");
  Output y = Output::contiguous(x.dtype(), shape);
  with_size(x, [&](auto tag) {
    using T = decltype(tag);
    Copy<T> call{widened<T>(x, d + 1), {}};
    const TensorView<T> whole = y.view<T>();
    call.x.shape[d + 1] = times, call.x.strides[d + 1] = 0;
    call.y.data = whole.data, call.y.ndim = call.x.ndim;
    for (int e = 0; e < call.y.ndim; ++e) {
      call.y.shape[e] = call.x.shape[e];
      call.y.strides[e] = whole.strides[e - (e > d)];
    }
    call.y.strides[d] *= times;
    if (numel(whole)) invoke_sized(call, numel(whole));
  });
  return y;
}

// The places (row, column) of a triangle of a matrix, by rows: (2, n).
Output triangle_indices(Whole rows, Whole columns, Whole diagonal, Truth upper) {
  constexpr int64_t kMost = int64_t{1} << 31;
  if (rows < 0 || columns < 0 || rows >= kMost || columns >= kMost) rows.fail("sizes from 0 to 2**31 - 1");
  const int64_t edge = std::clamp<int64_t>(diagonal, -rows - 1, columns + 1);
  const auto first = [&](int64_t i) { return upper ? std::clamp<int64_t>(i + edge, 0, columns) : 0; };
  const auto last = [&](int64_t i) {
    return upper ? columns : std::clamp<int64_t>(i + edge + 1, 0, columns);
  };
  int64_t n = 0;
  for (int64_t i = 0; i < rows; ++i) n += last(i) - first(i);
  Output y = Output::contiguous(DType::int64, {2, n});
  int64_t* to = y.view<int64_t>().data;
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = first(i); j < last(i); ++j, ++to) to[0] = i, to[n] = j;
  return y;
}

// x reversed along axes.
Output flip(Raw array, Sizes axes) {
  const Input x = moved(array);
  bool reversed[kMaxDims] = {};
  for (int i = 0; i < axes.count(); ++i) {
    const int64_t d = axes[i] < 0 ? axes[i] + x.ndim() : axes[i];
    if (d < 0 || d >= x.ndim() || reversed[d]) axes.fail("each dimension once");
    reversed[d] = true;
  }
  Output y = Output::like(x, x.dtype());
  with_size(x, [&](auto tag) {
    using T = decltype(tag);
    TensorView<const T> from = x.view<T>();
    for (int d = 0; d < from.ndim && x.elements(); ++d)
      if (reversed[d]) {
        from.data += (from.shape[d] - 1) * from.strides[d];
        from.strides[d] = -from.strides[d];
      }
    invoke_sized(Copy<T>{from, y}, x.elements());
  });
  return y;
}

// x repeated along each dimension; times may have more at the front.
Output repeat_all(Raw array, Sizes times) {
  const Input x = moved(array);
  const int ndim = times.count(), lead = ndim - x.ndim();
  if (lead < 0) times.fail("a number for each dimension");
  Shape shape;  // of y; ndim is at most kMaxDims
  if (ndim > kMaxDims) times.fail("at most ", kMaxDims, " dimensions");
  for (int d = 0; d < ndim; ++d) {
    const int64_t n = d < lead ? 1 : x.shape(d - lead);
    if (times[d] < 0 || __builtin_mul_overflow(n, times[d], &shape.sizes[d]))
      times.fail("smaller numbers >= 0");
  }
  shape.ndim = ndim;
  Output y = Output::contiguous(x.dtype(), shape);
  with_size(x, [&](auto tag) {
    using T = decltype(tag);
    const TensorView<const T> own = x.view<T>();
    const TensorView<T> whole = y.view<T>();
    Copy<T> call{};
    call.x.data = own.data, call.y.data = whole.data;
    const auto add = [&](int64_t n, int64_t step_x, int64_t step_y) {
      if (n == 1) return;
      if (call.x.ndim == kMaxDims) times.fail("fewer dimensions");
      call.x.shape[call.x.ndim] = call.y.shape[call.x.ndim] = n;
      call.x.strides[call.x.ndim] = step_x, call.y.strides[call.x.ndim] = step_y;
      call.y.ndim = ++call.x.ndim;
    };
    for (int d = 0; d < ndim; ++d) {
      const int64_t n = d < lead ? 1 : own.shape[d - lead];
      add(times[d], 0, n * whole.strides[d]);
      add(n, d < lead ? 0 : own.strides[d - lead], whole.strides[d]);
    }
    if (numel(whole)) invoke_sized(call, numel(whole));
  });
  return y;
}

// Of each matrix of x the elements on one side of a diagonal.
Output triangle(Raw matrices, Whole diagonal, Truth upper) {
  const Input x = moved(matrices);
  if (x.ndim() < 2) x.fail("at least 2 dimensions");
  Output y = Output::contiguous(x.dtype(), x.shape());
  const int64_t rows = x.shape(x.ndim() - 2), columns = x.shape(x.ndim() - 1);
  const int64_t edge = std::clamp<int64_t>(diagonal, -rows - 1, columns + 1);  // others give the same
  const auto run = [&](auto tag) {
    using T = decltype(tag);
    invoke_sized(Triangle<T>{upper, edge, x.view<T>(), y.view<T>()}, x.elements());
  };
  with_size(x, run);
  return y;
}

}  // namespace

void register_join(Module m) {
  def(m, "concatenate(arrays, axis=0)", concatenate, "cat");
  def(m, "stack(arrays, axis=0)", stack);
  def(m, "roll(x, step, axis)", roll);
  def(m, "repeat(x, times)", repeat_all);
  def(m, "repeat_each(x, times, axis)", repeat_each);
  def(m, "_triangle_indices(rows, columns, diagonal, upper)", triangle_indices);
  def(m, "flip(x, axes)", flip);
  def(m, "triangle(x, diagonal, upper)", triangle);
}

}  // namespace ranvier::bind
