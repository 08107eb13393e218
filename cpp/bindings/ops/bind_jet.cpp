// Binds jet, which takes derivatives of several orders through an element-wise function (forward mode of
// higher order), and its gradients. kernels/jet/jet.h has the formulas.
#include "bindings/binder/define.h"
#include "kernels/jet/jet.h"

namespace ranvier::bind {
namespace {

// Checks that the arrays fit together, and returns the number of the function in RANVIER_FOR_EACH_JET. saved:
// f(x) or x; t: rows of derivatives of x, each of saved's shape; weights: a number for each row of t except
// the last one, for sums of second derivatives; empty for Taylor coefficients.
int read_function(const Name& function, const Input& saved, const Input& t, const Input& weights) {
  using Kinds = std::initializer_list<const char*>;
#define RANVIER_X(name, series) #name,
  const int kind = function.one_of(Kinds{RANVIER_FOR_EACH_JET(RANVIER_X)});
#undef RANVIER_X
  const bool fits = t.ndim() == saved.ndim() + 1 && t.shape().part(1, t.ndim()) == saved.shape();
  if (!fits || t.shape(0) == 0) t.fail("(rows, *shape of saved) with at least one row");
  if (weights) {
    weights.expect_shape({t.shape(0) - 1});
  } else if (t.shape(0) > kMaxJetOrder) {
    t.fail("at most ", kMaxJetOrder, " rows");
  }
  return kind;
}

Output jet(const Floats& saved, const Floats& t, Name function, const MaybeFloats& weights, Out out) {
  const int kind = read_function(function, saved, t, weights);
  Output y = out.like(t, t, saved, weights);
  run<JetForward>(t.dtype(), kind, saved, t, weights, y);
  return y;
}

auto jet_backward(const Floats& dy, const Floats& saved, const Floats& t, Name function,
                  const MaybeFloats& weights) {
  const int kind = read_function(function, saved, t, weights);
  dy.expect_same_shape(t);
  Output dt = Output::like(t, t.dtype());
  Output dx = Output::like(saved, t.dtype());
  run<JetBackward>(t.dtype(), kind, dy, saved, t, weights, dt, dx);
  return std::make_tuple(std::move(dx), std::move(dt));
}

}  // namespace

void register_jet(Module m) {
  def(m, "jet(saved, t, function, weights=None, out=None)", jet);
  def(m, "jet_backward(dy, saved, t, function, weights=None)", jet_backward, "jet");
}

}  // namespace ranvier::bind
