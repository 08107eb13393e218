// ctc_loss: -log of the probability of all paths that give a target (Graves et al. 2006, section 4.1). A path
// chooses one class at each step; without blanks and repeated classes it is the target.
//
//   x (t, n, c): log-probabilities of c classes at t steps of n samples. lengths[i]: the steps of sample i.
//   sizes[i]: the number of its labels, which are the first ones of row i of labels (n, s). `blank` is the
//   class of the blank. loss (n) is infinite if no path gives the target.
//
//   dx (t, n, c), or data null: the caller fills it with exp(x), and the call turns it into the gradient
//   exp(x) - p. There p is the share of the paths that have class c at step t. The gradient is 0 after the
//   steps of a sample, and at_infinity if no path gives the target.
#pragma once
#include <cstddef>
#include <cstdint>

#include "base/views.h"

namespace ranvier {

template <class T>
struct CtcLoss {
  RANVIER_CALL("ctc_loss", x, labels, lengths, sizes, loss, in_place(dx));
  size_t workspace_bytes(int threads) const { return threads * bytes_of_thread(); }
  size_t bytes_of_thread() const;
  int64_t rows() const;  // Rows (ctc.cpp) in the workspace of a thread
  void run_one(const Team& team, int64_t i, double* memory) const;  // computes sample i
  int64_t blank;
  double at_infinity;
  TensorView<const T> x;
  TensorView<const int64_t> labels, lengths, sizes;
  TensorView<T> loss;
  TensorView<T> dx;
};

}  // namespace ranvier
