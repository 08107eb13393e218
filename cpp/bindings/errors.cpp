// The house's form of error: "[op] got ...; expected ...".
#include "bindings/array_args.h"

namespace ranvier::bind {

void fail_value(const char* op, const std::string& text) {
  throw py::value_error("[" + std::string(op) + "] " + text);
}

void fail_type(const char* op, const std::string& text) {
  throw py::type_error("[" + std::string(op) + "] " + text);
}

std::string shape_text(int ndim, const int64_t* shape) {
  std::string text = "(";
  for (int d = 0; d < ndim; ++d) text += (d ? ", " : "") + std::to_string(shape[d]);
  return text + (ndim == 1 ? ",)" : ")");
}

}  // namespace ranvier::bind
