// The update rules of the optimizers, for one ISA level: their list, and a class for each.
//
// The members of a class are the settings of the rule: the arguments of the Python class's constructor in
// their order, a flag as 1 or 0. All are doubles, as which Python passes them (settings_of()). of(s, past)
// returns the update of one step, a function of a run and an index i. It first computes all numbers that
// depend on settings alone, in double, and then rounds them to T: 1 - 0.999 in float is wrong in its fourth
// digit. The update handles the vector of elements that begins at i; optimizer.isa.cpp applies it to whole
// arrays. r.states[k] is the k-th of the arrays that the Python class names in _states and then in _optional;
// it is null if it is not in use.
#pragma once
#include "kernels/optimizer/rule_parts.h"

// X(name, class, how many states it always has, how many states settings may add, NextNumber (kernels.h) or
// nullptr). optimizer.isa.cpp makes the table of rules of it.
#define RANVIER_FOR_EACH_OPTIMIZER(X)   \
  X(sgd, Sgd, 0, 1, nullptr)            \
  X(rmsprop, Rmsprop, 1, 2, nullptr)    \
  X(adam, Adam, 2, 1, nullptr)          \
  X(adagrad, Adagrad, 1, 0, nullptr)    \
  X(adadelta, Adadelta, 2, 0, nullptr)  \
  X(adamax, Adamax, 2, 0, nullptr)      \
  X(nadam, Nadam, 2, 0, Nadam<T>::next) \
  X(radam, Radam, 2, 0, nullptr)        \
  X(rprop, Rprop, 2, 0, nullptr)        \
  X(asgd, Asgd, 1, 0, Asgd<T>::next)

namespace ranvier::RANVIER_ISA {

// Sutskever et al., "On the importance of initialization and momentum in deep learning" (2013), in PyTorch's
// form: the learning rate multiplies the whole velocity.
template <class T>
struct Sgd {
  double lr, momentum, dampening, weight_decay, nesterov, maximize;

  static auto of(const Sgd& s, const OptimizerPast& past) {
    const Gradient<T> gradient(s.maximize, s.weight_decay);
    const T lr(s.lr);
    const T momentum(s.momentum);
    const T share(1 - s.dampening);
    const bool first = past.steps == 0;
    const bool nesterov = s.nesterov != 0;
    return [=](const OptimizerRun<T>& r, int64_t i) RANVIER_INLINED {
      const vec<T> p = load(r.p + i);
      vec<T> g = gradient(r, i, p);
      if (T* velocity = r.states[0]) {
        const vec<T> next = fma(broadcast(momentum), load(velocity + i), broadcast(share) * g);
        const vec<T> started = first ? g : next;
        const vec<T> v = without_subnormals<T>(started);
        store(velocity + i, v);
        g = nesterov ? fma(broadcast(momentum), v, g) : v;
      }
      store(r.p + i, fma(broadcast(-lr), g, p));
    };
  }
};

// Tieleman and Hinton, lecture 6.5 of "Neural Networks for Machine Learning" (2012); centered: Graves (2013).
template <class T>
struct Rmsprop {
  double lr, alpha, eps, weight_decay, momentum, centered, maximize;

  static auto of(const Rmsprop& s, const OptimizerPast&) {
    const Gradient<T> gradient(s.maximize, s.weight_decay);
    const Mean<T> mean(s.alpha);
    const Mean<T> square(s.alpha, s.eps);
    const T lr(s.lr);
    const T eps(s.eps);
    const T momentum(s.momentum);
    return [=](const OptimizerRun<T>& r, int64_t i) RANVIER_INLINED {
      const vec<T> p = load(r.p + i);
      const vec<T> g = gradient(r, i, p);
      vec<T> variance = square.of_squares(r.states[0] + i, g);
      if (r.states[2]) {  // centered: the mean of the gradients
        const vec<T> m = mean(r.states[2] + i, g);
        variance = fma(-m, m, variance);
      }
      vec<T> direction = g / (sqrt(variance) + broadcast(eps));
      if (T* velocity = r.states[1]) {
        direction = without_subnormals<T>(fma(broadcast(momentum), load(velocity + i), direction));
        store(velocity + i, direction);
      }
      store(r.p + i, fma(broadcast(-lr), direction, p));
    };
  }
};

// Duchi, Hazan and Singer, "Adaptive Subgradient Methods" (2011).
template <class T>
struct Adagrad {
  double lr, lr_decay, weight_decay, initial_accumulator_value, eps, maximize;

