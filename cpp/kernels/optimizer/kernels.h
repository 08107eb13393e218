// What the optimizer's loops take, and their table for each ISA level.
#pragma once
#include "base/isa.h"
#include "kernels/optimizer/optimizer.h"

namespace ranvier {

// Contiguous elements of one segment.
template <class T>
struct OptimizerRun {
  int64_t n;
  T* p;
  const T* g;
  T* states[kMaxStates];
};

// The numbers of each rule in the parameter's type; t counts steps from 1.
template <class T>
struct GradientNumbers {
  bool maximize;
  T weight_decay;  // added to the gradient
};
template <class T>
struct SgdNumbers : GradientNumbers<T> {
  T lr, momentum, one_minus_dampening;
  bool first, nesterov;
};
template <class T>
struct RmspropNumbers : GradientNumbers<T> {
  T lr, alpha, one_minus_alpha, eps, momentum;
  T least_square;  // smaller means of squares become 0
};
template <class T>
struct AdamNumbers : GradientNumbers<T> {
  T beta2, one_minus_beta1, one_minus_beta2, eps, least_square;
  T shrink;           // 1 - lr weight_decay where the decay is decoupled, else 1
  T step_size;        // adam: lr / (1 - beta1^t)
  T root_correction;  // 1 / sqrt(1 - beta2^t)
  T gradient_size;    // of nadam: what the gradient itself is multiplied by
  bool rectified;     // of radam: the variance is known well enough to divide by
};
template <class T>
struct AdagradNumbers : GradientNumbers<T> {
  T lr, eps;  // lr: already divided by 1 + (t - 1) lr_decay
};
template <class T>
struct AdadeltaNumbers : GradientNumbers<T> {
  T lr, rho, one_minus_rho, eps, least_square;
};
template <class T>
struct RpropNumbers : GradientNumbers<T> {
  T lr, etaminus, etaplus, least, most;
  bool first;
};
template <class T>
struct AsgdNumbers : GradientNumbers<T> {
  T eta, mu, shrink;
};

template <class T>
struct OptimizerKernels {
  void (*sgd)(const OptimizerRun<T>&, const SgdNumbers<T>&);
  void (*rmsprop)(const OptimizerRun<T>&, const RmspropNumbers<T>&);
  void (*adam)(const OptimizerRun<T>&, const AdamNumbers<T>&);
  void (*adagrad)(const OptimizerRun<T>&, const AdagradNumbers<T>&);
  void (*adadelta)(const OptimizerRun<T>&, const AdadeltaNumbers<T>&);
  void (*adamax)(const OptimizerRun<T>&, const AdamNumbers<T>&);
  void (*nadam)(const OptimizerRun<T>&, const AdamNumbers<T>&);
  void (*radam)(const OptimizerRun<T>&, const AdamNumbers<T>&);
  void (*rprop)(const OptimizerRun<T>&, const RpropNumbers<T>&);
  void (*asgd)(const OptimizerRun<T>&, const AsgdNumbers<T>&);
  double (*sum_of_squares)(const T* g, int64_t n);
  double (*sum_of_magnitudes)(const T* g, int64_t n);
  double (*largest_magnitude)(const T* g, int64_t n);  // NaN where there is one
  double (*sum_of_powers)(const T* g, int64_t n, double p);
  double (*dot)(const T* a, const T* b, int64_t n);  // in double
  void (*scale)(T* g, int64_t n, T factor);
  void (*clamp)(T* g, int64_t n, T limit);
  void (*move_towards)(T* average, const T* value, int64_t n, T weight);
  void (*add_scaled)(T* y, const T* x, int64_t n, T factor);  // y += factor x
  void (*add_penalty)(T* g, const T* p, int64_t n, T scale, T l1, T twice_l2);
  double (*penalty)(const T* p, int64_t n, double l1, double l2);  // in double
};

RANVIER_TABLES(OptimizerKernels, optimizer_kernels)

}  // namespace ranvier
