// Binds two functions for each row of RANVIER_FOR_EACH_ACTIVATION (kernels/activation/activation.h), such as
// relu(x, out=None) and relu_backward(dy, y, out=None). Settings of an activation are parameters before
// `out`.
#include <algorithm>

#include "bindings/binder/define.h"
#include "kernels/activation/activation.h"

namespace ranvier::bind {
namespace {

#define RANVIER_X(name, ...) #name,
constexpr const char* kNames[] = {RANVIER_FOR_EACH_ACTIVATION(RANVIER_X)};
#undef RANVIER_X

struct ActivationSettings {
  double alpha = 0, beta = 0;
};

Output forward(Activation kind, const ActivationSettings& s, const Input& x, const Out& out) {
  Output y = out.like_or_onto(x, x);
  run_sized<ActivationForward>(x.elements(), x.dtype(), kind, s.alpha, s.beta, x, y);
  return y;
}

Output backward(Activation kind, const ActivationSettings& s, const Input& dy, const Input& saved,
                const Out& out) {
  dy.expect_same_shape(saved);
  Output dx = out.like_or_onto(saved, dy, saved);
  run_sized<ActivationBackward>(dy.elements(), dy.dtype(), kind, s.alpha, s.beta, dy, saved, dx);
  return dx;
}

// Binds name(x, settings, out=None) and name_backward(dy, saved, settings, out=None). R: a Real for each
// setting; saved: the name of what backward reads, x or y; settings: the text "alpha=0.01, ".
template <class... R>
void define(Module m, Activation kind, const std::string& saved, const std::string& settings) {
  const std::string name = kNames[static_cast<int>(kind)];
  const std::string rest = ", " + settings + "out=None)";
  def(m, name + "(x" + rest,
      [kind](const Reals& x, R... setting, Out out) { return forward(kind, {setting.number...}, x, out); });
  def(
      m, name + "_backward(dy, " + saved + rest,
      [kind](const Reals& dy, const Reals& saved, R... setting, Out out) {
        return backward(kind, {setting.number...}, dy, saved, out);
      },
      kNames[static_cast<int>(kind)]);
}

// define() by the number of settings.
constexpr void (*kDefine[])(Module, Activation, const std::string&, const std::string&) = {
    define<>, define<Real>, define<Real, Real>};

int settings_in(std::string_view text) { return static_cast<int>(std::count(text.begin(), text.end(), '=')); }

}  // namespace

void register_activation(Module m) {
#define RANVIER_X(name, op, cost, saved, settings) \
  kDefine[settings_in(settings)](m, Activation::name, saved, settings);
  RANVIER_FOR_EACH_ACTIVATION(RANVIER_X)
#undef RANVIER_X
}

}  // namespace ranvier::bind
