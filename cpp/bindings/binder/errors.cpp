#include "bindings/binder/errors.h"

namespace ranvier::bind {
namespace {

std::string message(const char* op, std::initializer_list<Piece> pieces) {
  std::string text = "[" + std::string(op) + "] ";
  for (const Piece& piece : pieces) text += piece.text();
  return text;
}

// The classes of the Python layer, once it is loaded.
PyObject *g_op_error = nullptr, *g_dtype_error = nullptr, *g_index_error = nullptr;

[[noreturn]] void raise(PyObject* kind, const std::string& text) {
  PyErr_SetString(kind, text.c_str());
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
  raise(g_op_error ? g_op_error : PyExc_ValueError, message(op, pieces));
}

void fail_index(const char* op, std::initializer_list<Piece> pieces) {
  raise(g_index_error ? g_index_error : PyExc_IndexError, message(op, pieces));
}

void fail_dtype(const char* op, std::initializer_list<Piece> pieces) {
  raise(g_dtype_error ? g_dtype_error : PyExc_TypeError, message(op, pieces));
}

void fail_axis(const char* op, std::initializer_list<Piece> pieces) {
  const py::object numpy = checked(PyImport_ImportModule("numpy.exceptions"));
  const py::object kind = numpy.attr("AxisError");
  PyErr_SetObject(kind.ptr(), py::str(message(op, pieces)).ptr());
  throw py::error_already_set();
}

void fail_type(const char* op, std::initializer_list<Piece> pieces) {
  throw py::type_error(message(op, pieces));
}

}  // namespace ranvier::bind