  static auto of(const Adagrad& s, const OptimizerPast& past) {
    const Gradient<T> gradient(s.maximize, s.weight_decay);
    const T lr(s.lr / (1 + past.steps * s.lr_decay));
    const T eps(s.eps);
    return [=](const OptimizerRun<T>& r, int64_t i) RANVIER_INLINED {
      const vec<T> p = load(r.p + i);
      const vec<T> g = gradient(r, i, p);
      const vec<T> sum = fma(g, g, load(r.states[0] + i));
      store(r.states[0] + i, sum);
      store(r.p + i, fma(broadcast(-lr), g / (sqrt(sum) + broadcast(eps)), p));
    };
  }
};

// Zeiler, "ADADELTA: An Adaptive Learning Rate Method" (2012).
template <class T>
struct Adadelta {
  double lr, rho, eps, weight_decay, maximize;

  static auto of(const Adadelta& s, const OptimizerPast&) {
    const Gradient<T> gradient(s.maximize, s.weight_decay);
    const Mean<T> square(s.rho, ::sqrt(s.eps));
    const T lr(s.lr);
    const T eps(s.eps);
    return [=](const OptimizerRun<T>& r, int64_t i) RANVIER_INLINED {
      const vec<T> p = load(r.p + i);
      const vec<T> g = gradient(r, i, p);
      const vec<T> e = broadcast(eps);
      const vec<T> size = sqrt(square.of_squares(r.states[0] + i, g) + e);
      const vec<T> delta = sqrt(load(r.states[1] + i) + e) / size * g;
      square.of_squares(r.states[1] + i, delta);
      store(r.p + i, fma(broadcast(-lr), delta, p));
    };
  }
};

// Riedmiller and Braun, "A direct adaptive method for faster backpropagation learning" (1993). If the sign of
// a gradient has changed, the element keeps its value, and 0 is stored as its gradient, so that the next step
// finds no change of sign.
template <class T>
struct Rprop {
  double lr, etaminus, etaplus, least, most, maximize;

  static auto of(const Rprop& s, const OptimizerPast& past) {
    const Gradient<T> gradient(s.maximize, 0);
    const T lr(s.lr);
    const T etaminus(s.etaminus);
    const T etaplus(s.etaplus);
    const T least(s.least);
    const T most(s.most);
    const bool first = past.steps == 0;
    return [=](const OptimizerRun<T>& r, int64_t i) RANVIER_INLINED {
      const vec<T> p = load(r.p + i);
      const vec<T> g = gradient(r, i, p);
      const vec<T> zero{};
      const vec<T> one = broadcast(T(1));
      const vec<T> product = g * load(r.states[0] + i);  // below 0 where the sign has changed
      const vec<T> old = first ? broadcast(lr) : load(r.states[1] + i);
      const vec<T> grown = select(product > 0, broadcast(etaplus) * old, old);
      vec<T> size = select(product < 0, broadcast(etaminus) * old, grown);
      size = select(size < broadcast(least), broadcast(least), size);
      size = select(size > broadcast(most), broadcast(most), size);
      const vec<T> kept = select(product < 0, zero, g);
      const vec<T> sign = select(kept > 0, one, select(kept < 0, -one, zero));  // NaN: 0, as in PyTorch
      store(r.states[0] + i, kept);
      store(r.states[1] + i, size);
      store(r.p + i, fma(-sign, size, p));
    };
  }
};

// Polyak and Juditsky, "Acceleration of stochastic approximation by averaging" (1992), in PyTorch's form. The
// number of each parameter is the rate of its next step.
template <class T>
struct Asgd {
  double lr, lambd, alpha, t0, weight_decay, maximize;

  static double next(const double* settings, double steps, double) {
    const Asgd& s = settings_of<Asgd>(settings);
    return s.lr / ::pow(1 + s.lambd * s.lr * steps, s.alpha);
  }
  static auto of(const Asgd& s, const OptimizerPast& past) {
    const Gradient<T> gradient(s.maximize, s.weight_decay);
    const double rate = past.steps == 0 ? s.lr : past.number;
    const double averaged = past.steps - s.t0;  // how many steps the mean is of
    const double share = averaged > 1 ? 1 / averaged : 1;
    const T eta(rate);
    const T mu(share);
    const T shrink(1 - s.lambd * rate);
    return [=](const OptimizerRun<T>& r, int64_t i) RANVIER_INLINED {
      const vec<T> old = load(r.p + i);
      const vec<T> g = gradient(r, i, old);
      const vec<T> p = fma(broadcast(-eta), g, broadcast(shrink) * old);
      const vec<T> mean = load(r.states[0] + i);
      const vec<T> moved = fma(broadcast(mu), p - mean, mean);
      const vec<T> next = mu == 1 ? p : moved;  // p itself, without the rounding of p - mean
      store(r.states[0] + i, next);
      store(r.p + i, p);
    };
  }
};

// Kingma and Ba, "Adam" (2015); AMSGrad: Reddi et al. (2018); decoupled decay: Loshchilov and Hutter (2019).
template <class T>
struct Adam {
  double lr, beta1, beta2, eps, weight_decay, amsgrad, maximize, decoupled_weight_decay;

