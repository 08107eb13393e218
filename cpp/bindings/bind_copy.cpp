#include <vector>

#include "bindings/array_args.h"
#include "bindings/define.h"
#include "kernels/copy/copy.h"

namespace ranvier::bind {

namespace {

// x in C order, or channels-last, or in the order of out.
Output copy(Floats x, Truth channels_last, Out out) {
  if (channels_last && x.ndim() != 4) x.fail("4 dimensions for channels-last");
  Output y = channels_last && !out.given() ? Output::channels_last(x.dtype(), x.shape())
                                           : out.shaped(x.dtype(), x.shape(), x);
  run<Copy>(x.dtype(), x, y);
  return y;
}

// x in the memory order of an array of its shape.
Output copy_like(const Floats& x, const Numbers& like) {
  x.expect_same_shape(like);
  Output y = Output::like(like, x.dtype());
  run_sized<Copy>(x.elements(), x.dtype(), x, y);
  return y;
}

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

// The arrays one after another; channels-last if all are, and not all in C order too (by dimensions of length
// 1).
Output concatenate(Arrays arrays, Whole dim) {
  const char* op = arrays.op;
  if (PySequence_Size(arrays.value.ptr()) == 0) fail_value(op, "got no tensors; expected at least one");
  std::vector<Input> inputs;
  inputs.reserve(PySequence_Size(arrays.value.ptr()));
  bool channels_last = true, all_contiguous = true;
  for (py::handle h : arrays.value) {
    inputs.push_back(Input::floating({op, "a tensor", h}));
    channels_last = channels_last && is_channels_last(inputs.back());
    all_contiguous = all_contiguous && inputs.back().is_contiguous();
  }
  const Input& first = inputs[0];
  const int ndim = first.ndim();
  if (dim < -ndim || dim >= ndim)
    fail_axis(op, {"got dim ", dim.number, " for tensors of ", ndim, " dimensions; expected ", -ndim, " to ",
                   ndim - 1});
  const int d = static_cast<int>(dim < 0 ? dim + ndim : dim);
  Shape shape = first.shape();
  shape[d] = 0;
  for (const Input& x : inputs) {
    first.expect_same_dtype(x);
    bool fits = x.ndim() == ndim;
    for (int e = 0; e < ndim && fits; ++e) fits = e == d || x.shape(e) == shape[e];
    if (!fits)
      fail_value(op, "got shapes ", first.shape(), " and ", x.shape(),
                 "; expected shapes equal but for dimension ", d);
    shape[d] += x.shape(d);
  }
  const bool is_last = channels_last && !all_contiguous;
  Output y = is_last ? Output::channels_last(first.dtype(), shape) : Output::contiguous(first.dtype(), shape);
  const int64_t rows = is_last || all_contiguous ? rows_before(shape, d, is_last) : 0;
  with_float(first.dtype(), [&](auto tag) {
    using T = decltype(tag);
    TensorView<T> part = y.view<T>();
    const int64_t bytes = numel(part) * int64_t(sizeof(T));
    if (bytes && rows >= kFewRows && bytes / rows <= kLongRow) return join_rows<T>(inputs, rows, part);
    for (const Input& x : inputs) {
      part.shape[d] = x.shape(d);
      invoke_sized(Copy<T>{x, part}, x.elements());
      part.data += part.shape[d] * part.strides[d];
    }
  });
  return y;
}

// f(T{}) for the element types that are filled and cast to.
template <class F>
void with_number(const char* op, DType dtype, const F& f) {
  switch (dtype) {
    case DType::float32:
      return f(float{});
    case DType::float64:
      return f(double{});
    case DType::int64:
      return f(int64_t{});
    case DType::boolean:
      return f(bool{});
    default:
      fail_type(op, "got another dtype; expected float32, float64, int64 or bool");
  }
}

void invoke_fill(const Output& y, DType dtype, const Raw& value) {
  with_number(value.op, dtype, [&](auto tag) {
    using T = decltype(tag);
    const T number = dtype == DType::int64 ? static_cast<T>(Whole(value)) : static_cast<T>(Real(value));
    const Fill<T> call{number, y.view<T>()};
    invoke_sized(call, numel(call.y));
  });
}

// A new array of one number, in C order.
Output full(const ShapeArg& shape, DTypeArg dtype, Raw value) {
  Output y = Output::contiguous(dtype.dtype, shape.shape());
  invoke_fill(y, dtype.dtype, value);
  return y;
}

// Every element of y becomes the number, in place.
void fill(InPlace y, Raw value) {
  const Input x = Input::number(y);
  invoke_fill(y.of(x.dtype(), x.shape()), x.dtype(), value);
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
  def(m, "fill(y, value)", fill);
  def(m, "cast(x, dtype, out=None)", cast);
  def(m, "concatenate(arrays, axis=0)", concatenate, "cat");
}

namespace {

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
    default:
      return cast_to<bool>(x, y);
  }
}

}  // namespace ranvier::bind
