// Binds cosine_similarity and pairwise_distance (of x1 and x2 along an axis) and cdist (of all pairs of
// rows), with their gradients. of_second: the gradient of x2, not of x1.
#include "bindings/binder/copied.h"
#include "bindings/binder/define.h"
#include "kernels/distance/distance.h"
#include "kernels/distance/pairs.h"

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

Output cosine(const Floats& x1, const Floats& x2, Axis axis, Real eps, Out out) {
  return forward(Distance::cosine_similarity, settings_of(x1, x2, axis, eps, 0), x1, x2, out);
}

Output cosine_backward(const Floats& dy, const Floats& x1, const Floats& x2, Axis axis, Real eps,
                       Truth of_second, Out out) {
  const DistanceSettings s = settings_of(x1, x2, axis, eps, 0);
  return backward(Distance::cosine_similarity, s, dy, x1, x2, of_second, out);
}

Output pairwise(const Floats& x1, const Floats& x2, Axis axis, Real p, Real eps, Out out) {
  return forward(Distance::pairwise_distance, settings_of(x1, x2, axis, eps, p.above(0)), x1, x2, out);
}

Output pairwise_backward(const Floats& dy, const Floats& x1, const Floats& x2, Axis axis, Real p, Real eps,
                         Truth of_second, Out out) {
  const DistanceSettings s = settings_of(x1, x2, axis, eps, p.above(0));
  return backward(Distance::pairwise_distance, s, dy, x1, x2, of_second, out);
}

// The shape of cdist's result: (..., m, n) for all pairs of rows of x1 (..., m, d) and x2 (..., n, d).
// Without x2, a vector of the pairs i < j of rows of x1 (n, d).
Shape pairs_of(const Input& x1, const Input& x2) {
  const int last = x1.ndim() - 1;
  if (!x2) {
    if (last != 1) x1.fail("(n, d)");
    return {x1.shape(0) * (x1.shape(0) - 1) / 2};
  }
  if (last < 1) x1.fail("(..., m, d)");
  Shape shape = x1.shape();
  if (x2.ndim() != x1.ndim() || x2.shape(last) != shape[last] ||
      x2.shape().part(0, last - 1) != shape.part(0, last - 1))
    fail_value(x1.op(), "got x1 of shape ", shape, " and x2 of shape ", x2.shape(),
               "; expected (..., m, d) and (..., n, d)");
  shape[last] = x2.shape(last - 1);
  return shape;
}

Output cdist(const Floats& given_x1, const MaybeFloats& x2, Real p) {
  const Input x1 = contiguous(given_x1);
  Output y = Output::contiguous(x1.dtype(), pairs_of(x1, x2));
  const bool of_one = !x2;  // the distances within x1
  const Input other = of_one ? x1 : contiguous(x2);
  run<PairDistances>(x1.dtype(), p.at_least(0), of_one, x1, other, y);
  return y;
}

Output cdist_backward(const Floats& dy, const Floats& y, const Floats& given_x1, const MaybeFloats& x2,
                      Real p, Truth of_second) {
  const Input x1 = contiguous(given_x1);
  dy.expect_shape(pairs_of(x1, x2));
  y.expect_shape(dy.shape());
  const Input other = x2 ? contiguous(x2) : x1;
  Output dx = Output::contiguous(x1.dtype(), (of_second ? other : x1).shape());
  run<PairGradients>(x1.dtype(), p.at_least(0), !x2, x2 && of_second, contiguous(dy), contiguous(y), x1,
                     other, dx);
  return dx;
}

}  // namespace

void register_distance(Module m) {
  def(m, "cdist(x1, x2=None, p=2.0)", cdist);
  def(m, "cdist_backward(dy, y, x1, x2=None, p=2.0, of_second=False)", cdist_backward, "cdist");
  def(m, "cosine_similarity(x1, x2, axis=1, eps=1e-8, out=None)", cosine);
  def(m, "cosine_similarity_backward(dy, x1, x2, axis=1, eps=1e-8, of_second=False, out=None)",
      cosine_backward, "cosine_similarity");
  def(m, "pairwise_distance(x1, x2, axis=-1, p=2.0, eps=1e-6, out=None)", pairwise);
  def(m, "pairwise_distance_backward(dy, x1, x2, axis=-1, p=2.0, eps=1e-6, of_second=False, out=None)",
      pairwise_backward, "pairwise_distance");
}

}  // namespace ranvier::bind
