// Binds gather and scatter, which read and write elements at the places that an array of indices gives,
// x[key] for masks and arrays of indices, and a check of values. Indices are checked before or by the kernel.
#include "bindings/binder/define.h"
#include "bindings/binder/moved.h"
#include "bindings/binder/numpy_api.h"
#include "bindings/binder/shape.h"
#include "bindings/ops/index_range.h"
#include "kernels/index/index.h"

namespace ranvier::bind {
namespace {

// The index broadcast to the shape of the picked elements: dimensions of size 1 are repeated, except along
// the axis. An index of one dimension lies along the axis.
TensorView<const int64_t> repeated(const Input& index, const Shape& picked, int axis) {
  TensorView<const int64_t> v = index.view<int64_t>();
  if (v.ndim == 1 && picked.ndim > 1) {
    const int64_t step = v.strides[0];
    const int64_t count = v.shape[0];
    v.ndim = picked.ndim;
    for (int d = 0; d < v.ndim; ++d) {
      v.strides[d] = d == axis ? step : 0;
      v.shape[d] = d == axis ? count : 1;
    }
  }
  bool fits = v.ndim == picked.ndim;
  for (int d = 0; d < picked.ndim && fits; ++d) {
    fits = v.shape[d] == picked[d] || (d != axis && v.shape[d] == 1);
    if (v.shape[d] == 1) v.strides[d] = 0;
    v.shape[d] = picked[d];
  }
  if (!fits) index.fail("one that broadcasts to ", picked);
  return v;
}

// Fails unless `part` has as many dimensions as x, and the same sizes except along the axis.
void expect_fits(const Input& part, const Input& x, int axis) {
  Shape expected = x.shape();
  if (part.ndim() == x.ndim()) expected[axis] = part.shape(axis);
  if (!part.has_shape(expected))
    fail_value(x.op(), "got ", part.name(), " of shape ", part.shape(), " for x of shape ", x.shape(),
               "; expected equal sizes but for axis ", axis);
}

// The view of the part of v that an index of this shape reaches: all elements along the axis, and index[d] of
// them along the other dimensions.
template <class T>
TensorView<T> reached(TensorView<T> v, const Shape& index, int axis) {
  for (int d = 0; d < v.ndim; ++d)
    if (d != axis) v.shape[d] = index[d];
  return v;
}

// Fails unless the index has as many dimensions as x, and sizes that are at most x's, except along the axis.
void expect_within(const Input& index, const Input& x, int axis) {
  bool within = index.ndim() == x.ndim();
  for (int d = 0; d < x.ndim() && within; ++d) within = d == axis || index.shape(d) <= x.shape(d);
  if (!within)
    fail_value(x.op(), "got index of shape ", index.shape(), " for x of shape ", x.shape(),
               "; expected as many dimensions, none but ", axis, " larger than x's");
}

// y[.., j, ..] = x[.., index[.., j, ..], ..] along an axis. Negative indices count from the end; with from_0
// they are refused. The index is broadcast along dimensions of size 1. With `part` it is not: y then has the
// index's shape, and the rest of x is not used. An index of one dimension picks whole slices.
Output gather(Movable x, Integers index, Axis axis, Out out, Truth from_0, Truth part) {
  const int along = axis.of(x);
  if (part) expect_within(index, x, along);
  const bool slices = index.ndim() == 1;
  if (index.ndim() != x.ndim() && !slices)
    fail_value(x.op(), "got index of shape ", index.shape(), " for x of shape ", x.shape(),
               "; expected as many dimensions, or one");
  Shape shape = part ? index.shape() : x.shape();
  shape[along] = index.shape(slices ? 0 : along);
  const auto where = repeated(index, shape, along);
  Output y = out.shaped(x.dtype(), shape, x, index);
  int64_t outside = 0;
  with_movable(x, [&](auto tag) {
    using T = decltype(tag);
    Gather<T> call{along, from_0, reached(x.view<T>(), shape, along), where, y.view<T>(), {}};
    // The kernel itself may look for indices outside their range, if nobody sees what it has written by then.
    if (!t_recording && !out.given() && call.finds_outside()) {
      call.found.data = &outside;
      call.found.ndim = 0;
    } else
      require_places(index, x.shape(along), from_0);
    invoke_sized(call, shape.elements());
  });
  if (outside) require_places(index, x.shape(along), from_0);  // raises the error
  return y;
}

// Writes the `count` elements x[i] whose mask[i] is not 0 to y, in order. T: any type of the elements' size.
// Inlined into its caller, the loop would not have its pointers in registers: 1.5 times the time.
template <class T>
[[gnu::noinline]] void compress(const char* from, const char* mask, char* to, int64_t count) {
  const T* x = reinterpret_cast<const T*>(from);
  T* y = reinterpret_cast<T*>(to);
  // Every x[i] is written, and the next one overwrites it unless its mask is set: no branch can be predicted
  // wrongly.
  for (int64_t i = 0, k = 0; k < count; ++i) {
    y[k] = x[i];
    k += mask[i] != 0;
  }
}

// x[mask], for a mask that has the sizes of x's first dimensions; empty if it has others. x has any dtype
// except objects.
py::object masked(PyArrayObject* x, PyArrayObject* mask) {
  const int n = PyArray_NDIM(mask);
  const int ndim = PyArray_NDIM(x);
  if (n == 0 || n > ndim || !std::equal(PyArray_DIMS(mask), PyArray_DIMS(mask) + n, PyArray_DIMS(x)))
    return {};
  const auto contiguous = [](PyArrayObject* a) {
    py::object c = checked(reinterpret_cast<PyObject*>(PyArray_GETCONTIGUOUS(a)));
    return c;
  };
  const py::object from = contiguous(x);
  const py::object where = contiguous(mask);
  Shape shape{PyArray_CountNonzero(as_array(where))};
  int64_t row = 1;
  int64_t strides[kMaxDims];
  for (int d = n; d < ndim; ++d) {
    shape.append(PyArray_DIM(x, d));
    row *= PyArray_DIM(x, d);
  }
  for (int64_t d = shape.ndim - 1, step = 1; d >= 0; --d) {
    strides[d] = step;
    step *= std::max<int64_t>(shape[d], 1);
  }
  const int64_t item = PyArray_ITEMSIZE(x);
  const int64_t bytes = item * row;
  const int64_t count = shape[0];
  const int64_t size = PyArray_SIZE(as_array(where));
  py::object y = new_array(PyArray_TYPE(x), shape, strides);
  const char* data = PyArray_BYTES(as_array(from));
  const char* chosen = PyArray_BYTES(as_array(where));
  char* to = PyArray_BYTES(as_array(y));
  PyThreadState* state = size < 4096 ? nullptr : PyEval_SaveThread();
  if (bytes == 8)
    compress<int64_t>(data, chosen, to, count);
  else if (bytes == 4)
    compress<int32_t>(data, chosen, to, count);
  else if (bytes == 1)
    compress<int8_t>(data, chosen, to, count);
  else
    for (int64_t i = 0; i < size; ++i)
      if (chosen[i]) {
        std::memcpy(to, data + i * bytes, bytes);
        to += bytes;
      }
  if (state) PyEval_RestoreThread(state);
  return y;
}

// The error does not show the arrays: Python catches it and computes the call, and their text would take
// longer.
[[noreturn]] __attribute__((noinline)) void refuse_keys() {
  fail_type("getitem", "got other indices; expected arrays of one shape, inside");
}

// x[keys] for several arrays of integers of one shape, along x's first dimensions. x is contiguous, so the
// keys can be joined to one index of rows: the first dimensions of x count as one of `length` rows.
Output picked_by(Movable x, Arrays keys) {
  const int count = static_cast<int>(PySequence_Size(keys.value.ptr()));
  if (t_recording || count < 2 || count > x.ndim() || !x.is_contiguous()) x.fail("another key");
  Shape shape;
  TensorView<int64_t> where;
  Output rows = Output::contiguous(DType::int64, {0});
  int64_t length = 1;
  for (int k = 0; k < count; ++k) {
    const auto item = py::reinterpret_steal<py::object>(PySequence_GetItem(keys.value.ptr(), k));
    const Arg arg{x.op(), "keys", item};
    if (!PyArray_Check(item.ptr()) || PyArray_TYPE(as_array(item)) == NPY_BOOL ||
        PyArray_TYPE(as_array(item)) == NPY_UINT8)
      refuse_keys();
    const Input key = Input::integers(arg);
    if (k == 0) {
      shape = key.shape();
      rows = Output::contiguous(DType::int64, {shape.elements()});
      where = rows.view<int64_t>();
      std::fill_n(where.data, where.shape[0], 0);
    }
    const int64_t size = x.shape(k);
    if (shape.ndim == 0 || !key.has_shape(shape) || !key.is_contiguous()) refuse_keys();
    const int64_t* from = key.view<int64_t>().data;
    for (int64_t i = 0; i < where.shape[0]; ++i) {
      if (from[i] < -size || from[i] >= size) refuse_keys();
      where.data[i] = where.data[i] * size + (from[i] < 0 ? from[i] + size : from[i]);
    }
    length *= size;
  }
  Shape flat{where.shape[0]};
  for (int d = count; d < x.ndim(); ++d) {
    flat.append(x.shape(d));
    shape.append(x.shape(d));
  }
  if (shape.ndim > kMaxDims) refuse_keys();
  Output y = Output::contiguous(x.dtype(), shape);
  with_movable(x, [&](auto tag) {
    using T = decltype(tag);
    TensorView<const T> from = x.view<T>();
    TensorView<T> to = y.view<T>();
    from.ndim = to.ndim = flat.ndim;
    from.shape[0] = length;
    to.shape[0] = flat[0];
    from.strides[0] = to.strides[0] = flat[0] ? flat.elements() / flat[0] : 0;
    for (int d = 1; d < flat.ndim; ++d) {
      from.shape[d] = to.shape[d] = flat[d];
      from.strides[d] = x.view<T>().strides[count + d - 1];
      to.strides[d] = from.strides[d];
    }
    TensorView<const int64_t> index = as_const(where);
    index.ndim = flat.ndim;
    for (int d = 1; d < flat.ndim; ++d) {
      index.shape[d] = flat[d];
      index.strides[d] = 0;
    }
    invoke_sized(Gather<T>{0, true, from, index, to, {}}, flat.elements());
  });
  return y;
}

struct Picked : py::object {
  RANVIER_ANNOTATION("Any");
};

// x[key] for a mask (bool or uint8), a vector of integers, or a tuple of arrays of integers. For other keys
// it returns NotImplemented or raises, and Python computes the call. Masks in a recorded step are refused,
// since a replay could not know how many elements they pick.
Picked picked(Raw x, Raw key) {
  const auto is_plain = [](py::handle a) {
    return PyArray_Check(a.ptr()) && PyArray_ISBEHAVED_RO(as_array(a));
  };
  if (PyTuple_CheckExact(key.value.ptr()) && PyTuple_GET_SIZE(key.value.ptr()) > 1 &&
      PyArray_Check(PyTuple_GET_ITEM(key.value.ptr(), 0)))
    return {picked_by(x, key).release()};
  if (!is_plain(x.value) || !is_plain(key.value) || PyArray_ISOBJECT(as_array(x.value)))
    return {py::reinterpret_borrow<py::object>(Py_NotImplemented)};
  PyArrayObject* k = as_array(key.value);
  if (PyArray_TYPE(k) != NPY_BOOL && PyArray_TYPE(k) != NPY_UINT8) {
    if (PyArray_NDIM(k) != 1) return {py::reinterpret_borrow<py::object>(Py_NotImplemented)};
    const auto arg = [](const char* name, const Raw& a) { return Arg{"getitem", name, a.value}; };
    const py::object none = py::none();
    const py::object zero = py::int_(0);
    const py::object no = py::bool_(false);
    return {gather(arg("x", x), arg("index", key), Arg{"getitem", "axis", zero}, Arg{"getitem", "out", none},
                   Arg{"getitem", "from_0", no}, Arg{"getitem", "part", no})
                .release()};
  }
  py::object y = t_recording ? py::object() : masked(as_array(x.value), k);
  if (!y) fail_type("getitem", "got a mask for other sizes, or in a recorded step; expected another");
  return {std::move(y)};
}

// A scatter of `src` along an axis into y.
struct ScatterOf {
  const Input &src, &index;
  const TensorView<const int64_t>& where;
  const Output& y;
  int axis;
  ScatterOp op;
  bool from_0, is_given;  // is_given: y is the argument `out`
};
// base: the array with whose elements y begins; empty: zeros.
void run_scatter(const ScatterOf& of, const Input& base) {
  int64_t outside = 0;
  int64_t length = 0;
  with_movable(of.src, [&](auto tag) {
    using T = decltype(tag);
    Scatter<T> call{of.axis,          of.from_0, of.op,          base.view<T>(),
                    of.src.view<T>(), of.where,  of.y.view<T>(), {}};
    length = call.y.shape[of.axis];
    if (!t_recording && !of.is_given && call.finds_outside()) {
      call.found.data = &outside;
      call.found.ndim = 0;
    } else
      require_places(of.index, length, of.from_0);
    invoke_sized(call, numel(call.x) + numel(call.y));
  });
  if (outside) require_places(of.index, length, of.from_0);  // raises the error
}

// The gradient of gather: each element of dy is added at its index. length: the size of x along the axis.
Output scatter_add(Floats dy, Integers index, Axis axis, Whole length, Out out) {
  const int along = axis.of(dy);
  if (length < 0) length.fail("at least 0");
  const auto where = repeated(index, dy.shape(), along);
  Shape shape = dy.shape();
  shape[along] = length;
  Output dx = out.shaped(dy.dtype(), shape, dy, index);
  run_scatter({dy, index, where, dx, along, ScatterOp::sum, false, out.given()}, Input());
  return dx;
}

// A copy of x in which the elements at the index are replaced by those of src, or joined with them (op).
Output joined(const Input& x, const Input& index, const Input& src, const Axis& axis, ScatterOp op,
              const Out& out, bool from_0) {
  const int along = axis.of(x);
  expect_fits(src, x, along);
  const auto where = repeated(index, src.shape(), along);
  Output y = out.given() ? out.like_or_onto(x, x) : Output::contiguous(x.dtype(), x.shape());
  if (out.given()) y.apart_from(src).apart_from(index);
  run_scatter({src, index, where, y, along, op, from_0, out.given()}, x);
  return y;
}
Output scatter(Reals x, Integers index, Reals src, Axis axis, Truth add, Out out, Truth from_0) {
  x.expect_same_dtype(src);
  if (add && is_half(x)) x.fail("float32");
  return joined(x, index, src, axis, add ? ScatterOp::sum : ScatterOp::put, out, from_0);
}
Output scatter_reduce(Floats x, Integers index, Floats src, Axis axis, Name reduce, Out out) {
  constexpr ScatterOp ops[] = {ScatterOp::product, ScatterOp::max, ScatterOp::min};
  return joined(x, index, src, axis, ops[reduce.one_of({"prod", "amax", "amin"})], out, true);
}

// The gradients of x and src, for a scatter that replaces elements. index: of src's shape.
std::tuple<Output, Output> scatter_backward(Floats dy, Integers index, Axis axis) {
  const int along = axis.of(dy);
  expect_fits(index, dy, along);
  require_places(index, dy.shape(along));
  Output dx = Output::contiguous(dy.dtype(), dy.shape());
  Output dsrc = Output::contiguous(dy.dtype(), index.shape());
  run<ScatterBackward>(dy.dtype(), along, dy, index, dx, dsrc);
  return {std::move(dx), std::move(dsrc)};
}

// True if low <= x <= high for all elements (above: low < x). Python functions that raise an error depending
// on an array's values call this, so that each replay of a captured step repeats the check.
bool inside(const Numbers& x, const Real& low, const Real& high, Truth above) {
  if (x.dtype() == DType::float32 || x.dtype() == DType::float64)
    return floats_are_inside(x, low, high, above);
  const auto whole = [](double limit) { return static_cast<int64_t>(limit); };
  return are_inside(Input::integers(Arg{x.op(), x.name(), x.object()}), whole(low) + above, whole(high));
}

}  // namespace

void register_index(Module m) {
  def(m, "inside(x, low, high, above=False)", inside);
  def(m, "gather(x, index, axis, out=None, from_0=False, part=False)", gather);
  def(m, "_picked(x, key)", picked);
  def(m, "scatter_add(dy, index, axis, length, out=None)", scatter_add);
  def(m, "scatter(x, index, src, axis, add=False, out=None, from_0=False)", scatter);
  def(m, "scatter_reduce(x, index, src, axis, reduce, out=None)", scatter_reduce);
  def(m, "scatter_backward(dy, index, axis)", scatter_backward);
}

}  // namespace ranvier::bind
