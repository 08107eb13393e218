// cross_entropy: of logits x against a class, logsumexp(x) - x[class], or against probabilities p,
// sum_k p[k] (logsumexp(x) - x[k]).
//
//   x (N, C, d1, ...), any strides; index (N, d1, ...) with 0 <= index < C, or probabilities like x (the
//   other one's data is null). log_sum_exp (N, d1, ...), C-contiguous, is written for backward. Reduction
//   none: loss (N, d1, ...); sum, mean (over N d1 ...): 0-d, the losses added in order, in double. backward:
//   dx = (exp(x - log_sum_exp) sum_k p[k] - p) dy, or of_target: dp = (log_sum_exp - x) dy.
#pragma once
#include "kernels/loss/loss.h"

namespace ranvier {

template <class T>
struct CrossEntropyForward {
  static constexpr const char* name = "cross_entropy_forward";
  Reduction reduction;
  TensorView<const T> x;
  TensorView<const int64_t> index;
  TensorView<const T> probabilities;
  TensorView<T> loss, log_sum_exp;

  size_t workspace_bytes(int team) const;  // a loss for each line, where they are to be added
  void run(void* workspace) const;
  template <class V>
  void buffers(V& v) const {
    v.read(x), v.read(index), v.read(probabilities), v.write(loss), v.write(log_sum_exp);
  }
};

template <class T>
struct CrossEntropyBackward {
  static constexpr const char* name = "cross_entropy_backward";
  Reduction reduction;
  bool of_target;
  TensorView<const T> dy, x;
  TensorView<const int64_t> index;
  TensorView<const T> probabilities, log_sum_exp;
  TensorView<T> dx;

  size_t workspace_bytes(int) const { return 0; }
  void run(void* workspace) const;
  template <class V>
  void buffers(V& v) const {
    v.read(dy), v.read(x), v.read(index), v.read(probabilities), v.read(log_sum_exp), v.write(dx);
  }
};

// `count` lines of n classes: class k of line i lies at data[i * line + k * step].
template <class T>
struct CrossEntropyLines {
  template <class E>
  struct Lines {
    E* data;
    int64_t line, step;
  };
  int64_t count, n;
  Lines<const T> x, probabilities;
  Lines<const int64_t> index;
  Lines<const T> dy;  // one for each line, or with line = 0 one for all
  Lines<T> log_sum_exp, loss, dx;
  Lines<const T> saved;  // log_sum_exp, as backward reads it
  T scale;               // of dy
};

template <class T>
struct CrossEntropyKernels {
  using Function = void (*)(const CrossEntropyLines<T>&);
  Function forward, backward, target_backward;
};

RANVIER_TABLES(CrossEntropyKernels, cross_entropy_kernels)

}  // namespace ranvier
