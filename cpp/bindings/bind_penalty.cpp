#include <pybind11/numpy.h>

#include "bindings/array_args.h"
#include "bindings/array_lists.h"
#include "kernels/optimizer/penalty.h"

namespace ranvier::bind {
namespace {

// One number for each parameter; `held` keeps a copy that had to be made.
TensorView<const double> strengths(const char* op, const char* name, py::handle array, int64_t n,
                                   Input& held) {
  held = Input::exactly(op, name, array, DType::float64);
  const auto v = held.view<double>();
  if (v.ndim != 1 || v.shape[0] != n || (n > 1 && v.strides[0] != 1))
    fail_value(op, std::string("got ") + name + " of shape " + shape_text(v) +
                       "; expected one number for each of " + std::to_string(n) + " parameters");
  return v;
}

TensorView<const double> part(TensorView<const double> v, int64_t first, int count) {
  v.data += first, v.shape[0] = count;
  return v;
}

// weight_penalty(parameters, gradients, l1, l2, scale) -> the penalty, a float64 array of one element;
// gradients None: the value alone, else they are scaled and the penalty's are added to them
py::object weight_penalty(py::handle parameters_, py::handle gradients_, py::handle l1_, py::handle l2_,
                          py::handle scale_) {
  constexpr const char* op = "weight_penalty";
  const List parameters(op, "parameters", parameters_), gradients(op, "gradients", gradients_);
  if (!parameters.given()) fail_type(op, "got parameters None; expected a list");
  gradients.require_size(parameters.size());
  Input l1_held, l2_held, scale_held;
  const auto l1 = strengths(op, "l1", l1_, parameters.size(), l1_held);
  const auto l2 = strengths(op, "l2", l2_, parameters.size(), l2_held);
  const TensorView<double> scale = number_view(one_number(op, "scale", scale_, scale_held));
  Output value = Output::contiguous(DType::float64, {1});
  const auto total = value.view<double>();
  *total.data = 0;
  if (parameters.size() == 0) return value.release();
  with_float(Input::floating(op, "parameters", parameters[0]).dtype(), [&](auto tag) {
    using T = decltype(tag);
    for_each_call(parameters, [&](int64_t first, int count) {
      WeightPenalty<T> call{};
      Input held[kMaxSegments];
      call.first = first == 0, call.count = count;
      call.l1 = part(l1, first, count), call.l2 = part(l2, first, count);
      call.scale = as_const(scale), call.value = total;
      for (int i = 0; i < count; ++i) {
        held[i] = Input::exactly(op, "parameters", parameters[first + i], dtype_of_type<T>::value);
        call.parameters[i] = held[i].view<T>();
        if (!gradients.given()) continue;
        call.gradients[i] = in_place<T>(op, gradients, first + i);
        require_same_shape(op, gradients, first + i, call.gradients[i], call.parameters[i]);
      }
      invoke_released(call);
    });
  });
  return value.release();
}

}  // namespace

void register_penalty(py::module_& m) { m.def("weight_penalty", weight_penalty); }

}  // namespace ranvier::bind
