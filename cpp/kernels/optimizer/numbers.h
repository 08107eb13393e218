// From a call's settings and a step count to the numbers that a rule's loop takes.
//
// In double before they are rounded: 1 - 0.999 in float is wrong in its fourth digit.
#pragma once
#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/optimizer/kernels.h"

namespace ranvier {

template <class T>
GradientNumbers<T> gradient_numbers(const OptimizerStep<T>& call, double weight_decay) {
  return {call.maximize, T(call.decoupled_decay ? 0 : weight_decay)};
}

// Below which a mean of squares may become 0: the least normal number where eps rounds the difference away,
// even from roots 32 times as large (Adam's first step). Without eps, 0 would be divided by.
template <class T>
T least_square(double eps) {
  constexpr T least = std::numeric_limits<T>::min();
  return 32 * std::sqrt(double(least)) < eps * std::numeric_limits<T>::epsilon() / 4 ? least : 0;
}

template <class T>
SgdNumbers<T> sgd_numbers(const OptimizerStep<T>& call, double step) {
  const double* s = call.settings.data;
  return {gradient_numbers(call, s[3]), T(s[0]), T(s[1]), T(1 - s[2]), step == 0, call.nesterov};
}

template <class T>
RmspropNumbers<T> rmsprop_numbers(const OptimizerStep<T>& call) {
  const double* s = call.settings.data;
  return {gradient_numbers(call, s[4]), T(s[0]), T(s[1]), T(1 - s[1]), T(s[2]), T(s[3]),
          least_square<T>(s[2])};
}

template <class T>
AdagradNumbers<T> adagrad_numbers(const OptimizerStep<T>& call, double step) {
  const double* s = call.settings.data;
  return {gradient_numbers(call, s[3]), T(s[0] / (1 + step * s[1])), T(s[2])};
}

template <class T>
AdadeltaNumbers<T> adadelta_numbers(const OptimizerStep<T>& call) {
  const double* s = call.settings.data;
  return {gradient_numbers(call, s[3]),    T(s[0]), T(s[1]), T(1 - s[1]), T(s[2]),
          least_square<T>(std::sqrt(s[2]))};
}

template <class T>
RpropNumbers<T> rprop_numbers(const OptimizerStep<T>& call, double step) {
  const double* s = call.settings.data;
  return {gradient_numbers(call, 0), T(s[0]), T(s[1]), T(s[2]), T(s[3]), T(s[4]), step == 0};
}

// ASGD's rate of the step after step t.
inline double asgd_rate(const double* settings, double t) {
  return settings[0] / std::pow(1 + settings[1] * settings[0] * t, settings[2]);
}

template <class T>
AsgdNumbers<T> asgd_numbers(const OptimizerStep<T>& call, double step, double rate) {
  const double* s = call.settings.data;
  const double eta = step == 0 ? s[0] : rate;
  return {gradient_numbers(call, s[4]), T(eta), T(1 / std::max(1.0, step - s[3])), T(1 - s[1] * eta)};
}

template <class T>
AdamNumbers<T> adam_numbers(const OptimizerStep<T>& call, double step) {
  const double* s = call.settings.data;
  const double lr = s[0], beta1 = s[1], beta2 = s[2], weight_decay = s[4], t = step + 1;
  AdamNumbers<T> c{};
  static_cast<GradientNumbers<T>&>(c) = gradient_numbers(call, weight_decay);
  c.beta2 = T(beta2);
  c.one_minus_beta1 = T(1 - beta1);
  c.one_minus_beta2 = T(1 - beta2);
  c.eps = T(s[3]);
  c.least_square = least_square<T>(s[3]);
  c.shrink = T(call.decoupled_decay ? 1 - lr * weight_decay : 1);
  c.step_size = T(lr / (1 - std::pow(beta1, t)));
  c.root_correction = T(1 / std::sqrt(1 - std::pow(beta2, t)));
  return c;
}

// The momentum of step t, which rises towards beta1.
inline double nadam_momentum(const double* settings, double t) {
  return settings[1] * (1 - 0.5 * std::pow(0.96, t * settings[5]));
}

// product: of the momenta of the steps before this one.
template <class T>
AdamNumbers<T> nadam_numbers(const OptimizerStep<T>& call, double step, double product) {
  const double* s = call.settings.data;
  const double lr = s[0], now = nadam_momentum(s, step + 1), next = nadam_momentum(s, step + 2);
  AdamNumbers<T> c = adam_numbers(call, step);
  c.gradient_size = T(lr * (1 - now) / (1 - product * now));
  c.step_size = T(lr * next / (1 - product * now * next));
  return c;
}

template <class T>
AdamNumbers<T> radam_numbers(const OptimizerStep<T>& call, double step) {
  const double* s = call.settings.data;
  const double t = step + 1, power = std::pow(s[2], t), correction = 1 - power;
  const double limit = 2 / (1 - s[2]) - 1, length = limit - 2 * t * power / correction;
  AdamNumbers<T> c = adam_numbers(call, step);
  c.rectified = length > 5;
  if (c.rectified) {
    const double rectification =
        std::sqrt((length - 4) * (length - 2) * limit / ((limit - 4) * (limit - 2) * length));
    c.step_size = T(s[0] / (1 - std::pow(s[1], t)) * rectification * std::sqrt(correction));
  }
  return c;
}

}  // namespace ranvier
