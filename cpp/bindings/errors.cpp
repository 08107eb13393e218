#include "bindings/errors.h"

namespace ranvier::bind {
namespace {

std::string message(const char* op, std::initializer_list<Piece> pieces) {
  std::string text = "[" + std::string(op) + "] ";
  for (const Piece& piece : pieces) text += piece.text;
  return text;
}

}  // namespace

Piece::Piece(const char* t) : text(t) {}
Piece::Piece(std::string t) : text(std::move(t)) {}
Piece::Piece(int64_t number) : text(std::to_string(number)) {}
Piece::Piece(int number) : text(std::to_string(number)) {}
Piece::Piece(double number) : text(py::str(py::float_(number))) {}
Piece::Piece(const Shape& shape) : text("(") {
  for (int d = 0; d < shape.ndim; ++d) text += (d ? ", " : "") + std::to_string(shape[d]);
  text += shape.ndim == 1 ? ",)" : ")";
}
Piece::Piece(py::handle object) : text(py::repr(object)) {}

void fail_value(const char* op, std::initializer_list<Piece> pieces) {
  throw py::value_error(message(op, pieces));
}

void fail_axis(const char* op, std::initializer_list<Piece> pieces) {
  const auto numpy = py::reinterpret_steal<py::object>(PyImport_ImportModule("numpy.exceptions"));
  if (!numpy) throw py::error_already_set();
  const py::object kind = numpy.attr("AxisError");
  PyErr_SetObject(kind.ptr(), py::str(message(op, pieces)).ptr());
  throw py::error_already_set();
}

void fail_type(const char* op, std::initializer_list<Piece> pieces) {
  throw py::type_error(message(op, pieces));
}

}  // namespace ranvier::bind
