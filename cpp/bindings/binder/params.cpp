// The constructors of params.h that read numbers, flags, names, axes and lists.
#include "bindings/binder/params.h"
#include "bindings/binder/numpy_api.h"

namespace ranvier::bind {
namespace {

PyObject* g_value_read;  // the function of observe.py that set_value_read() was given

// Reports a number that is read from a NumPy array while a step is recorded: the recorded calls depend on its
// value. A Tensor reports the read itself, in its methods of Python.
void note_read(PyObject* number) {
  if (PyLong_CheckExact(number) || PyFloat_CheckExact(number) || !t_recording || !PyArray_Check(number))
    return;
  const auto how = py::reinterpret_steal<py::object>(PyUnicode_FromString("a number"));
  if (!py::reinterpret_steal<py::object>(
          PyObject_CallFunctionObjArgs(g_value_read, how.ptr(), number, nullptr)))
    throw py::error_already_set();
}

}  // namespace

void set_value_read(PyObject* function) { g_value_read = Py_NewRef(function); }

PyObject* index_of(PyObject* number) {
  note_read(number);
  if (!PyBool_Check(number)) return PyNumber_Index(number);
  // Python's bools are ints, but one that is passed for a number is likely a flag in the wrong place.
  PyErr_SetString(PyExc_TypeError, "a bool is no whole number");
  return nullptr;
}

double double_of(PyObject* number) {
  note_read(number);
  return PyFloat_AsDouble(number);
}

Real::Real(const Arg& arg) : Arg(arg) {
  const PyNumberMethods* methods = Py_TYPE(value.ptr())->tp_as_number;
  const bool is_number =
      methods && (methods->nb_float || methods->nb_index) && !PyArray_IsScalar(value.ptr(), ComplexFloating);
  number = is_number ? double_of(value.ptr()) : -1;
  if (is_number && (number != -1 || !PyErr_Occurred())) return;
  const bool large = is_number && PyErr_ExceptionMatches(PyExc_OverflowError);
  PyErr_Clear();
  if (large) fail_value(op, "got ", name, " beyond the largest float64; expected a number");
  wrong_type("a number");
}

double Real::at_least(double least) const {
  if (!(number >= least)) fail("a number of at least ", static_cast<int>(least));
  return number;
}

double Real::above(double least) const {
  if (!(number > least)) fail("a number above ", static_cast<int>(least));
  return number;
}

Whole::Whole(const Arg& arg, const char* expected) : Arg(arg) {
  py::object index;
  if (PyIndex_Check(value.ptr())) index = py::reinterpret_steal<py::object>(index_of(value.ptr()));
  if (!index) {
    PyErr_Clear();
    wrong_type(expected);
  }
  int overflow = 0;
  number = PyLong_AsLongLongAndOverflow(index.ptr(), &overflow);
  if (overflow > 0) number = INT64_MAX;
  if (overflow < 0) number = INT64_MIN;
}

Truth::Truth(const Arg& arg) : Arg(arg), holds(value.ptr() == Py_True) {
  if (PyBool_Check(value.ptr())) return;
  if (!PyArray_IsScalar(value.ptr(), Bool)) wrong_type("True or False");
  holds = PyObject_IsTrue(value.ptr()) == 1;
}

Name::Name(const Arg& arg) : Arg(arg) {
  if (!PyUnicode_Check(value.ptr())) wrong_type("a string");
  Py_ssize_t size = 0;
  const char* characters = PyUnicode_AsUTF8AndSize(value.ptr(), &size);  // the string object owns them
  if (!characters) throw py::error_already_set();
  text = std::string_view(characters, size);
}

int Name::one_of(std::initializer_list<const char*> names) const {
  int place = 0;
  for (const char* n : names) {
    if (text == n) return place;
    ++place;
  }
  std::string all;  // 'a', 'b' or 'c'
  for (const char* n : names) {
    const bool is_last = n == *(names.end() - 1);
    const char* separator = ", ";
    if (is_last) separator = " or ";
    if (all.empty()) separator = "";
    all += separator + ("'" + std::string(n) + "'");
  }
  fail(all);
}

int Axis::of(const Input& x) const {
  const int ndim = x.ndim();
  if (number < -ndim || number >= ndim) {
    std::string range = std::to_string(-ndim) + " to " + std::to_string(ndim - 1);
    if (ndim == 0) range = "at least one dimension";
    bind::fail(Fault::axis, op,
               {"got ", name, " ", number, " for ", x.name(), " of shape ", x.shape(), "; expected ", range});
  }
  return static_cast<int>(number < 0 ? number + ndim : number);
}

Sizes::Sizes(const Arg& arg, const char* expected) : Arg(arg) {
  if (!PyTuple_Check(value.ptr()) && !PyList_Check(value.ptr())) wrong_type(expected);
}

int64_t Sizes::operator[](int i) const {
  const py::object item = checked(PySequence_GetItem(value.ptr(), i));
  return Whole({op, name, item});
}

Shape Sizes::shape() const {
  if (count() > kMaxDims) fail(kMostDims);
  Shape s;
  for (int d = 0; d < count(); ++d) {
    s.append((*this)[d]);
    if (s[d] < 0) fail("sizes >= 0");
  }
  return s;
}

Arrays::Arrays(const Arg& arg) : Arg(arg) {
  if (!PyTuple_Check(value.ptr()) && !PyList_Check(value.ptr()))
    fail_type(op, "got ", Py_TYPE(value.ptr())->tp_name, "; expected a list or tuple of arrays");
}

Output Out::checked(DType dtype, const Shape& shape, std::initializer_list<const Input*> apart,
                    bool onto) const {
  Output y = Output::given(*this, dtype, shape);
  for (const Input* x : apart) y.apart_from(*x, onto);
  return y;
}

}  // namespace ranvier::bind
