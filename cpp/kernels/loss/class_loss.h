// Losses of scores for C classes. The target of a line x of C scores is the index t of a class, or for
// cross_entropy probabilities p of the classes. With weights w of the classes (1 if weight has no data):
//
//   cross_entropy  sum_c q[c] (logsumexp(x) - x[c]),  q[c] = w[c] ((1 - smoothing) p[c] + smoothing / C);
//                  for an index t, p[t] = 1 and p is 0 elsewhere
//   nll            -w[t] x[t]
//
//   x (N, C, d1, ...), any strides. Either index (N, d1, ...) or probabilities, shaped as x, has data. An
//   index is in [0, C), or ignore_index; a line with ignore_index has loss 0.
//
//   Reduction `none`: loss (N, d1, ...); sum, mean: loss has no dimensions.
//
//   divisor (no dimensions) is written by the forward: by what a mean is divided, else 1. For indices that is
//   the sum of w[t] over the lines that are not ignored; for probabilities it is the number of lines.
//
//   tops_and_sums (2, N, d1, ...), C-contiguous, is written by the forward of cross_entropy: for each line
//   max(x) and the sum of exp(x - max(x)); nll has none. The backward computes the softmax from both numbers,
//   since a softmax from a rounded logsumexp(x) loses digits if scores are far from 0.
//
//   backward: dx is the gradient of x, or with `of_target` that of the probabilities.
//
// Sums consist of partial sums over at most 16 fixed parts of the lines, added in order, in double.
#pragma once
#include <cstddef>

#include "base/isa.h"
#include "base/views.h"
#include "kernels/loss/reduction.h"

namespace ranvier {

// X(name, nanoseconds of a class of a line on one core, roughly)
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

// The number for class k of line i is data[i * line + k * step]. data is null if there is no such operand.
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
  OverLines<const T> dy;             // one number for each line; with dy.line = 0 one for all
  OverLines<T> tops_and_sums, loss;  // written by forward
  OverLines<T> share;                // each line's share of the divisor, written by forward
  OverLines<const T> saved;          // tops_and_sums, as backward reads it
  OverLines<T> dx;
  const T* weight;  // the weights of n classes, contiguous
  T scale;          // a factor of dy
  T weights;        // the sum of the weights, if smoothing > 0
  ClassLossSettings settings;
};

// The most lines and classes of the functions in small_cross_entropy.h.
constexpr int64_t kSmallLines = 256, kSmallClasses = 16;

template <class T>
struct SmallCrossEntropy {
  // sums: the sum of the losses, and the number of lines that are not ignored.
  void (*forward)(const ClassLines<T>&, double (&sums)[2]);
  void (*backward)(const ClassLines<T>&);
};

template <class T>
struct ClassLossKernels {
  using Function = void (*)(const ClassLines<T>&);
  Function forward[int(ClassLoss::count)], backward[int(ClassLoss::count)];
  Function target_backward;  // the gradient of probabilities of cross_entropy
  double (*sum)(int64_t n, const T* x);
  SmallCrossEntropy<T> small;  // null for double, and at the lowest ISA level
};

RANVIER_TABLES(ClassLossKernels, class_loss_kernels)

}  // namespace ranvier
