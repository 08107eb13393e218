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

[[noreturn]] void fail_value(const char* op, std::initializer_list<Piece> pieces);
[[noreturn]] void fail_type(const char* op, std::initializer_list<Piece> pieces);
[[noreturn]] void fail_dtype(const char* op, std::initializer_list<Piece> pieces);
[[noreturn]] void fail_index(const char* op, std::initializer_list<Piece> pieces);
// The errors that fail_value, fail_dtype and fail_index raise: subclasses of ValueError, TypeError and
// IndexError that are RuntimeErrors, too.
void set_errors(PyObject* of_ops, PyObject* of_dtypes, PyObject* of_indices);
// NumPy's AxisError, which is a ValueError and, as PyTorch's error, an IndexError.
[[noreturn]] void fail_axis(const char* op, std::initializer_list<Piece> pieces);

// `[op] text` as ValueError (shapes, values) or TypeError (types, dtypes); the pieces are the text.
template <class... P>
[[noreturn]] void fail_value(const char* op, const P&... pieces) {
  fail_value(op, {Piece(pieces)...});
}
template <class... P>
[[noreturn]] void fail_type(const char* op, const P&... pieces) {
  fail_type(op, {Piece(pieces)...});
}

}  // namespace ranvier::bind
