// ctc_loss: -log of the probability of all paths that give a target (Graves et al. 2006, section 4.1)
//
//   x (t, n, c): log-probabilities; labels (n, s), of which the first sizes[i] count; lengths[i]: the steps
//   of sample i. The target has a blank before, between and after its labels. loss (n); dx (t, n, c),
//   contiguous, is the gradient of the loss, 0 after the sample's steps. Where no path fits, the loss is
//   infinite, and dx is at_infinity. Sums of probabilities are logarithms in double: products of many leave
//   its range.
#pragma once
#include <cstddef>
#include <cstdint>

#include "base/views.h"

namespace ranvier {

struct CtcLoss {
  RANVIER_CALL("ctc_loss", x, labels, lengths, sizes, loss, dx);
  size_t workspace_bytes(int threads) const { return threads * bytes_of_thread(); }
  size_t bytes_of_thread() const;
  int64_t blank;
  double at_infinity;
  TensorView<const double> x;
  TensorView<const int64_t> labels, lengths, sizes;
  TensorView<double> loss;
  TensorView<double> dx;  // or data null
};

}  // namespace ranvier
