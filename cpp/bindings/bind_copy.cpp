#include <cstdlib>
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

// What only moves elements takes other dtypes as floats of their size. A recording knows floats alone here.
Input moved(const Arg& arg) { return t_recording ? Input::floating(arg) : Input::number(arg); }

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
    default:
      fail_type(x.op(), "got small integers; expected elements of 4 or 8 bytes");
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
    if (bytes && rows >= kFewRows && bytes / rows <= kLongRow) return join_rows<T>(inputs, rows, part);
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
    if (bytes && rows >= kFewRows && bytes / rows <= kLongRow) return join_rows<T>(inputs, rows, part);
    part.shape[d] = 1;
    for (const Input& x : inputs) {
      invoke_sized(Copy<T>{widened<T>(x, d), part}, x.elements());
      part.data += part.strides[d];
    }
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
  switch (x.dtype()) {
    case DType::boolean:
    case DType::uint8:
    case DType::int8:
      return run(uint8_t{}), y;
    default:
      return with_size(x, run), y;
  }
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
    case DType::int32:
      return f(int32_t{});
    case DType::boolean:
      return f(bool{});
    default:
      fail_type(op, "got another dtype; expected float32, float64, int64, int32 or bool");
  }
}

void invoke_fill(const Output& y, DType dtype, const Raw& value) {
  with_number(value.op, dtype, [&](auto tag) {
    using T = decltype(tag);
    const bool whole = dtype == DType::int64 || dtype == DType::int32;
    const T number = whole ? static_cast<T>(Whole(value)) : static_cast<T>(Real(value));
    const Fill<T> call{number, y.view<T>()};
    invoke_sized(call, numel(call.y));
  });
}

// A new array of one number, in C order; None: of any numbers.
Output full(const ShapeArg& shape, DTypeArg dtype, Raw value) {
  with_number(value.op, dtype.dtype, [](auto) {});
  Output y = Output::contiguous(dtype.dtype, shape.shape());
  if (value.given()) invoke_fill(y, dtype.dtype, value);
  return y;
}

// The same in the shape and memory order of x.
Output full_like(const Numbers& x, DTypeArg dtype, Raw value) {
  with_number(value.op, dtype.dtype, [](auto) {});
  Output y = Output::like(x, dtype.dtype);
  if (value.given()) invoke_fill(y, dtype.dtype, value);
  return y;
}

// Every element of y becomes the number, in place.
void fill(InPlace y, Raw value) {
  const Input x = Input::number(y);
  invoke_fill(y.of(x.dtype(), x.shape()), x.dtype(), value);
}

// Whether a view has a shape that broadcasts to another.
bool broadcasts(const Input& x, const Shape& shape) {
  const int lead = shape.ndim - x.ndim();
  bool fits = lead >= 0;
  for (int d = 0; fits && d < x.ndim(); ++d) fits = x.shape(d) == 1 || x.shape(d) == shape[lead + d];
  return fits;
}

// out takes a number, or the values of an array, cast or broadcast.
void write(Raw value, InPlace out) {
  const Input before = Input::number(out);
  Output y = out.of(before.dtype(), before.shape());
  if (PyFloat_Check(value.value.ptr()) || PyLong_Check(value.value.ptr())) {
    const int64_t most = before.dtype() == DType::int64   ? INT64_MAX
                         : before.dtype() == DType::int32 ? INT32_MAX
                                                          : 0;
    if (most && std::abs(std::max(Whole(value).number, -INT64_MAX)) >= most) value.fail("a smaller number");
    return invoke_fill(y, before.dtype(), value);
  }
  const Input x = Input::number(value);
  y.apart_from(x);
  if (x.dtype() != before.dtype() || x.dtype() == DType::boolean ||
      (t_recording && x.dtype() > DType::float64)) {
    with_number(out.op, before.dtype(), [](auto) {});
    x.expect_same_shape(before);
    return invoke_cast(x, y, before.dtype());
  }
  if (!broadcasts(x, before.shape())) x.fail("a shape that broadcasts");
  with_size(x, [&](auto tag) {
    Copy<decltype(tag)> call{};
    repeat(x.view<decltype(tag)>(), before.shape(), call.x);
    call.y = y;
    invoke_sized(call, before.elements());
  });
}

// out[key] takes the value, for a key of whole numbers, slices and None.
void put(Raw key, Raw value, InPlace out) {
  PyObject* given = key.value.ptr();
  const bool several = PyTuple_CheckExact(given);
  const Py_ssize_t count = several ? PyTuple_GET_SIZE(given) : 1;
  const py::tuple places(count + 1);  // Ellipsis at the end: of one element it is a view, too
  for (Py_ssize_t i = 0; i < count; ++i) {
    PyObject* part = several ? PyTuple_GET_ITEM(given, i) : given;
    if (!PyLong_CheckExact(part) && !PySlice_Check(part) && part != Py_None)
      key.wrong_type("whole numbers, slices and None");
    PyTuple_SET_ITEM(places.ptr(), i, Py_NewRef(part));
  }
  PyTuple_SET_ITEM(places.ptr(), count, Py_NewRef(Py_Ellipsis));
  const auto view = py::reinterpret_steal<py::object>(PyObject_GetItem(out.value.ptr(), places.ptr()));
  if (!view) throw py::error_already_set();
  write(value, InPlace({out.op, out.name, view}));
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
  def(m, "write(value, out)", write);
  def(m, "_put(key, value, out)", put);
  def(m, "triangle(x, diagonal, upper)", triangle);
  def(m, "stack(arrays, axis=0)", stack);
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
    case DType::int32:
      return cast_to<int32_t>(x, y);
    default:
      return cast_to<bool>(x, y);
  }
}

}  // namespace ranvier::bind
