// Losses of scores for C classes against a class index, or for cross_entropy against probabilities p of the
// classes. With the weights w of classes (1 where null), of a line x of C scores and its class t:
//
//   cross_entropy  sum_c q[c] (logsumexp(x) - x[c]) with q[c] = w[c] ((1 - smoothing) p[c] + smoothing / C)
//                  of p, or p = 1 at t and 0 elsewhere; smoothed indices weigh p by w[t]
//   nll            -w[t] x[t]
//
//   x (N, C, d1, ...), any strides; index (N, d1, ...), 0 <= index < C or ignore_index, whose lines have loss
//   0; or probabilities like x (the other one's data is null). Reduction none: loss (N, d1, ...); sum, mean:
//   0-d. divisor, 0-d, is written: what a mean is divided by (1 for other reductions). That is the sum of
//   w[t] over the lines that are not ignored (of indices), or their number.
//   tops_and_sums (2, N, d1, ...), C-contiguous, is written by cross_entropy: max(x) of each line
//   and the sum of exp(x - max(x)); null for the others. A softmax of both has all digits where scores are
//   far from 0, which one of logsumexp(x), rounded, has not. backward: dx, or of_target the gradient of
//   probabilities. Sums are made of partial sums over at most 16 fixed parts of the lines, in order, in
//   double.
#pragma once
#include <cstddef>

#include "base/isa.h"
#include "base/views.h"
#include "kernels/loss/reduction.h"

namespace ranvier {

// X(name, nanoseconds a class takes on one core, roughly)
#define RANVIER_FOR_EACH_CLASS_LOSS(X) X(cross_entropy, 0.25) X(nll, 0.05)

#define RANVIER_X(name, cost) name,
enum class ClassLoss { RANVIER_FOR_EACH_CLASS_LOSS(RANVIER_X) count };
#undef RANVIER_X

struct ClassLossSettings {
  int64_t ignore_index;
  double smoothing;  // cross_entropy
};

template <class T>
struct ClassLossForward {
  RANVIER_CALL("class_loss_forward", x, index, probabilities, weight, loss, tops_and_sums, divisor);
  size_t workspace_bytes(int) const { return 2 * kLossParts * sizeof(double); }
  ClassLoss kind;
  Reduction reduction;
  ClassLossSettings settings;
  TensorView<const T> x;
  TensorView<const int64_t> index;
  TensorView<const T> probabilities, weight;
  TensorView<T> loss, tops_and_sums, divisor;
};

template <class T>
struct ClassLossBackward {
  RANVIER_CALL("class_loss_backward", dy, x, index, probabilities, weight, tops_and_sums, divisor, dx);
  ClassLoss kind;
  Reduction reduction;
  ClassLossSettings settings;
  bool of_target;
  TensorView<const T> dy, x;
  TensorView<const int64_t> index;
  TensorView<const T> probabilities, weight, tops_and_sums, divisor;
  TensorView<T> dx;
};

// Class k of line i is at data[i * line + k * step]. Null: absent.
template <class E>
struct OverLines {
  E* data;
  int64_t line, step;
};

// `count` lines of n classes.
template <class T>
struct ClassLines {
  int64_t count, n;
  OverLines<const T> x, probabilities;
  OverLines<const int64_t> index;
  OverLines<const T> dy;             // one for each line, or with line = 0 one for all
  OverLines<T> tops_and_sums, loss;  // written by forward
  OverLines<T> share;                // each line's share of the divisor, written by forward
  OverLines<const T> saved;          // tops_and_sums, as backward reads it
  OverLines<T> dx;
  const T* weight;  // the weights of n classes, dense
  T scale;          // dy is multiplied by it
  T weights;        // their sum, where smoothing > 0
  ClassLossSettings settings;
};

// cross_entropy of few lines and classes: see small_cross_entropy.h.
constexpr int64_t kSmallLines = 256, kSmallClasses = 16;

template <class T>
struct SmallCrossEntropy {
  // sums: of the losses, and of the lines that are not ignored.
  void (*forward)(const ClassLines<T>&, double (&sums)[2]);
  void (*backward)(const ClassLines<T>&);
};

template <class T>
struct ClassLossKernels {
  using Function = void (*)(const ClassLines<T>&);
  Function forward[int(ClassLoss::count)], backward[int(ClassLoss::count)];
  Function target_backward;  // the gradient of probabilities of cross_entropy
  double (*sum)(int64_t n, const T* x);
  SmallCrossEntropy<T> small;  // null where the level or T has none
};

RANVIER_TABLES(ClassLossKernels, class_loss_kernels)

}  // namespace ranvier
