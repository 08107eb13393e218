// ctc_loss: -log of the probability of all paths that give a target (Graves et al. 2006, section 4.1)
//
//   x (t, n, c): log-probabilities; lengths[i]: the steps of sample i, sizes[i]: its labels. These are the
//   first of row i of labels (n, s). The target has a blank before, between and after its labels. loss (n) is
//   infinite where no path fits.
//
//   dx (t, n, c), or data null: holds exp(x) before, and after it the gradient exp(x) - p, with p the share
//   of the paths that have class c at step t: 0 after the sample's steps, and at_infinity where no path fits.
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
  int64_t rows() const;
  void run_one(const Team& team, int64_t i, double* memory) const;  // sample i
  int64_t blank;
  double at_infinity;
  TensorView<const T> x;
  TensorView<const int64_t> labels, lengths, sizes;
  TensorView<T> loss;
  TensorView<T> dx;
};

}  // namespace ranvier
