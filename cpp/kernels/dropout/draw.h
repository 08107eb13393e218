// draw_rows: k indices for each row, drawn with probabilities in proportion to the elements of the row
// (multinomial), from given random numbers u, which are uniform in [0, 1)
//
//   weights (m, n) any strides, >= 0; chosen (m, k) contiguous
//
//   with replacement, uniform (m, k): chosen[i, j] is the index at which the running sum of row i exceeds
//   uniform[i, j] times the sum of the row.
//
//   without replacement, uniform (m, n): the indices of the k greatest keys log(1 - u) / w, the greatest
//   first (Efraimidis and Spirakis, 2006). If fewer than k weights are > 0, indices of weight 0 follow.
#pragma once
#include <cstddef>

#include "base/views.h"

namespace ranvier {

template <class T>
struct DrawRows {
  RANVIER_CALL("draw_rows", weights, uniform, chosen);
  size_t workspace_bytes(int threads) const { return 16 * static_cast<size_t>(threads * weights.shape[1]); }
  bool replacement;
  TensorView<const T> weights;
  TensorView<const double> uniform;
  TensorView<int64_t> chosen;
};

}  // namespace ranvier
