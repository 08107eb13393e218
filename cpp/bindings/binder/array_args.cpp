// Reads NumPy arrays as arguments, checks their dtypes, shapes and memory, and makes the arrays of results
// (array_args.h).
#include "bindings/binder/params.h"

#include "bindings/binder/batched.h"
#include "bindings/binder/bfloat16.h"
#include "bindings/binder/numpy_api.h"
#include "bindings/binder/shape.h"

namespace ranvier::bind {
namespace {

static_assert(sizeof(npy_intp) == sizeof(int64_t));

// The most elements of an array. Only a view that repeats elements (stride 0) can have more: no memory is as
// large. Below this bound, sizes computed from a few factors, such as a workspace's bytes, do not overflow
// int64.
constexpr int64_t kMostElements = int64_t{1} << 40;

struct TypeOfNumPy {
  int number;  // NumPy's type number
  const char* name;
};
// In the order of DType. The number of bfloat16 is known at run time only (bfloat16_number()).
constexpr TypeOfNumPy kTypes[] = {{NPY_FLOAT32, "float32"}, {NPY_FLOAT64, "float64"}, {NPY_INT64, "int64"},
                                  {NPY_UINT8, "uint8"},     {NPY_BOOL, "bool"},       {NPY_INT8, "int8"},
                                  {NPY_INT16, "int16"},     {NPY_UINT16, "uint16"},   {NPY_INT32, "int32"},
                                  {NPY_UINT32, "uint32"},   {NPY_HALF, "float16"},    {-1, "bfloat16"}};

int type_number(DType dtype) {
  return dtype == DType::bfloat16 ? bfloat16_number() : kTypes[static_cast<int>(dtype)].number;
}
const char* dtype_name(DType dtype) { return kTypes[static_cast<int>(dtype)].name; }

// The DType of a type number of NumPy; none for types that DType does not name. C has two integer types of 64
// bits (long, long long), so NumPy has two numbers for int64.
std::optional<DType> dtype_of_number(int type) {
  if (type == NPY_LONGLONG) type = NPY_INT64;
  if (type == bfloat16_number()) return DType::bfloat16;
  for (int d = 0; d < static_cast<int>(std::size(kTypes)); ++d)
    if (kTypes[d].number == type) return static_cast<DType>(d);
  return std::nullopt;
}

std::string dtype_text(py::handle array) {
  return py::str(py::handle(reinterpret_cast<PyObject*>(PyArray_DESCR(as_array(array)))));
}

Shape shape_of(PyArrayObject* a) {
  return Shape(PyArray_NDIM(a), reinterpret_cast<const int64_t*>(PyArray_DIMS(a)));
}

// Fails unless the argument is a NumPy array without a mask, with at most kMaxDims dimensions and
// kMostElements elements.
void check_array(const Arg& arg) {
  const py::handle a = arg.value;
  if (!PyArray_Check(a.ptr()))
    fail_type(arg.op, "got ", arg.name, " of type ", Py_TYPE(a.ptr())->tp_name, "; expected a NumPy array");
  if (is_batched(a.ptr())) throw BatchedArgument();
  if (!PyArray_CheckExact(a.ptr()) && PyObject_HasAttrString(a.ptr(), "_mask"))
    fail_type(arg.op, "got ", arg.name, " with a mask; expected an array without: use filled(value)");
  const int ndim = PyArray_NDIM(as_array(a));
  if (ndim > kMaxDims)
    fail_value(arg.op, "got ", arg.name, " with ", ndim, " dimensions; expected ", kMostDims);
  int64_t elements = 1;  // does not overflow: NumPy's count of bytes, zeros left out, is an int64
  for (int d = 0; d < ndim; ++d) elements *= std::max<int64_t>(PyArray_DIM(as_array(a), d), 1);
  if (elements > kMostElements)
    fail_value(arg.op, "got ", arg.name, " of shape ", shape_of(as_array(a)),
               "; expected dimensions with a product of at most 2**40");
}

[[noreturn]] void wrong_dtype(const Arg& arg, const char* expected) {
  fail(Fault::dtype, arg.op,
       {"got ", arg.name, " of dtype ", dtype_text(arg.value), "; expected ", expected});
}

// True if the elements are aligned, in native byte order, and the strides are multiples of the element's
// size.
bool is_addressable(PyArrayObject* a) {
  if (!PyArray_ISBEHAVED_RO(a)) return false;
  const npy_intp item = PyArray_ITEMSIZE(a);
  for (int d = 0; d < PyArray_NDIM(a); ++d)
    if (PyArray_STRIDE(a, d) % item) return false;
  return true;
}

// The array itself if it has this type number and is addressable, else a C-contiguous copy of this type.
py::object addressable(py::handle a, int type) {
  if (PyArray_TYPE(as_array(a)) == type && is_addressable(as_array(a)))
    return py::reinterpret_borrow<py::object>(a);
  PyObject* copy = PyArray_FromArray(as_array(a), PyArray_DescrFromType(type),
                                     NPY_ARRAY_CARRAY | NPY_ARRAY_ENSURECOPY | NPY_ARRAY_FORCECAST);
  if (!copy) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(copy);
}

// As Input::fill: strides in elements.
const void* fill_view(PyArrayObject* a, int* ndim, int64_t* shape, int64_t* strides) {
  *ndim = PyArray_NDIM(a);
  const npy_intp item = PyArray_ITEMSIZE(a);
  for (int d = 0; d < *ndim; ++d) {
    shape[d] = PyArray_DIM(a, d);
    strides[d] = PyArray_STRIDE(a, d) / item;
  }
  return PyArray_DATA(a);
}

// True if two elements may have the same place in memory. With the dimensions sorted by stride, all elements
// are apart if each stride is larger than the distance spanned by all smaller ones. Slices and permutations
// of an array pass this test, repeated elements (stride 0) fail it. It may also fail for strides made by hand
// whose elements are in fact apart.
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

// The bytes [first, last) of an array's elements.
void extent(PyArrayObject* a, const char** first, const char** last) {
  const char* lo = static_cast<const char*>(PyArray_DATA(a));
  const char* hi = lo + PyArray_ITEMSIZE(a);
  if (PyArray_SIZE(a) == 0) hi = lo;
  for (int d = 0; lo < hi && d < PyArray_NDIM(a); ++d) {
    const npy_intp reach = (PyArray_DIM(a, d) - 1) * PyArray_STRIDE(a, d);
    if (reach < 0) {
      lo += reach;
    } else {
      hi += reach;
    }
  }
  *first = lo;
  *last = hi;
}

}  // namespace

std::string Arg::shown() const {
  if (PyUnicode_Check(value.ptr())) return py::repr(value);
  return py::str(value);
}

Input Input::floating(const Arg& arg) {
  check_array(arg);
  const int type = PyArray_TYPE(as_array(arg.value));
  if (type != NPY_FLOAT32 && type != NPY_FLOAT64) wrong_dtype(arg, "float32 or float64");
  return Input(arg, addressable(arg.value, type), type == NPY_FLOAT32 ? DType::float32 : DType::float64);
}

Input Input::pixels(const Arg& arg) {
  check_array(arg);
  const int type = PyArray_TYPE(as_array(arg.value));
  if (type == NPY_UINT8) return Input(arg, addressable(arg.value, type), DType::uint8);
  if (type != NPY_FLOAT32 && type != NPY_FLOAT64) wrong_dtype(arg, "float32, float64 or uint8");
  return floating(arg);
}

Input Input::real(const Arg& arg) {
  const int type = PyArray_Check(arg.value.ptr()) ? PyArray_TYPE(as_array(arg.value)) : NPY_FLOAT32;
  if (!is_half_type(type)) return floating(arg);
  check_array(arg);
  return Input(arg, addressable(arg.value, type), type == NPY_HALF ? DType::float16 : DType::bfloat16);
}

Input Input::number(const Arg& arg) {
  check_array(arg);
  const auto dtype = dtype_of_number(PyArray_TYPE(as_array(arg.value)));
  if (!dtype) wrong_dtype(arg, "floats of 16 to 64 bits, bool, or integers other than uint64");
  return Input(arg, addressable(arg.value, type_number(*dtype)), *dtype);
}

Input Input::movable(const Arg& arg) {
  check_array(arg);
  const int type = PyArray_TYPE(as_array(arg.value));
  const auto dtype = dtype_of_number(type);
  const bool moves =
      dtype && (PyArray_ITEMSIZE(as_array(arg.value)) >= 4 || stored_as(*dtype) != Stored::whole);
  if (!moves) wrong_dtype(arg, "floats, or integers of 32 or 64 bits");
  return Input(arg, addressable(arg.value, type_number(*dtype)), *dtype);
}

Input Input::integers(const Arg& arg) {
  check_array(arg);
  PyArrayObject* a = as_array(arg.value);
  if (!PyArray_ISINTEGER(a)) wrong_dtype(arg, "an integer dtype");
  const int type = PyArray_TYPE(a);
  if (type != NPY_INT64 && dtype_of_number(type)) {
    const Input given = number(arg);
    Output y = Output::contiguous(DType::int64, given.shape());
    invoke_cast(given, y, DType::int64);
    return Input(arg, y.release(), DType::int64);
  }
  const Input x(arg, addressable(arg.value, NPY_INT64), DType::int64);
  if (PyArray_ITEMSIZE(a) < 8 || !PyArray_ISUNSIGNED(a)) return x;
  // uint64, reinterpreted as int64: values of 2**63 and more are negative. x is a contiguous copy.
  const auto* p = static_cast<const int64_t*>(PyArray_DATA(as_array(x.object())));
  const npy_intp size = PyArray_SIZE(as_array(x.object()));
  for (npy_intp i = 0; i < size; ++i)
    if (p[i] < 0)
      fail_value(arg.op, "got ", arg.name, " with the value ", std::to_string(static_cast<uint64_t>(p[i])),
                 "; expected values below 2**63");
  return x;
}

Input Input::exactly(const Arg& arg, DType dtype) {
  check_array(arg);
  if (PyArray_TYPE(as_array(arg.value)) != type_number(dtype)) wrong_dtype(arg, dtype_name(dtype));
  return Input(arg, addressable(arg.value, type_number(dtype)), dtype);
}

void Input::expect_same_shape(const Input& other) const {
  if (!has_shape(other.shape()))
    fail_value(op_, "got ", name_, " of shape ", shape(), " and ", other.name_, " of shape ", other.shape(),
               "; expected equal shapes");
}

void Input::expect_same_dtype(const Input& other) const {
  if (*this && other && dtype_ != other.dtype_)
    bind::fail(Fault::dtype, op_,
               {"got ", name_, " of dtype ", dtype_name(dtype_), " and ", other.name_, " of dtype ",
                dtype_name(other.dtype_), "; expected the same dtype"});
}

bool Input::is_contiguous() const { return PyArray_IS_C_CONTIGUOUS(as_array(object_)); }
bool Input::is_writable() const { return PyArray_ISWRITEABLE(as_array(object_)); }
bool is_floating_array(py::handle x) {
  return PyArray_Check(x.ptr()) && is_float_type(PyArray_TYPE(as_array(x)));
}
Shape Input::shape() const { return shape_of(as_array(object_)); }
int64_t Input::elements() const { return PyArray_SIZE(as_array(object_)); }
int Input::ndim() const { return PyArray_NDIM(as_array(object_)); }
const int64_t* Input::sizes() const {
  return reinterpret_cast<const int64_t*>(PyArray_DIMS(as_array(object_)));
}

const void* Input::fill(int* ndim, int64_t* shape, int64_t* strides) const {
  return object_ ? fill_view(as_array(object_), ndim, shape, strides) : nullptr;
}

Output Output::contiguous(DType dtype, const Shape& shape) {
  require_addressable(shape);
  int64_t strides[kMaxDims], step = 1;
  for (int d = shape.ndim - 1; d >= 0; --d) {
    strides[d] = step;
    step *= std::max<int64_t>(shape[d], 1);
  }
  return Output(new_array(type_number(dtype), shape, strides));
}

Output Output::in_order(DType dtype, const Shape& shape, const int* order) {
  require_addressable(shape);
  int64_t strides[kMaxDims], step = 1;
  for (int i = shape.ndim - 1; i >= 0; --i) {
    strides[order[i]] = step;
    step *= std::max<int64_t>(shape[order[i]], 1);
  }
  return Output(new_array(type_number(dtype), shape, strides));
}

Output Output::channels_last(DType dtype, const Shape& shape) {
  const int order[] = {0, 2, 3, 1};
  return in_order(dtype, shape, order);
}

Output Output::like(const Input& x, DType dtype) { return like(x, dtype, x.shape()); }

Output Output::like(const Input& x, DType dtype, const Shape& shape) {
  const int ndim = x.ndim();
  PyArrayObject* a = as_array(x.object());
  bool in_c_order = PyArray_IS_C_CONTIGUOUS(a);
  int order[kMaxDims];
  for (int d = 0; d < ndim; ++d) {
    order[d] = d;
    if (PyArray_STRIDE(a, d) == 0 && PyArray_DIM(a, d) > 1) in_c_order = true;  // repeated elements
  }
  if (in_c_order) return contiguous(dtype, shape);
  std::stable_sort(order, order + ndim, [&](int p, int q) {
    return std::abs(PyArray_STRIDE(a, p)) > std::abs(PyArray_STRIDE(a, q));
  });
  return in_order(dtype, shape, order);
}

Output Output::given(const Arg& arg, DType dtype, const Shape& shape) {
  check_array(arg);
  PyArrayObject* a = as_array(arg.value);
  if (PyArray_TYPE(a) != type_number(dtype)) wrong_dtype(arg, dtype_name(dtype));
  if (shape_of(a) != shape)
    fail_value(arg.op, "got ", arg.name, " of shape ", shape_of(a), "; expected ", shape);
  if (!PyArray_ISWRITEABLE(a))
    fail_value(arg.op, "got a read-only ", arg.name, "; expected a writable array");
  if (!is_addressable(a))
    fail_value(arg.op, "got ", arg.name, " that is byte-swapped or unaligned; expected a native array");
  if (elements_share_memory(a))
    fail_value(arg.op, "got ", arg.name,
               " whose elements share memory; expected an array with one place for each element");
  return Output(py::reinterpret_borrow<py::object>(arg.value));
}

void* Output::fill(int* ndim, int64_t* shape, int64_t* strides) const {
  return const_cast<void*>(fill_view(as_array(object_), ndim, shape, strides));
}

Stored Output::stored() const {
  const int type = PyArray_TYPE(as_array(object_));
  if (type == NPY_HALF) return Stored::float16;
  if (type == bfloat16_number()) return Stored::bfloat16;
  return Stored::whole;
}

const Output& Output::apart_from(const Input& x, bool same_is_fine) const {
  if (!x) return *this;
  PyArrayObject* a = as_array(object_);
  PyArrayObject* b = as_array(x.object());
  const char *a_first, *a_last, *b_first, *b_last;
  extent(a, &a_first, &a_last);
  extent(b, &b_first, &b_last);
  if (a_last <= b_first || b_last <= a_first || a_first == a_last || b_first == b_last) return *this;
  const bool same = PyArray_DATA(a) == PyArray_DATA(b) && PyArray_NDIM(a) == PyArray_NDIM(b) &&
                    std::equal(PyArray_DIMS(a), PyArray_DIMS(a) + PyArray_NDIM(a), PyArray_DIMS(b)) &&
                    std::equal(PyArray_STRIDES(a), PyArray_STRIDES(a) + PyArray_NDIM(a), PyArray_STRIDES(b));
  if (!(same && same_is_fine))
    fail_value(x.op(), "got out that overlaps an input in memory; expected memory of its own");
  return *this;
}

DTypeArg::DTypeArg(const Arg& arg) : Arg(arg) {
  std::optional<DType> known;
  py::object own = py::reinterpret_borrow<py::object>(value);
  if (!PyArray_DescrCheck(own.ptr()))  // not NumPy's dtype: an object that has one as its attribute `dtype`
    own = py::reinterpret_steal<py::object>(PyObject_GetAttrString(value.ptr(), "dtype"));
  PyErr_Clear();
  if (own && PyArray_DescrCheck(own.ptr()))
    known = dtype_of_number(reinterpret_cast<PyArray_Descr*>(own.ptr())->type_num);
  if (!known) wrong_type("one of numbers");
  dtype = *known;
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

void invoke_released(const CallType& type, const void* call) {
  struct Released {
    PyThreadState* state = PyEval_SaveThread();
    ~Released() { PyEval_RestoreThread(state); }
  } released;
  invoke(type, call);
}

void invoke_sized(const CallType& type, const void* call, int64_t elements) {
  constexpr int64_t kFew = 4096;  // below this, a kernel takes less time than to release and take the GIL
  if (elements < kFew) {
    invoke(type, call);
  } else {
    invoke_released(type, call);
  }
}

}  // namespace ranvier::bind
