// optimizer: one step of SGD, RMSprop, Adam or AdamW, and gradient clipping, over a list of parameters
//
// A segment is one parameter with its gradient and state, all of one shape. Parameter and gradient have any
// strides; states are C-contiguous. Everything is updated in place, so storage never moves. What changes from
// step to step is read from buffers: `settings` (learning rate and the other numbers of the rule, float64)
// and each segment's own step count, which the kernel counts up.
//
// Updates are element by element and norms are sums over fixed blocks combined in order, so the bits depend
// on neither the team nor the strides.
#pragma once
#include <cstddef>

#include "base/isa.h"
#include "base/tensor_view.h"

namespace ranvier {

constexpr int kMaxSegments = 32;  // of one call; longer lists take several
constexpr int kMaxStates = 3;

enum class OptimizerRule { sgd, rmsprop, adam };

template <class T>
struct OptimizerSegment {
  TensorView<T> parameter;
  TensorView<const T> gradient;
  TensorView<T> states[kMaxStates];  // data null where the rule has no such state
  TensorView<double> step;           // one element: steps taken before this one
};

//   rule      settings                                     states
//   sgd       lr, momentum, dampening, weight_decay        momentum_buffer
//   rmsprop   lr, alpha, eps, momentum, weight_decay       square_avg, momentum_buffer, grad_avg
//   adam      lr, beta1, beta2, eps, weight_decay          exp_avg, exp_avg_sq, max_exp_avg_sq
template <class T>
struct OptimizerStep {
  static constexpr const char* name = "optimizer_step";
  OptimizerRule rule;
  bool nesterov, decoupled_decay, maximize;
  int count;
  TensorView<const double> settings;
  OptimizerSegment<T> segments[kMaxSegments];

  size_t workspace_bytes(int) const { return 0; }
  void run(void* workspace) const;
  template <class V>
  void buffers(V& v) const {
    v.read(settings);
    for (int i = 0; i < count; ++i) {
      const OptimizerSegment<T>& s = segments[i];
      v.read(s.parameter), v.write(s.parameter), v.read(s.gradient), v.read(s.step), v.write(s.step);
      for (const TensorView<T>& state : s.states)
        if (state.data) v.read(state), v.write(state);
    }
  }
};

// norm = (sum over all gradients of |g|^p)^(1/p), or the largest |g| for p = infinity. A list longer than
// kMaxSegments takes several calls: the first sets `norm` to the sum, the last takes the root.
template <class T>
struct GradientNorm {
  static constexpr const char* name = "gradient_norm";
  double p;
  bool first, last;
  int count;
  TensorView<double> norm;  // one element
  TensorView<const T> gradients[kMaxSegments];

  size_t workspace_bytes(int team) const;
  void run(void* workspace) const;
  template <class V>
  void buffers(V& v) const {
    if (!first) v.read(norm);
    v.write(norm);
    for (int i = 0; i < count; ++i) v.read(gradients[i]);
  }
};

// By norm: g *= min(1, limit / (norm + 1e-6)). By value (norm's data is null): g = clamp(g, -limit, limit).
template <class T>
struct GradientClip {
  static constexpr const char* name = "gradient_clip";
  int count;
  TensorView<const double> norm, limit;  // one element each
  TensorView<T> gradients[kMaxSegments];

  size_t workspace_bytes(int) const { return 0; }
  void run(void* workspace) const;
  template <class V>
  void buffers(V& v) const {
    if (norm.data) v.read(norm);
    v.read(limit);
    for (int i = 0; i < count; ++i) v.read(gradients[i]), v.write(gradients[i]);
  }
};

// Contiguous elements of one segment, and the numbers of its rule in the parameter's type.
template <class T>
struct OptimizerRun {
  int64_t n;
  T* p;
  const T* g;
  T* states[kMaxStates];
};
template <class T>
struct SgdNumbers {
  T lr, momentum, one_minus_dampening, weight_decay;
  bool first, nesterov, maximize;
};
template <class T>
struct RmspropNumbers {
  T lr, alpha, one_minus_alpha, eps, momentum, weight_decay;
  bool maximize;
};
template <class T>
struct AdamNumbers {
  T beta2, one_minus_beta1, one_minus_beta2, eps;
  T step_size;        // lr / (1 - beta1^t)
  T root_correction;  // 1 / sqrt(1 - beta2^t)
  T weight_decay;     // added to the gradient
  T shrink;           // 1 - lr weight_decay where the decay is decoupled, else 1
  bool maximize;
};

template <class T>
struct OptimizerKernels {
  void (*sgd)(const OptimizerRun<T>&, const SgdNumbers<T>&);
  void (*rmsprop)(const OptimizerRun<T>&, const RmspropNumbers<T>&);
  void (*adam)(const OptimizerRun<T>&, const AdamNumbers<T>&);
  double (*sum_of_squares)(const T* g, int64_t n);
  double (*sum_of_magnitudes)(const T* g, int64_t n);
  double (*largest_magnitude)(const T* g, int64_t n);  // NaN where there is one
  void (*scale)(T* g, int64_t n, T factor);
  void (*clamp)(T* g, int64_t n, T limit);
};

RANVIER_TABLES(OptimizerKernels, optimizer_kernels)

}  // namespace ranvier
