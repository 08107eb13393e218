// optimizer: one step of an update rule over a list of parameters
//
// A segment is one parameter with its gradient and state, all of one shape. Parameter and gradient have any
// strides; states are C-contiguous. Everything is updated in place, so storage never moves. What changes from
// step to step is read from buffers: `settings` (learning rate and the other numbers of the rule, float64)
// and each segment's own step count, which the kernel counts up.
//
// Updates are element by element, so the bits depend on neither the team nor the strides.
//
// A step whose loss is given and is NaN or infinite changes nothing: neither parameters nor states nor
// counts.
#pragma once
#include <cstddef>

#include "base/views.h"

namespace ranvier {

constexpr int kMaxSegments = 32;  // of one call; longer lists take several
constexpr int kMaxStates = 3;

enum class OptimizerRule { sgd, rmsprop, adam, adagrad, adadelta, adamax, nadam, radam, rprop, asgd };

template <class T>
struct OptimizerSegment {
  TensorView<T> parameter;
  TensorView<const T> gradient;
  TensorView<T> states[kMaxStates];  // data null where the rule has no such state
  TensorView<double> step;           // one element: steps taken before this one
  TensorView<double> product;        // one element: nadam's product of its momenta, 1 at first; asgd's eta
};

//   rule      settings                                             states
//   sgd       lr, momentum, dampening, weight_decay                momentum_buffer
//   rmsprop   lr, alpha, eps, momentum, weight_decay               square_avg, momentum_buffer, grad_avg
//   adam      lr, beta1, beta2, eps, weight_decay                  exp_avg, exp_avg_sq, max_exp_avg_sq
//   adagrad   lr, lr_decay, eps, weight_decay                      sum
//   adadelta  lr, rho, eps, weight_decay                           square_avg, acc_delta
//   adamax    lr, beta1, beta2, eps, weight_decay                  exp_avg, exp_inf
//   nadam     lr, beta1, beta2, eps, weight_decay, momentum_decay  exp_avg, exp_avg_sq
//   radam     lr, beta1, beta2, eps, weight_decay                  exp_avg, exp_avg_sq
//   rprop     lr, etaminus, etaplus, least and most step size      prev, step_size
//   asgd      lr, lambd, alpha, t0, weight_decay                   ax
template <class T>
struct OptimizerStep {
  static constexpr const char* name = "optimizer_step";
  OptimizerRule rule;
  bool nesterov, decoupled_decay, maximize;
  int count;
  TensorView<const double> settings;
  TensorView<const float> loss;          // one element, or data null
  TensorView<const double> loss_double;  // the same, for a loss in double
  OptimizerSegment<T> segments[kMaxSegments];

  void run(const Team& team, void* workspace) const;
  void buffers(ViewList& v) const {
    v.add(settings, loss, loss_double);
    for (int i = 0; i < count; ++i) {
      const OptimizerSegment<T>& s = segments[i];
      v.add(in_place(s.parameter), s.gradient, in_place(s.step), in_place(s.product), in_place(s.states));
    }
  }
};

}  // namespace ranvier
