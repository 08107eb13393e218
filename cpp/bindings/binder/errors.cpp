#include "bindings/binder/errors.h"

#include <algorithm>

namespace ranvier::bind {
namespace {

// The classes of the Python layer, once it is loaded.
PyObject *g_op_error = nullptr, *g_dtype_error = nullptr, *g_index_error = nullptr;

// An error with the text "[op] got x; expected y", whose parts are attributes of it.
[[noreturn]] void raise(PyObject* kind, const char* op, std::initializer_list<Piece> pieces) {
  std::string text;
  for (const Piece& piece : pieces) text += piece.text();
  const std::string_view got = "got ", expected = "; expected ";
  const size_t first = text.rfind(got, 0) == 0 ? got.size() : 0,
               end = std::min(text.find(expected), text.size());
  const py::object error =
      checked(PyObject_CallFunction(kind, "s", ("[" + std::string(op) + "] " + text).c_str()));
  error.attr("op") = py::str(op);
  error.attr("got") = py::str(text.substr(first, end - first));
  error.attr("expected") = py::str(text.substr(std::min(end + expected.size(), text.size())));
  PyErr_SetObject(kind, error.ptr());
  throw py::error_already_set();
}

}  // namespace

void set_errors(PyObject* of_ops, PyObject* of_dtypes, PyObject* of_indices) {
  g_op_error = Py_NewRef(of_ops), g_dtype_error = Py_NewRef(of_dtypes);
  g_index_error = Py_NewRef(of_indices);
}

std::string Piece::text() const {
  if (kind_ == kText) return text_;
  if (kind_ == kWhole) return std::to_string(whole_);
  if (kind_ == kReal) return py::str(py::float_(real_));
  if (kind_ == kObject) return py::repr(object_);
  std::string text = "(";
  for (int d = 0; d < shape_->ndim; ++d) text += (d ? ", " : "") + std::to_string(shape_->sizes[d]);
  return text + (shape_->ndim == 1 ? ",)" : ")");
}

void fail_value(const char* op, std::initializer_list<Piece> pieces) {
  raise(g_op_error ? g_op_error : PyExc_ValueError, op, pieces);
}

void fail_index(const char* op, std::initializer_list<Piece> pieces) {
  raise(g_index_error ? g_index_error : PyExc_IndexError, op, pieces);
}

void fail_dtype(const char* op, std::initializer_list<Piece> pieces) {
  raise(g_dtype_error ? g_dtype_error : PyExc_TypeError, op, pieces);
}

void fail_axis(const char* op, std::initializer_list<Piece> pieces) {
  const py::object numpy = checked(PyImport_ImportModule("numpy.exceptions"));
  raise(py::object(numpy.attr("AxisError")).ptr(), op, pieces);
}

void fail_type(const char* op, std::initializer_list<Piece> pieces) { raise(PyExc_TypeError, op, pieces); }

}  // namespace ranvier::bind
