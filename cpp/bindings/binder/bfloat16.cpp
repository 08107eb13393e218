// Registers bfloat16 (the upper 16 bits of a float32) as a dtype of NumPy arrays. NumPy asks a new dtype for
// a table of functions that store, move, compare and cast elements; they are here. bfloat16_loops.cpp adds
// the arithmetic of NumPy's ufuncs.
//
// The dtype's kind is 'f', as that of other floats, so code that tests for floats by the kind accepts it.
// NumPy's float16 has the same kind and size; the type number tells them apart (bfloat16_number(), NPY_HALF).
#include "bindings/binder/bfloat16.h"

#include <cstring>

#include "base/half.h"
#include "bindings/binder/define.h"

namespace ranvier::bind {
namespace {

BFloat16 load(const void* p) {
  BFloat16 x;
  std::memcpy(&x, p, sizeof x);
  return x;
}

void store(BFloat16 x, void* p) { std::memcpy(p, &x, sizeof x); }

// --- an element of an array as a Python object
struct Scalar {
  PyObject_HEAD BFloat16 number;
};

PyTypeObject* g_type;
int g_number = -1;

PyObject* new_scalar(PyTypeObject* type, PyObject* args, PyObject*) {
  double value = 0;
  if (!PyArg_ParseTuple(args, "|d", &value)) return nullptr;
  PyObject* made = type->tp_alloc(type, 0);
  if (made) reinterpret_cast<Scalar*>(made)->number = BFloat16(float(value));
  return made;
}

BFloat16 number_of(PyObject* x) { return reinterpret_cast<Scalar*>(x)->number; }
PyObject* as_float(PyObject* x) { return PyFloat_FromDouble(number_of(x)); }
PyObject* as_text(PyObject* x) { return py::repr(py::float_(double(number_of(x)))).release().ptr(); }

// --- the functions of the dtype, as PyArray_ArrFuncs declares them: they get the addresses of elements. The
// last argument, the array, is not used.
PyObject* get(void* p, void*) { return PyFloat_FromDouble(load(p)); }

int set(PyObject* value, void* p, void*) {
  if (Py_TYPE(value) == g_type) {
    store(number_of(value), p);
    return 0;
  }
  const double x = PyFloat_AsDouble(value);
  if (x == -1 && PyErr_Occurred()) return -1;
  store(BFloat16(float(x)), p);
  return 0;
}

// Copies n elements, with steps in bytes; from null: none. swap: then swaps the bytes of each in `to`.
void copy_n(void* to, npy_intp to_step, void* from, npy_intp step, npy_intp n, int swap, void*) {
  auto* y = static_cast<char*>(to);
  if (from)
    for (npy_intp i = 0; i < n; ++i) std::memcpy(y + i * to_step, static_cast<char*>(from) + i * step, 2);
  if (swap)
    for (npy_intp i = 0; i < n; ++i) std::swap(y[i * to_step], y[i * to_step + 1]);
}

void copy_one(void* to, void* from, int swap, void* array) { copy_n(to, 0, from, 0, 1, swap, array); }

npy_bool is_nonzero(void* p, void*) { return load(p) != 0; }

// For sorting: -1, 0 or 1. NaN comes after all numbers.
int compare(const void* a, const void* b, void*) {
  const float x = load(a);
  const float y = load(b);
  if (x < y) return -1;
  if (x > y) return 1;
  if (x == y) return 0;
  const bool x_is_nan = x != x;
  const bool y_is_nan = y != y;
  return int(x_is_nan) - int(y_is_nan);
}

// Sets *place to the index of the greatest or least of n elements, the first one of equals. A NaN counts as
// greater, or less, than all numbers.
template <bool greatest>
int extreme(void* p, npy_intp n, npy_intp* place, void*) {
  const auto* x = static_cast<const BFloat16*>(p);
  *place = 0;
  for (npy_intp i = 0; i < n; ++i) {
    const float best = x[*place];
    const float other = x[i];
    if (best != best) break;  // NaN
    const bool is_nan = other != other;
    const bool is_beyond = greatest ? other > best : other < best;
    if (is_nan || is_beyond) *place = i;
  }
  return 0;
}

// For np.arange: continues an arithmetic progression of n elements whose first two are set.
int fill(void* p, npy_intp n, void*) {
  auto* x = static_cast<BFloat16*>(p);
  const float first = x[0];
  const float step = x[1] - first;
  for (npy_intp i = 2; i < n; ++i) x[i] = BFloat16(first + float(i) * step);
  return 0;
}

int fill_with(void* p, npy_intp n, void* value, void*) {
  std::fill_n(static_cast<BFloat16*>(p), n, load(value));
  return 0;
}

template <class From, class To>
void cast(void* from, void* to, npy_intp n, void*, void*) {
  for (npy_intp i = 0; i < n; ++i)
    static_cast<To*>(to)[i] = static_cast<To>(static_cast<float>(static_cast<From*>(from)[i]));
}

// Registers the casts from bfloat16 (own) to the dtype with this type number, and back. T: its C type.
template <class T>
void casts(PyArray_Descr* own, int number) {
  PyArray_Descr* other = PyArray_DescrFromType(number);
  const bool failed = PyArray_RegisterCastFunc(own, number, cast<BFloat16, T>) < 0 ||
                      PyArray_RegisterCastFunc(other, g_number, cast<T, BFloat16>) < 0;
  Py_DECREF(other);
  if (failed) throw py::error_already_set();
}

// The class of an element as a Python object: a subclass of numpy.generic, as NumPy demands.
void make_scalar_class() {
  static PyType_Slot slots[] = {{Py_tp_new, reinterpret_cast<void*>(new_scalar)},
                                {Py_tp_repr, reinterpret_cast<void*>(as_text)},
                                {Py_nb_float, reinterpret_cast<void*>(as_float)},
                                {0, nullptr}};
  static PyType_Spec spec = {"ranvier._core.bfloat16", sizeof(Scalar), 0, Py_TPFLAGS_DEFAULT, slots};
  const auto base = py::reinterpret_borrow<py::object>(reinterpret_cast<PyObject*>(&PyGenericArrType_Type));
  g_type = reinterpret_cast<PyTypeObject*>(PyType_FromSpecWithBases(&spec, tuple_of({base}).ptr()));
  if (!g_type) throw py::error_already_set();
}

}  // namespace

int bfloat16_number() { return g_number; }

void register_bfloat16(Module m) {
  make_scalar_class();
  static PyArray_ArrFuncs functions;
  PyArray_InitArrFuncs(&functions);
  functions.getitem = get;
  functions.setitem = set;
  functions.copyswap = copy_one;
  functions.copyswapn = copy_n;
  functions.argmax = extreme<true>;
  functions.argmin = extreme<false>;
  functions.nonzero = is_nonzero;
  functions.compare = compare;
  functions.fill = fill;
  functions.fillwithscalar = fill_with;
  static PyArray_DescrProto proto;
  proto.typeobj = g_type;
  proto.f = &functions;
  proto.kind = 'f';
  proto.type = 'E';
  proto.byteorder = '=';
  proto.elsize = proto.alignment = sizeof(BFloat16);
  proto.flags = NPY_USE_SETITEM;  // only setitem may run Python code
  proto.hash = -1;                // not computed yet: NumPy 1 takes this struct for the dtype itself
  Py_SET_TYPE(reinterpret_cast<PyObject*>(&proto), &PyArrayDescr_Type);
  g_number = PyArray_RegisterDataType(&proto);
  if (g_number < 0) throw py::error_already_set();
  PyArray_Descr* own = PyArray_DescrFromType(g_number);
  casts<bool>(own, NPY_BOOL);
  casts<int8_t>(own, NPY_BYTE);
  casts<uint8_t>(own, NPY_UBYTE);
  casts<int16_t>(own, NPY_SHORT);
  casts<uint16_t>(own, NPY_USHORT);
  casts<int32_t>(own, NPY_INT);
  casts<uint32_t>(own, NPY_UINT);
  casts<long>(own, NPY_LONG);
  casts<unsigned long>(own, NPY_ULONG);
  casts<npy_longlong>(own, NPY_LONGLONG);
  casts<npy_ulonglong>(own, NPY_ULONGLONG);
  casts<Float16>(own, NPY_HALF);
  casts<float>(own, NPY_FLOAT);
  casts<double>(own, NPY_DOUBLE);
  casts<npy_longdouble>(own, NPY_LONGDOUBLE);
  for (const int safe : {NPY_FLOAT, NPY_DOUBLE}) PyArray_RegisterCanCast(own, safe, NPY_NOSCALAR);
  const auto type = py::reinterpret_borrow<py::object>(reinterpret_cast<PyObject*>(g_type));
  type.attr("__qualname__") =
      py::str("_BFloat16");  // bfloat16, the dtype's name, is another function of _core
  type.attr("dtype") = py::reinterpret_steal<py::object>(reinterpret_cast<PyObject*>(own));
  m.attr("_BFloat16") = type;
}

}  // namespace ranvier::bind
