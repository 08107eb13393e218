#include "bindings/array_lists.h"
#include "kernels/optimizer/clip.h"

namespace ranvier::bind {
namespace {

// gradient_norm(gradients, p) -> the norm of all of them together, a float64 array of one element
py::object gradient_norm(py::handle gradients_, py::handle norm_type) {
  constexpr const char* op = "gradient_norm";
  const double p = real_number(op, "norm_type", norm_type);
  const List gradients(op, "gradients", gradients_);
  if (!gradients.given()) fail_type(op, "got gradients None; expected a list");
  if (!(p > 0)) fail_value(op, "got norm_type " + std::to_string(p) + "; expected a number above 0");
  Output norm = Output::contiguous(DType::float64, {1});
  const auto view = norm.view<double>();
  *view.data = 0;
  if (gradients.size() == 0) return norm.release();
  with_float(Input::floating(op, "gradients", gradients[0]).dtype(), [&](auto tag) {
    using T = decltype(tag);
    for_each_call(gradients, [&](int64_t first, int count) {
      GradientNorm<T> call{};
      Input held[kMaxSegments];
      call.p = p, call.norm = view, call.count = count;
      call.first = first == 0, call.last = first + count == gradients.size();
      for (int i = 0; i < count; ++i) {
        held[i] = Input::exactly(op, "gradients", gradients[first + i], dtype_of_type<T>::value);
        call.gradients[i] = held[i].view<T>();
      }
      invoke_released(call);
    });
  });
  return norm.release();
}

// clip_gradients(gradients, limit, norm): by norm, or by value where norm is None
void clip_gradients(py::handle gradients_, py::handle limit_, py::handle norm_) {
  constexpr const char* op = "clip_gradients";
  const List gradients(op, "gradients", gradients_);
  if (!gradients.given()) fail_type(op, "got gradients None; expected a list");
  if (gradients.size() == 0) return;
  Input limit_held, norm_held;
  const TensorView<double> limit = number_view(one_number(op, "limit", limit_, limit_held));
  const TensorView<double> norm =
      norm_.is_none() ? TensorView<double>() : number_view(one_number(op, "norm", norm_, norm_held));
  with_float(Input::floating(op, "gradients", gradients[0]).dtype(), [&](auto tag) {
    using T = decltype(tag);
    for_each_call(gradients, [&](int64_t first, int count) {
      GradientClip<T> call{};
      call.count = count, call.limit = as_const(limit), call.norm = as_const(norm);
      for (int i = 0; i < count; ++i) call.gradients[i] = in_place<T>(op, gradients, first + i);
      invoke_released(call);
    });
  });
}

}  // namespace

void register_clip(py::module_& m) {
  m.def("gradient_norm", gradient_norm);
  m.def("clip_gradients", clip_gradients);
}

}  // namespace ranvier::bind
