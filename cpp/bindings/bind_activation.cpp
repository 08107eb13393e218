#include "bindings/define.h"
#include "kernels/activation/activation.h"

namespace ranvier::bind {
namespace {

#define RANVIER_X(name, op, cost) #name,
constexpr const char* kNames[] = {RANVIER_FOR_EACH_ACTIVATION(RANVIER_X)};
#undef RANVIER_X

struct Settings {
  double alpha = 0, beta = 0;
};

Output forward(Activation kind, const Settings& s, const Input& x, const Out& out) {
  Output y = out.like_or_onto(x, x);
  run_sized<ActivationForward>(x.elements(), x.dtype(), kind, s.alpha, s.beta, x, y);
  return y;
}

Output backward(Activation kind, const Settings& s, const Input& dy, const Input& saved, const Out& out) {
  dy.expect_same_shape(saved);
  Output dx = out.like_or_onto(saved, dy, saved);
  run_sized<ActivationBackward>(dy.elements(), dy.dtype(), kind, s.alpha, s.beta, dy, saved, dx);
  return dx;
}

// name(x, settings, out=None) and name_backward(dy, saved, settings, out=None); saved is x or y, and R a Real
// for each setting.
template <class... R>
void define(Module m, Activation kind, const char* saved, const std::string& settings = "") {
  const std::string name = kNames[static_cast<int>(kind)], rest = ", " + settings + "out=None)";
  def(m, name + "(x" + rest,
      [kind](const Floats& x, R... setting, Out out) { return forward(kind, {setting.number...}, x, out); });
  def(
      m, name + "_backward(dy, " + saved + rest,
      [kind](const Floats& dy, const Floats& saved, R... setting, Out out) {
        return backward(kind, {setting.number...}, dy, saved, out);
      },
      kNames[static_cast<int>(kind)]);
}

}  // namespace

void register_activation(Module m) {
  using A = Activation;
  for (A kind : {A::relu, A::sigmoid, A::tanh}) define<>(m, kind, "y");
  for (A kind : {A::gelu, A::gelu_tanh, A::silu, A::selu, A::mish, A::hardswish, A::hardsigmoid,
                 A::logsigmoid, A::softsign, A::tanhshrink})
    define<>(m, kind, "x");
  define<Real>(m, A::leaky_relu, "x", "negative_slope=0.01, ");
  define<Real>(m, A::heaviside, "x", "values=0.0, ");
  for (A kind : {A::elu, A::celu}) define<Real>(m, kind, "x", "alpha=1.0, ");
  for (A kind : {A::softshrink, A::hardshrink}) define<Real>(m, kind, "x", "lambd=0.5, ");
  define<Real, Real>(m, A::softplus, "x", "beta=1.0, threshold=20.0, ");
  define<Real, Real>(m, A::hardtanh, "x", "min_val=-1.0, max_val=1.0, ");
}

}  // namespace ranvier::bind
