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

}  // namespace

void register_clip(Module m) {
  def(m, "gradient_norm(gradients, norm_type)", gradient_norm);
  def(m, "clip_gradients(gradients, limit, norm)", clip_gradients);
}

}  // namespace ranvier::bind
