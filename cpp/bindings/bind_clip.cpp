#include "bindings/array_lists.h"
#include "kernels/optimizer/clip.h"

namespace ranvier::bind {
namespace {

// The norm of all gradients together, an array of one element.
Output gradient_norm(List gradients, Real norm_type) {
  const double p = norm_type.above(0);
  Output norm = Output::contiguous(DType::float64, {1});
  const auto view = norm.view<double>();
  *view.data = 0;
  run_list<GradientNorm>(gradients, [&](auto& call, auto tag, int64_t first, Input* held) {
    call.p = p, call.norm = view;
    call.first = first == 0, call.last = first + call.count == gradients.size();
    for (int i = 0; i < call.count; ++i)
      call.gradients[i] = held[i] = gradients.read<decltype(tag)>(first + i);
  });
  return norm;
}

// By norm, or by value where norm is None.
void clip_gradients(List gradients, OneNumber limit, MaybeExactly<DType::float64> norm) {
  if (gradients.size() != 0 && norm && norm.elements() != 1) norm.fail("one number");
  run_list<GradientClip>(gradients, [&](auto& call, auto tag, int64_t first, Input*) {
    call.limit = limit.number();
    if (norm) call.norm = as_const(number_view(const_cast<double*>(norm.view<double>().data)));
    for (int i = 0; i < call.count; ++i) call.gradients[i] = gradients.in_place<decltype(tag)>(first + i);
  });
}

// One number for each parameter.
void expect_strengths(const Doubles& a, int64_t n) {
  if (!a.has_shape({n}) || (n > 1 && !a.is_contiguous())) a.fail("one number for each of ", n, " parameters");
}

TensorView<const double> part(TensorView<const double> v, int64_t first, int count) {
  v.data += first, v.shape[0] = count;
  return v;
}

// The penalty, an array of one element. gradients None: only the value; else they are scaled, and the
// penalty's are added to them.
Output weight_penalty(List parameters, MaybeList gradients, Doubles l1, Doubles l2, OneNumber scale) {
  gradients.expect_size(parameters.size());
  expect_strengths(l1, parameters.size()), expect_strengths(l2, parameters.size());
  Output value = Output::contiguous(DType::float64, {1});
  const auto total = value.view<double>();
  *total.data = 0;
  run_list<WeightPenalty>(parameters, [&](auto& call, auto tag, int64_t first, Input* held) {
    using T = decltype(tag);
    call.first = first == 0;
    call.l1 = part(l1, first, call.count), call.l2 = part(l2, first, call.count);
    call.scale = scale.number(), call.value = total;
    for (int i = 0; i < call.count; ++i) {
      call.parameters[i] = held[i] = parameters.read<T>(first + i);
      if (!gradients.given()) continue;
      call.gradients[i] = gradients.in_place<T>(first + i);
      gradients.expect_shape(first + i, call.gradients[i], call.parameters[i]);
    }
  });
  return value;
}

}  // namespace

void register_clip(Module m) {
  def(m, "gradient_norm(gradients, norm_type)", gradient_norm);
  def(m, "weight_penalty(parameters, gradients, l1, l2, scale)", weight_penalty);
  def(m, "clip_gradients(gradients, limit, norm)", clip_gradients);
}

}  // namespace ranvier::bind
