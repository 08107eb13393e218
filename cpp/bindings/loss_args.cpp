#include "bindings/loss_args.h"

#include <algorithm>
#include <string>

namespace ranvier::bind {

Reduction reduction_of(const char* op, py::handle value, bool batch_mean) {
  const std::string name = word(op, "reduction", value);
  if (name == "mean") return Reduction::mean;
  if (name == "sum") return Reduction::sum;
  if (name == "none") return Reduction::none;
  if (name == "batchmean" && batch_mean) return Reduction::batch_mean;
  fail_value(op, "got reduction '" + name + "'; expected " + (batch_mean ? "'batchmean', " : "") +
                     "'mean', 'sum' or 'none'");
}

void require_shape(const char* op, const char* name, const Input& a, int ndim, const int64_t* shape) {
  if (a.ndim() != ndim || !std::equal(shape, shape + ndim, a.shape()))
    fail_value(op, std::string("got ") + name + " of shape " + shape_text(a.ndim(), a.shape()) +
                       "; expected " + shape_text(ndim, shape));
}

void require_same_shape(const char* op, const char* name_a, const Input& a, const char* name_b,
                        const Input& b) {
  if (a.ndim() != b.ndim() || !std::equal(a.shape(), a.shape() + a.ndim(), b.shape()))
    fail_value(op, std::string("got ") + name_a + " of shape " + shape_text(a.ndim(), a.shape()) + " and " +
                       name_b + " of shape " + shape_text(b.ndim(), b.shape()) + "; expected equal shapes");
}

Output loss_output(const char* op, py::handle out, DType dtype, Reduction reduction, int ndim,
                   const int64_t* shape) {
  return Output::given(op, out, dtype, reduction == Reduction::none ? ndim : 0, shape);
}

}  // namespace ranvier::bind