  static auto of(const Adam& s, const OptimizerPast& past) {
    const Moments<T> moments(s, s.decoupled_weight_decay);
    const double t = past.steps + 1;
    const T eps(s.eps);
    const T size(s.lr / (1 - ::pow(s.beta1, t)));
    const T correction(1 / ::sqrt(1 - ::pow(s.beta2, t)));
    return [=](const OptimizerRun<T>& r, int64_t i) RANVIER_INLINED {
      const auto [p, g, m] = moments.start(r, i);
      vec<T> v = moments.square.of_squares(r.states[1] + i, g);
      if (T* largest = r.states[2]) {
        v = max(load(largest + i), v);
        store(largest + i, v);
      }
      const vec<T> denominator = fma(root<T>(v, i / lanes<T>), broadcast(correction), broadcast(eps));
      store(r.p + i, fma(broadcast(-size), m / denominator, p));
    };
  }
};

// Section 7 of Kingma and Ba (2015): the largest gradient, which decays exponentially, in place of Adam's
// root.
template <class T>
struct Adamax {
  double lr, beta1, beta2, eps, weight_decay, maximize;

  static auto of(const Adamax& s, const OptimizerPast& past) {
    const Moments<T> moments(s, /*decoupled=*/false);
    const T beta2(s.beta2);
    const T eps(s.eps);
    const T size(s.lr / (1 - ::pow(s.beta1, past.steps + 1)));
    return [=](const OptimizerRun<T>& r, int64_t i) RANVIER_INLINED {
      const auto [p, g, m] = moments.start(r, i);
      const vec<T> largest = max(broadcast(beta2) * load(r.states[1] + i), abs(g) + broadcast(eps));
      store(r.states[1] + i, largest);
      store(r.p + i, fma(broadcast(-size), m / largest, p));
    };
  }
};

// Dozat, "Incorporating Nesterov Momentum into Adam" (2016). The number of each parameter is the product of
// the momenta of its steps.
template <class T>
struct Nadam {
  double lr, beta1, beta2, eps, weight_decay, momentum_decay, decoupled_weight_decay, maximize;

  // The momentum of step t, which rises towards beta1.
  static double momentum(const Nadam& s, double t) {
    return s.beta1 * (1 - 0.5 * ::pow(0.96, t * s.momentum_decay));
  }
  static double next(const double* settings, double steps, double product) {
    return product * momentum(settings_of<Nadam>(settings), steps);
  }
  static auto of(const Nadam& s, const OptimizerPast& past) {
    const Moments<T> moments(s, s.decoupled_weight_decay);
    const double t = past.steps + 1;
    const double now = momentum(s, t);
    const double next = momentum(s, t + 1);
    const T of_gradient(s.lr * (1 - now) / (1 - past.number * now));
    const T of_mean(s.lr * next / (1 - past.number * now * next));
    const T eps(s.eps);
    const T correction(1 / ::sqrt(1 - ::pow(s.beta2, t)));
    return [=](const OptimizerRun<T>& r, int64_t i) RANVIER_INLINED {
      const auto [p, g, m] = moments.start(r, i);
      const vec<T> v = moments.square.of_squares(r.states[1] + i, g);
      const vec<T> denominator = fma(sqrt(v), broadcast(correction), broadcast(eps));
      store(r.p + i, p - fma(broadcast(of_mean), m, broadcast(of_gradient) * g) / denominator);
    };
  }
};

// Liu et al., "On the Variance of the Adaptive Learning Rate and Beyond" (2020).
template <class T>
struct Radam {
  double lr, beta1, beta2, eps, weight_decay, decoupled_weight_decay, maximize;

  static auto of(const Radam& s, const OptimizerPast& past) {
    const Moments<T> moments(s, s.decoupled_weight_decay);
    const double t = past.steps + 1;
    const double power = ::pow(s.beta2, t);
    const double correction = 1 - power;
    const double limit = 2 / (1 - s.beta2) - 1;
    const double length = limit - 2 * t * power / correction;
    const double share = (length - 4) * (length - 2) * limit / ((limit - 4) * (limit - 2) * length);
    const bool rectified = length > 5;  // the variance is known well enough for a division by its root
    const double rate = s.lr / (1 - ::pow(s.beta1, t));
    const double rectified_rate = rate * ::sqrt(share) * ::sqrt(correction);  // NaN if not rectified
    const T eps(s.eps);
    const T size(rectified ? rectified_rate : rate);
    return [=](const OptimizerRun<T>& r, int64_t i) RANVIER_INLINED {
      const auto [p, g, m] = moments.start(r, i);
      const vec<T> v = moments.square.of_squares(r.states[1] + i, g);
      const vec<T> direction = rectified ? m / (sqrt(v) + broadcast(eps)) : m;
      store(r.p + i, fma(broadcast(-size), direction, p));
    };
  }
};

}  // namespace ranvier::RANVIER_ISA
