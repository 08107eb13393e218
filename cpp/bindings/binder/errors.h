// Raises errors in the library's format, "[op] got ...; expected ...": fail() and its short forms
// fail_value() and fail_type().
#pragma once
#include <pybind11/pytypes.h>

#include <initializer_list>
#include <string>

#include "bindings/binder/shape.h"

namespace ranvier::bind {

namespace py = pybind11;

// Takes over a new reference that a function of Python's C API has returned; throws Python's error where it
// is null.
inline py::object checked(PyObject* result) {
  if (!result) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(result);
}

// The tuple (f(0), f(1), ...) with `count` items. f returns new references.
template <class F>
py::object new_tuple(size_t count, const F& f) {
  py::object items = checked(PyTuple_New(static_cast<Py_ssize_t>(count)));
  for (size_t i = 0; i < count; ++i)
    PyTuple_SET_ITEM(items.ptr(), static_cast<Py_ssize_t>(i), checked(f(i)).release().ptr());
  return items;
}

// A part of a message: a text, a number, a shape, or a Python object as repr() shows it. It only refers to
// its value, and text() makes the string. So the many places that call fail() contain no code that makes
// strings.
class Piece {
 public:
  Piece(const char* text) : kind_(kText), text_(text) {}
  Piece(const std::string& text) : Piece(text.c_str()) {}
  Piece(int64_t number) : kind_(kWhole), whole_(number) {}
  Piece(int number) : Piece(int64_t{number}) {}
  Piece(double number) : kind_(kReal), real_(number) {}  // printed as by Python
  Piece(const Shape& shape) : kind_(kShape), shape_(&shape) {}
  Piece(py::handle object) : kind_(kObject), object_(object.ptr()) {}
  std::string text() const;

 private:
  enum { kText, kWhole, kReal, kShape, kObject } kind_;
  union {
    const char* text_;
    int64_t whole_;
    double real_;
    const Shape* shape_;
    PyObject* object_;
  };
};

// The kinds of errors, each with a class in Python:
//   value        OpError, a ValueError: shapes, sizes, numbers out of range
//   dtype        DtypeError, a TypeError: an array of another dtype
//   index        OpIndexError, an IndexError: an element that is not there
//   axis         NumPy's AxisError
//   plain_index  IndexError
//   type         TypeError: an argument of another kind
// The first three are RuntimeErrors, too, as PyTorch's are.
enum class Fault { value, dtype, index, axis, plain_index, type };
void set_errors(py::handle classes);  // a tuple of the six classes in the order of Fault

// Raises the error "[op] got x; expected y", of which the pieces make the text after "[op] ". The error
// object has the attributes op, got (x) and expected (y), found by dividing the text at "; expected ". An
// example:
//   fail(Fault::value, "dot", {"got ", 2, " axes; expected 1"});
[[noreturn]] void fail(Fault fault, const char* op, std::initializer_list<Piece> pieces);

// caught() takes Python's current error, with its traceback, and clears it. raise_again() sets an error as
// the current one.
py::object caught();
void raise_again(const py::object& error);

// What is expected of arguments, and of those of ops whose result has one dimension more.
inline constexpr char kMostDims[] = "at most 8 dimensions, as all tensors of the library have";
inline constexpr char kFewerDims[] = "fewer dimensions: tensors of the library have at most 8";
static_assert(kMaxDims == 8);

// fail() for the two most frequent kinds.
template <class... P>
[[noreturn]] void fail_value(const char* op, const P&... pieces) {
  fail(Fault::value, op, {Piece(pieces)...});
}
template <class... P>
[[noreturn]] void fail_type(const char* op, const P&... pieces) {
  fail(Fault::type, op, {Piece(pieces)...});
}

}  // namespace ranvier::bind
