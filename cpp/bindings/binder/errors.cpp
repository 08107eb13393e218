// Makes and raises the errors of errors.h.
#include "bindings/binder/errors.h"

#include <algorithm>

namespace ranvier::bind {
static py::tuple* g_classes;  // classes in the order of Fault; null until the Python layer has set them

void set_errors(py::handle classes) { g_classes = new py::tuple(py::reinterpret_borrow<py::tuple>(classes)); }

std::string Piece::text() const {
  if (kind_ == kText) return text_;
  if (kind_ == kWhole) return std::to_string(whole_);
  if (kind_ == kReal) return py::str(py::float_(real_));
  if (kind_ == kObject) return py::repr(object_);
  std::string text = "(";  // a shape, as Python shows a tuple
  for (int d = 0; d < shape_->ndim; ++d) {
    if (d > 0) text += ", ";
    text += std::to_string(shape_->sizes[d]);
  }
  if (shape_->ndim == 1) text += ",";
  return text + ")";
}

void fail(Fault fault, const char* op, std::initializer_list<Piece> pieces) {
  PyObject* error_class = PyExc_ValueError;  // while the module loads
  if (g_classes) error_class = PyTuple_GET_ITEM(g_classes->ptr(), static_cast<int>(fault));
  std::string text;
  for (const Piece& piece : pieces) text += piece.text();
  const std::string_view got = "got ";
  const std::string_view expected = "; expected ";
  const size_t first = text.rfind(got, 0) == 0 ? got.size() : 0;
  const size_t end = std::min(text.find(expected), text.size());
  const std::string message = "[" + std::string(op) + "] " + text;
  const py::object error = checked(PyObject_CallFunction(error_class, "s", message.c_str()));
  error.attr("op") = py::str(op);
  error.attr("got") = py::str(text.substr(first, end - first));
  error.attr("expected") = py::str(text.substr(std::min(end + expected.size(), text.size())));
  PyErr_SetObject(error_class, error.ptr());
  throw py::error_already_set();
}

py::object caught() {
  PyObject *type, *error, *trace;
  PyErr_Fetch(&type, &error, &trace);
  PyErr_NormalizeException(&type, &error, &trace);
  if (trace) PyException_SetTraceback(error, trace);
  Py_XDECREF(type);
  Py_XDECREF(trace);
  return py::reinterpret_steal<py::object>(error);
}

void raise_again(const py::object& error) {
  PyErr_Restore(Py_NewRef(Py_TYPE(error.ptr())), Py_NewRef(error.ptr()),
                PyException_GetTraceback(error.ptr()));
}

}  // namespace ranvier::bind
