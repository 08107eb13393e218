// Makes the views of NumPy arrays that shape ops give (array_views.h). ops/bind_shape.cpp reads the
// arguments of these ops from Python, and has their Tensors.
#include "bindings/tensors/array_views.h"

#include <algorithm>

#include "bindings/binder/array_args.h"
#include "bindings/binder/errors.h"
#include "bindings/binder/held.h"
#include "bindings/binder/params.h"
#include "bindings/tensors/tensors.h"
#include "kernels/copy/copy.h"

namespace ranvier::bind {
namespace {

PyObject* name(const char* text) { return PyUnicode_InternFromString(text); }
struct Saved {  // names of attributes that forward sets, and of a method
  PyObject *shape = name("shape"), *channels_last = name("channels_last");
  PyObject *strided = name("_strided"),  // of Reshape, for arrays that are not in C order
      *is_view = name("is_view");
};
const Saved& saved() {
  static const Saved names;
  return names;
}

py::object attribute(PyObject* owner, PyObject* name) { return checked(PyObject_GetAttr(owner, name)); }
void set_attribute(PyObject* owner, PyObject* name, const py::object& value) {
  if (PyObject_SetAttr(owner, name, value.ptr()) < 0) throw py::error_already_set();
}

struct Dims : PyArray_Dims {  // NumPy's form of a sequence of whole numbers
  explicit Dims(const py::object& sizes) : PyArray_Dims{nullptr, 0} {
    if (!PyArray_IntpConverter(sizes.ptr(), this)) throw py::error_already_set();
  }
  Dims(const Dims&) = delete;
  ~Dims() { PyDimMem_FREE(ptr); }
};

PyObject* array_in(PyObject* const* arguments) {
  if (!PyArray_Check(arguments[0])) fail_type("forward", "got no array; expected one");
  return arguments[0];
}

// True if x has four dimensions (n, c, h, w), in memory in the order n, h, w, c without gaps, and is not in C
// order as well (as where dimensions have the size 1).
bool is_channels_last(PyArrayObject* x) {
  if (PyArray_NDIM(x) != 4 || PyArray_IS_C_CONTIGUOUS(x)) return false;
  npy_intp step = PyArray_ITEMSIZE(x);
  for (int d : {1, 3, 2, 0}) {
    if (PyArray_DIM(x, d) != 1 && PyArray_STRIDE(x, d) != step) return false;
    step *= PyArray_DIM(x, d);
  }
  return true;
}

// A copy of x in C order.
py::object in_c_order(PyObject* x) {
  const Floats from({"copy", "x", x});
  Output y = Output::contiguous(from.dtype(), from.shape());
  run<Copy>(from.dtype(), from, y);
  return y.release();
}

// The integer in a Tensor without dimensions. Empty for other objects, and while a step is recorded: Python
// then reads the Tensor, and tells the recording.
py::object integer_in(PyObject* tensor) {
  if (t_recording || !Py_IS_TYPE(tensor, tensor_class())) return {};
  const Held array = plain_array_of(tensor);
  if (!array) return {};
  PyArrayObject* const x = as_array(array);
  // A Tensor of uint8 is a mask as an index.
  if (PyArray_NDIM(x) || !PyArray_ISINTEGER(x) || PyArray_TYPE(x) == NPY_UINT8) return {};
  return checked(PyArray_GETITEM(x, PyArray_BYTES(x)));
}

// The view of the elements [.., i, .., i + offset, ..] along the dimensions a and b, which are replaced by a
// new last one.
py::object diagonal_of(PyArrayObject* x, int64_t offset, int a, int b) {
  npy_intp shape[NPY_MAXDIMS], strides[NPY_MAXDIMS];
  int ndim = 0;
  for (int d = 0; d < PyArray_NDIM(x); ++d)
    if (d != a && d != b) {
      shape[ndim] = PyArray_DIM(x, d);
      strides[ndim++] = PyArray_STRIDE(x, d);
    }
  const int64_t down = std::max<int64_t>(-offset, 0);  // where it begins along a and along b
  const int64_t right = std::max<int64_t>(offset, 0);
  const int64_t count = std::min<int64_t>(PyArray_DIM(x, a) - down, PyArray_DIM(x, b) - right);
  char* first = PyArray_BYTES(x);  // the diagonal's first element
  if (count > 0) first += down * PyArray_STRIDE(x, a) + right * PyArray_STRIDE(x, b);
  shape[ndim] = std::max<int64_t>(count, 0);
  strides[ndim] = PyArray_STRIDE(x, a) + PyArray_STRIDE(x, b);
  return strided(x, ndim + 1, shape, strides, first);
}

}  // namespace

const Settings& settings() {
  static const Settings names{name("target"), name("dims"), name("key"), name("place")};
  return names;
}

py::object shape_of(PyArrayObject* x) {
  return checked(PyArray_IntTupleFromIntp(PyArray_NDIM(x), PyArray_DIMS(x)));
}

bool has_to_copy(PyArrayObject* x, const npy_intp* target, int count) {
  if (PyArray_IS_C_CONTIGUOUS(x) || PyArray_SIZE(x) == 0) return false;
  npy_intp known = 1;
  for (int d = 0; d < count; ++d)
    if (target[d] >= 0) known *= target[d];
  if (known <= 0) return false;  // it does not fit
  const auto size = [&](int d) { return target[d] < 0 ? PyArray_SIZE(x) / known : target[d]; };
  // Both shapes from their ends: dimensions of x that lie one after the other in memory are a block, which
  // has to have as many elements as some dimensions of the target.
  int to = count - 1;
  npy_intp of_block = 1;
  npy_intp of_target = 1;
  for (int d = PyArray_NDIM(x) - 1; d >= 0; --d) {
    of_block *= PyArray_DIM(x, d);
    int before = d - 1;
    while (before >= 0 && PyArray_DIM(x, before) == 1) --before;
    const bool goes_on =
        before >= 0 &&
        (PyArray_DIM(x, d) == 1 || PyArray_STRIDE(x, before) == PyArray_STRIDE(x, d) * PyArray_DIM(x, d));
    if (goes_on) continue;
    while (to >= 0 && (of_target < of_block || size(to) == 1)) {
      of_target *= size(to);
      --to;
    }
    if (of_target != of_block) return true;
    of_block = of_target = 1;
  }
  return false;
}

py::object strided(PyArrayObject* x, int ndim, const npy_intp* shape, const npy_intp* strides, char* data) {
  PyArray_Descr* dtype = PyArray_DESCR(x);
  Py_INCREF(dtype);
  py::object y = checked(PyArray_NewFromDescr(&PyArray_Type, dtype, ndim, shape, strides, data,
                                              PyArray_FLAGS(x) & NPY_ARRAY_WRITEABLE, nullptr));
  Py_INCREF(x);
  if (PyArray_SetBaseObject(as_array(y), reinterpret_cast<PyObject*>(x)) < 0) throw py::error_already_set();
  return y;
}

py::object basic_key(PyObject* key) {
  const bool several = PyTuple_Check(key);
  const Py_ssize_t count = several ? PyTuple_GET_SIZE(key) : 1;
  py::object basic = py::reinterpret_borrow<py::object>(key);
  for (Py_ssize_t i = 0; i < count; ++i) {
    PyObject* const part = several ? PyTuple_GET_ITEM(key, i) : key;
    if (PyLong_CheckExact(part) || PySlice_Check(part) || part == Py_None || part == Py_Ellipsis ||
        PyArray_IsScalar(part, Integer))
      continue;
    py::object number = integer_in(part);
    if (!number) return {};
    if (!several) return number;
    if (basic.ptr() == key) basic = checked(PySequence_List(key));
    if (PyList_SetItem(basic.ptr(), i, number.release().ptr()) < 0) throw py::error_already_set();
  }
  if (basic.ptr() == key) return basic;
  return checked(PySequence_Tuple(basic.ptr()));
}

py::object places_of(PyObject* x, PyObject* key) {
  // NumPy returns a single element as a scalar, which is a copy. With an Ellipsis in the key it returns a
  // view.
  const bool several = PyTuple_Check(key);
  const Py_ssize_t count = several ? PyTuple_GET_SIZE(key) : 1;
  if (count != PyArray_NDIM(as_array(x))) {
    py::object y = checked(PyObject_GetItem(x, key));
    if (PyArray_Check(y.ptr())) return y;
  }
  const py::object view = checked(PyTuple_New(count + 1));
  for (Py_ssize_t i = 0; i < count; ++i) {
    PyObject* const part = several ? PyTuple_GET_ITEM(key, i) : key;
    if (part == Py_Ellipsis) return checked(PyObject_GetItem(x, key));
    PyTuple_SET_ITEM(view.ptr(), i, Py_NewRef(part));
  }
  PyTuple_SET_ITEM(view.ptr(), count, Py_NewRef(Py_Ellipsis));
  return checked(PyObject_GetItem(x, view.ptr()));
}

py::object part_of(PyArrayObject* x, int dim, int64_t begin, int64_t count) {
  const int ndim = PyArray_NDIM(x);
  npy_intp shape[NPY_MAXDIMS], strides[NPY_MAXDIMS];
  std::copy_n(PyArray_DIMS(x), ndim, shape);
  std::copy_n(PyArray_STRIDES(x), ndim, strides);
  char* const first = PyArray_BYTES(x) + begin * PyArray_STRIDE(x, dim);
  if (count >= 0) {
    shape[dim] = count;
    return strided(x, ndim, shape, strides, first);
  }
  for (int d = dim; d + 1 < ndim; ++d) {
    shape[d] = shape[d + 1];
    strides[d] = strides[d + 1];
  }
  return strided(x, ndim - 1, shape, strides, first);
}

// Reshape. NumPy makes a view if it can, else a copy, of which backward must know (is_view, channels_last).
py::object reshaped(PyObject* self, PyObject* const* arguments, Py_ssize_t) {
  PyObject* const x = array_in(arguments);
  set_attribute(self, saved().shape, shape_of(as_array(x)));
  const bool contiguous = PyArray_IS_C_CONTIGUOUS(as_array(x));
  // A copy is made by a kernel if x is a channels-last image, or while a step is recorded.
  const int type = PyArray_TYPE(as_array(x));
  const bool images = !contiguous && (type == NPY_FLOAT || type == NPY_DOUBLE) &&
                      PyArray_ISNOTSWAPPED(as_array(x)) && is_channels_last(as_array(x));
  Dims target(attribute(self, settings().target));
  if (images && has_to_copy(as_array(x), target.ptr, target.len)) {
    set_attribute(self, saved().channels_last, py::bool_(true));
    set_attribute(self, saved().is_view, py::bool_(false));
    return checked(PyArray_Newshape(as_array(in_c_order(x)), &target, NPY_CORDER));
  }
  if (images || (!contiguous && t_recording))
    return checked(PyObject_CallMethodOneArg(self, saved().strided, x));
  py::object y = checked(PyArray_Newshape(as_array(x), &target, NPY_CORDER));
  if (!contiguous && PyArray_DATA(as_array(y)) != PyArray_DATA(as_array(x)))
    set_attribute(self, saved().is_view, py::bool_(false));
  return y;
}

py::object permuted(PyObject* self, PyObject* const* arguments, Py_ssize_t) {
  PyObject* const x = array_in(arguments);
  Dims dims(attribute(self, settings().dims));
  return checked(PyArray_Transpose(as_array(x), &dims));
}

// Expand: broadcasts x to the target, with the stride 0 along repeated dimensions.
py::object expanded(PyObject* self, PyObject* const* arguments, Py_ssize_t) {
  PyObject* const array = array_in(arguments);
  PyArrayObject* const x = as_array(array);
  set_attribute(self, saved().shape, shape_of(x));
  const Dims target(attribute(self, settings().target));
  const int lead = target.len - PyArray_NDIM(x);
  npy_intp strides[NPY_MAXDIMS];
  bool fits = lead >= 0 && target.len <= NPY_MAXDIMS;
  for (int d = 0; fits && d < target.len; ++d) {
    const npy_intp size = target.ptr[d];
    npy_intp own = 1;  // x's size along this dimension of the target; `lead` dimensions are not in x
    strides[d] = 0;
    if (d >= lead) {
      own = PyArray_DIM(x, d - lead);
      const bool is_repeated = own == 1 && size != 1;
      if (!is_repeated) strides[d] = PyArray_STRIDE(x, d - lead);
    }
    fits = size >= 0 && (own == 1 || own == size);
  }
  if (!fits) fail_value("expand", "got a shape that x does not broadcast to; expected one it broadcasts to");
  return strided(x, target.len, target.ptr, strides, PyArray_BYTES(x));
}

py::object picked(PyObject* self, PyObject* const* arguments, Py_ssize_t) {
  PyObject* const array = array_in(arguments);
  PyArrayObject* const x = as_array(array);
  set_attribute(self, saved().shape, shape_of(x));
  if (is_channels_last(x)) set_attribute(self, saved().channels_last, py::bool_(true));
  return places_of(array, attribute(self, settings().key).ptr());
}

// Unfold: windows of `size` elements along a dimension, `step` apart. The elements of a window are a new last
// dimension.
py::object in_windows(PyObject* self, PyObject* const* arguments, Py_ssize_t) {
  PyArrayObject* const x = as_array(array_in(arguments));
  set_attribute(self, saved().shape, shape_of(x));
  const Dims place(attribute(self, settings().place));
  const int ndim = PyArray_NDIM(x);
  const int dim = static_cast<int>(place.ptr[0]);
  const npy_intp size = place.ptr[1];
  const npy_intp step = place.ptr[2];
  npy_intp shape[NPY_MAXDIMS + 1], strides[NPY_MAXDIMS + 1];
  std::copy_n(PyArray_DIMS(x), ndim, shape);
  std::copy_n(PyArray_STRIDES(x), ndim, strides);
  shape[ndim] = size;
  strides[ndim] = strides[dim];
  shape[dim] = (shape[dim] - size) / step + 1;  // how many windows fit
  strides[dim] *= step;
  return strided(x, ndim + 1, shape, strides, PyArray_BYTES(x));
}

py::object on_diagonal(PyObject* self, PyObject* const* arguments, Py_ssize_t) {
  PyObject* const x = array_in(arguments);
  set_attribute(self, saved().shape, shape_of(as_array(x)));
  const Dims place(attribute(self, settings().place));
  const npy_intp offset = place.ptr[0];
  const int dim1 = static_cast<int>(place.ptr[1]);
  const int dim2 = static_cast<int>(place.ptr[2]);
  return diagonal_of(as_array(x), offset, dim1, dim2);
}

}  // namespace ranvier::bind
