// The standard error format, "[op] got ...; expected ...".
#pragma once
#include <pybind11/pytypes.h>

#include <initializer_list>
#include <string>

#include "bindings/binder/shape.h"

namespace ranvier::bind {

namespace py = pybind11;

// A new reference that Python has returned; throws where it is null.
inline py::object checked(PyObject* result) {
  if (!result) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(result);
}

// A tuple of f(0), f(1) ...: new references.
template <class F>
py::object new_tuple(size_t count, const F& f) {
  py::object items = checked(PyTuple_New(static_cast<Py_ssize_t>(count)));
  for (size_t i = 0; i < count; ++i)
    PyTuple_SET_ITEM(items.ptr(), static_cast<Py_ssize_t>(i), checked(f(i)).release().ptr());
  return items;
}

// A part of a message: a text, a number, a shape, or a Python object as repr() shows it. It refers to what it
// is made of, and becomes text where the message is made: the places that fail are many.
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
void set_errors(py::handle classes);  // the tuple of these classes, in this order

// Raises the error "[op] " + the pieces, which make "got x; expected y". Its attributes are op, got (x) and
// expected (y): the text is divided at "; expected ". An example:
//   fail(Fault::value, "dot", {"got ", 2, " axes; expected 1"});
[[noreturn]] void fail(Fault fault, const char* op, std::initializer_list<Piece> pieces);

// Python's error, which is then no more raised, with its traceback; and raised again, or another one.
py::object caught();
void raise_again(const py::object& error);

// The usual ones: of shapes and values, and of types.
template <class... P>
[[noreturn]] void fail_value(const char* op, const P&... pieces) {
  fail(Fault::value, op, {Piece(pieces)...});
}
template <class... P>
[[noreturn]] void fail_type(const char* op, const P&... pieces) {
  fail(Fault::type, op, {Piece(pieces)...});
}

}  // namespace ranvier::bind
