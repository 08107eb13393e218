#define NO_IMPORT_ARRAY
#define NPY_NO_DEPRECATED_API NPY_1_22_API_VERSION
#define NPY_TARGET_VERSION NPY_1_22_API_VERSION
#define PY_ARRAY_UNIQUE_SYMBOL ranvier_array_api
#include "bindings/array_args.h"

#include <numpy/arrayobject.h>

#include <algorithm>

#include "bindings/new_array.h"

namespace ranvier::bind {
namespace {

static_assert(sizeof(npy_intp) == sizeof(int64_t));

// More than any memory has, but not than a view that repeats one element. Sizes that follow from a few such
// products, as those of workspaces, stay within int64.
constexpr int64_t kMostElements = int64_t{1} << 40;

PyArrayObject* as_array(py::handle h) { return reinterpret_cast<PyArrayObject*>(h.ptr()); }

int type_number(DType dtype) {
  switch (dtype) {
    case DType::float32:
      return NPY_FLOAT32;
    case DType::float64:
      return NPY_FLOAT64;
    case DType::int64:
      return NPY_INT64;
    case DType::uint8:
      return NPY_UINT8;
    case DType::boolean:
      return NPY_BOOL;
    case DType::int8:
      return NPY_INT8;
    case DType::int16:
      return NPY_INT16;
    case DType::uint16:
      return NPY_UINT16;
    case DType::int32:
      return NPY_INT32;
    case DType::uint32:
      return NPY_UINT32;
  }
  return -1;
}

constexpr DType kDTypes[] = {DType::float32, DType::float64, DType::int64,  DType::uint8, DType::boolean,
                             DType::int8,    DType::int16,   DType::uint16, DType::int32, DType::uint32};

// NumPy has two numbers for the integers of one size, where C has two types of it.
const DType* dtype_of_number(int type) {
  if (type == NPY_LONGLONG) type = NPY_INT64;
  for (const DType& dtype : kDTypes)
    if (type_number(dtype) == type) return &dtype;
  return nullptr;
}

const char* dtype_name(DType dtype) {
  switch (dtype) {
    case DType::float32:
      return "float32";
    case DType::float64:
      return "float64";
    case DType::int64:
      return "int64";
    case DType::uint8:
      return "uint8";
    case DType::boolean:
      return "bool";
    case DType::int8:
      return "int8";
    case DType::int16:
      return "int16";
    case DType::uint16:
      return "uint16";
    case DType::int32:
      return "int32";
    case DType::uint32:
      return "uint32";
  }
  return "";
}

std::string dtype_text(py::handle array) {
  return py::str(py::handle(reinterpret_cast<PyObject*>(PyArray_DESCR(as_array(array)))));
}

void check_array(const char* op, const char* name, py::handle a) {
  if (!PyArray_Check(a.ptr()))
    fail_type(op, std::string("got ") + name + " of type " + Py_TYPE(a.ptr())->tp_name +
                      "; expected a NumPy array");
  if (!PyArray_CheckExact(a.ptr()) && PyObject_HasAttrString(a.ptr(), "_mask"))
    fail_type(op, std::string("got ") + name + " with a mask; expected an array without: use filled(value)");
  if (PyArray_NDIM(as_array(a)) > kMaxDims)
    fail_value(op, std::string("got ") + name + " with " + std::to_string(PyArray_NDIM(as_array(a))) +
                       " dimensions; expected at most " + std::to_string(kMaxDims));
  int64_t elements =
      1;  // does not overflow: NumPy counts bytes of the same product, zeros left out, in int64
  for (int d = 0; d < PyArray_NDIM(as_array(a)); ++d)
    elements *= std::max<int64_t>(PyArray_DIM(as_array(a), d), 1);
  if (elements > kMostElements)
    fail_value(op, std::string("got ") + name + " of shape " +
                       shape_text(PyArray_NDIM(as_array(a)),
                                  reinterpret_cast<const int64_t*>(PyArray_DIMS(as_array(a)))) +
                       "; expected dimensions with a product of at most 2**40");
}

// True when data and strides address whole, native elements.
bool is_addressable(PyArrayObject* a) {
  if (!PyArray_ISBEHAVED_RO(a)) return false;
  const npy_intp item = PyArray_ITEMSIZE(a);
  for (int d = 0; d < PyArray_NDIM(a); ++d)
    if (PyArray_STRIDE(a, d) % item) return false;
  return true;
}

py::object addressable(py::handle a, int type) {
  if (PyArray_TYPE(as_array(a)) == type && is_addressable(as_array(a)))
    return py::reinterpret_borrow<py::object>(a);
  PyObject* copy = PyArray_FromArray(as_array(a), PyArray_DescrFromType(type),
                                     NPY_ARRAY_CARRAY | NPY_ARRAY_ENSURECOPY | NPY_ARRAY_FORCECAST);
  if (!copy) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(copy);
}

const void* fill_view(PyArrayObject* a, int* ndim, int64_t* shape, int64_t* strides) {
  *ndim = PyArray_NDIM(a);
  const npy_intp item = PyArray_ITEMSIZE(a);
  for (int d = 0; d < *ndim; ++d) {
    shape[d] = PyArray_DIM(a, d);
    strides[d] = PyArray_STRIDE(a, d) / item;
  }
  return PyArray_DATA(a);
}

// Whether steps along one dimension may land on elements of another: never for slices and permutations of
// an array, always for repeated elements; of strides made by hand some harmless ones are refused too.
bool elements_share_memory(PyArrayObject* a) {
  if (PyArray_IS_C_CONTIGUOUS(a) || PyArray_SIZE(a) == 0) return false;
  const int ndim = PyArray_NDIM(a);
  int order[kMaxDims];
  for (int d = 0; d < ndim; ++d) order[d] = d;
  const auto step = [&](int d) { return std::abs(PyArray_STRIDE(a, d)); };
  std::stable_sort(order, order + ndim, [&](int p, int q) { return step(p) < step(q); });
  npy_intp reach = 0;  // bytes from the first to the last element along the dimensions so far
  for (int i = 0; i < ndim; ++i) {
    const int d = order[i];
    if (PyArray_DIM(a, d) == 1) continue;
    if (step(d) <= reach) return true;
    reach += (PyArray_DIM(a, d) - 1) * step(d);
  }
  return false;
}

// The bytes [first, last) that an array's elements lie in.
void extent(PyArrayObject* a, const char** first, const char** last) {
  const char* lo = static_cast<const char*>(PyArray_DATA(a));
  const char* hi = lo + PyArray_ITEMSIZE(a);
  if (PyArray_SIZE(a) == 0) hi = lo;
  for (int d = 0; lo < hi && d < PyArray_NDIM(a); ++d) {
    const npy_intp reach = (PyArray_DIM(a, d) - 1) * PyArray_STRIDE(a, d);
    (reach < 0 ? lo : hi) += reach;
  }
  *first = lo;
  *last = hi;
}

}  // namespace

Input Input::floating(const char* op, const char* name, py::handle array) {
  check_array(op, name, array);
  const int type = PyArray_TYPE(as_array(array));
  if (type != NPY_FLOAT32 && type != NPY_FLOAT64)
    fail_type(
        op, std::string("got ") + name + " of dtype " + dtype_text(array) + "; expected float32 or float64");
  return Input(addressable(array, type), type == NPY_FLOAT32 ? DType::float32 : DType::float64);
}

Input Input::pixels(const char* op, const char* name, py::handle array) {
  check_array(op, name, array);
  const int type = PyArray_TYPE(as_array(array));
  if (type == NPY_UINT8) return Input(addressable(array, type), DType::uint8);
  if (type != NPY_FLOAT32 && type != NPY_FLOAT64)
    fail_type(op, std::string("got ") + name + " of dtype " + dtype_text(array) +
                      "; expected float32, float64 or uint8");
  return floating(op, name, array);
}

Input Input::number(const char* op, const char* name, py::handle array) {
  check_array(op, name, array);
  const DType* dtype = dtype_of_number(PyArray_TYPE(as_array(array)));
  if (!dtype)
    fail_type(op, std::string("got ") + name + " of dtype " + dtype_text(array) +
                      "; expected float32, float64, bool, or integers other than uint64");
  return Input(addressable(array, type_number(*dtype)), *dtype);
}

DType dtype_argument(const char* op, py::handle dtype) {
  const DType* known = PyArray_DescrCheck(dtype.ptr())
                           ? dtype_of_number(reinterpret_cast<PyArray_Descr*>(dtype.ptr())->type_num)
                           : nullptr;
  if (!known) fail_type(op, "got dtype " + std::string(py::repr(dtype)) + "; expected one of numbers");
  return *known;
}

Input Input::integers(const char* op, const char* name, py::handle array) {
  check_array(op, name, array);
  if (!PyArray_ISINTEGER(as_array(array)))
    fail_type(op,
              std::string("got ") + name + " of dtype " + dtype_text(array) + "; expected an integer dtype");
  const int type = PyArray_TYPE(as_array(array));
  if (type != NPY_INT64 && dtype_of_number(type)) {
    const Input given = number(op, name, array);
    Output y = Output::contiguous(DType::int64, given.ndim(), given.shape());
    invoke_cast(given, y, DType::int64);
    return Input(y.release(), DType::int64);
  }
  const Input x(addressable(array, NPY_INT64), DType::int64);
  if (PyArray_ITEMSIZE(as_array(array)) < 8 || !PyArray_ISUNSIGNED(as_array(array))) return x;
  const auto* p = static_cast<const int64_t*>(PyArray_DATA(as_array(x.object())));  // the copy is contiguous
  const npy_intp size = PyArray_SIZE(as_array(x.object()));
  for (npy_intp i = 0; i < size; ++i)
    if (p[i] < 0)
      fail_value(op, std::string("got ") + name + " with the value " +
                         std::to_string(static_cast<uint64_t>(p[i])) + "; expected values below 2**63");
  return x;
}

Input Input::exactly(const char* op, const char* name, py::handle array, DType dtype) {
  check_array(op, name, array);
  if (PyArray_TYPE(as_array(array)) != type_number(dtype))
    fail_type(op, std::string("got ") + name + " of dtype " + dtype_text(array) + "; expected " +
                      dtype_name(dtype));
  return Input(addressable(array, type_number(dtype)), dtype);
}

Input Input::optional(const char* op, const char* name, py::handle array, DType dtype) {
  return array.is_none() ? Input(py::object(), dtype) : exactly(op, name, array, dtype);
}

bool Input::is_contiguous() const { return PyArray_IS_C_CONTIGUOUS(as_array(object_)); }
int Input::ndim() const { return PyArray_NDIM(as_array(object_)); }
const int64_t* Input::shape() const {
  return reinterpret_cast<const int64_t*>(PyArray_DIMS(as_array(object_)));
}

const void* Input::fill(int* ndim, int64_t* shape, int64_t* strides) const {
  return object_ ? fill_view(as_array(object_), ndim, shape, strides) : nullptr;
}

Output Output::contiguous(DType dtype, int ndim, const int64_t* shape) {
  require_addressable(ndim, shape);
  int64_t strides[kMaxDims], step = 1;
  for (int d = ndim - 1; d >= 0; --d) {
    strides[d] = step;
    step *= std::max<int64_t>(shape[d], 1);
  }
  return Output(new_array(type_number(dtype), ndim, shape, strides));
}

Output Output::in_order(DType dtype, int ndim, const int64_t* shape, const int* order) {
  require_addressable(ndim, shape);
  int64_t strides[kMaxDims], step = 1;
  for (int i = ndim - 1; i >= 0; --i) {
    strides[order[i]] = step;
    step *= std::max<int64_t>(shape[order[i]], 1);
  }
  return Output(new_array(type_number(dtype), ndim, shape, strides));
}

Output Output::channels_last(DType dtype, int64_t n, int64_t c, int64_t h, int64_t w) {
  const int64_t shape[] = {n, c, h, w};
  const int order[] = {0, 2, 3, 1};
  return in_order(dtype, 4, shape, order);
}

Output Output::like(const Input& x, DType dtype, const int64_t* shape) {
  const int ndim = x.ndim();
  PyArrayObject* a = as_array(x.object());
  bool in_c_order = PyArray_IS_C_CONTIGUOUS(a);
  int order[kMaxDims];
  for (int d = 0; d < ndim; ++d) {
    order[d] = d;
    if (PyArray_STRIDE(a, d) == 0 && PyArray_DIM(a, d) > 1) in_c_order = true;  // repeated: it has no order
  }
  if (in_c_order) return contiguous(dtype, ndim, shape);
  std::stable_sort(order, order + ndim, [&](int p, int q) {
    return std::abs(PyArray_STRIDE(a, p)) > std::abs(PyArray_STRIDE(a, q));
  });
  return in_order(dtype, ndim, shape, order);
}

Output Output::given(const char* op, py::handle out, DType dtype, int ndim, const int64_t* shape,
                     const char* name) {
  if (out.is_none()) return contiguous(dtype, ndim, shape);
  check_array(op, name, out);
  PyArrayObject* a = as_array(out);
  const std::string got = std::string("got ") + name;
  if (PyArray_TYPE(a) != type_number(dtype))
    fail_type(op, got + " of dtype " + dtype_text(out) + "; expected " + dtype_name(dtype));
  if (PyArray_NDIM(a) != ndim || !std::equal(shape, shape + ndim, PyArray_DIMS(a)))
    fail_value(op, got + " of shape " +
                       shape_text(PyArray_NDIM(a), reinterpret_cast<const int64_t*>(PyArray_DIMS(a))) +
                       "; expected " + shape_text(ndim, shape));
  if (!PyArray_ISWRITEABLE(a))
    fail_value(op, std::string("got a read-only ") + name + "; expected a writable array");
  if (!is_addressable(a)) fail_value(op, got + " that is byte-swapped or unaligned; expected a native array");
  if (elements_share_memory(a))
    fail_value(op, got + " whose elements share memory; expected an array with one place for each element");
  return Output(py::reinterpret_borrow<py::object>(out));
}

void* Output::fill(int* ndim, int64_t* shape, int64_t* strides) const {
  return const_cast<void*>(fill_view(as_array(object_), ndim, shape, strides));
}

const Output& Output::apart_from(const char* op, const Input& x, bool same_is_fine) const {
  if (!x) return *this;
  PyArrayObject *a = as_array(object_), *b = as_array(x.object());
  const char *a_first, *a_last, *b_first, *b_last;
  extent(a, &a_first, &a_last);
  extent(b, &b_first, &b_last);
  if (a_last <= b_first || b_last <= a_first || a_first == a_last || b_first == b_last) return *this;
  const bool same = PyArray_DATA(a) == PyArray_DATA(b) && PyArray_NDIM(a) == PyArray_NDIM(b) &&
                    std::equal(PyArray_DIMS(a), PyArray_DIMS(a) + PyArray_NDIM(a), PyArray_DIMS(b)) &&
                    std::equal(PyArray_STRIDES(a), PyArray_STRIDES(a) + PyArray_NDIM(a), PyArray_STRIDES(b));
  if (!(same && same_is_fine))
    fail_value(op, "got out that overlaps an input in memory; expected memory of its own");
  return *this;
}

void require_same_dtype(const char* op, const char* name_a, const Input& a, const char* name_b,
                        const Input& b) {
  if (a && b && a.dtype() != b.dtype())
    fail_type(op, std::string("got ") + name_a + " of dtype " + dtype_name(a.dtype()) + " and " + name_b +
                      " of dtype " + dtype_name(b.dtype()) + "; expected the same dtype");
}

bool is_channels_last(const Input& x) {
  if (x.ndim() != 4) return false;
  PyArrayObject* a = as_array(x.object());
  npy_intp expected = PyArray_ITEMSIZE(a);
  for (int d : {1, 3, 2, 0}) {
    if (PyArray_DIM(a, d) != 1 && PyArray_STRIDE(a, d) != expected) return false;
    expected *= PyArray_DIM(a, d);
  }
  return true;
}

}  // namespace ranvier::bind
