#include "bindings/define.h"
#include "kernels/distance/distance.h"

namespace ranvier::bind {
namespace {

DistanceSettings settings_of(const Input& x1, const Input& x2, const Axis& axis, double eps, double p) {
  x1.expect_same_shape(x2);
  return {axis.of(x1), eps, p};
}

Output forward(Distance kind, const DistanceSettings& s, const Input& x1, const Input& x2, const Out& out) {
  Output y = out.shaped(x1.dtype(), x1.shape().without(s.axis), x1, x2);
  run<DistanceForward>(x1.dtype(), kind, s, x1, x2, y);
  return y;
}

Output backward(Distance kind, const DistanceSettings& s, const Input& dy, const Input& x1, const Input& x2,
                bool of_second, const Out& out) {
  dy.expect_shape(x1.shape().without(s.axis));
  Output dx = out.like(of_second ? x2 : x1, x1, x2, dy);
  run<DistanceBackward>(x1.dtype(), kind, s, of_second, dy, x1, x2, dx);
  return dx;
}

Output cosine(Floats x1, Floats x2, Axis axis, Real eps, Out out) {
  return forward(Distance::cosine_similarity, settings_of(x1, x2, axis, eps, 0), x1, x2, out);
}

Output cosine_backward(Floats dy, Floats x1, Floats x2, Axis axis, Real eps, Truth of_second, Out out) {
  const DistanceSettings s = settings_of(x1, x2, axis, eps, 0);
  return backward(Distance::cosine_similarity, s, dy, x1, x2, of_second, out);
}

Output pairwise(Floats x1, Floats x2, Axis axis, Real p, Real eps, Out out) {
  return forward(Distance::pairwise_distance, settings_of(x1, x2, axis, eps, p.above(0)), x1, x2, out);
}

Output pairwise_backward(Floats dy, Floats x1, Floats x2, Axis axis, Real p, Real eps, Truth of_second,
                         Out out) {
  const DistanceSettings s = settings_of(x1, x2, axis, eps, p.above(0));
  return backward(Distance::pairwise_distance, s, dy, x1, x2, of_second, out);
}

// The gradient of x1 (b, m, d), summed over the pairs with x2 (b, n, d).
Output sums(Floats dy, Floats x1, Floats x2, Real p) {
  if (x1.ndim() != 3) x1.fail("(b, m, d)");
  if (x2.ndim() != 3) x2.fail("(b, n, d)");
  x2.expect_shape({x1.shape(0), x2.shape(1), x1.shape(2)});
  dy.expect_shape({x1.shape(0), x1.shape(1), x2.shape(1)});
  Output dx = Output::contiguous(x1.dtype(), x1.shape());
  run<DistanceSums>(x1.dtype(), p.above(0), dy, x1, x2, dx);
  return dx;
}

}  // namespace

void register_distance(Module m) {
  def(m, "cdist_backward(dy, x1, x2, p)", sums, "cdist");
  def(m, "cosine_similarity(x1, x2, axis=1, eps=1e-8, out=None)", cosine);
  def(m, "cosine_similarity_backward(dy, x1, x2, axis=1, eps=1e-8, of_second=False, out=None)",
      cosine_backward, "cosine_similarity");
  def(m, "pairwise_distance(x1, x2, axis=-1, p=2.0, eps=1e-6, out=None)", pairwise);
  def(m, "pairwise_distance_backward(dy, x1, x2, axis=-1, p=2.0, eps=1e-6, of_second=False, out=None)",
      pairwise_backward, "pairwise_distance");
}

}  // namespace ranvier::bind
