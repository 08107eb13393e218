// Indices of rows drawn in proportion to their elements, from numbers u uniform in [0, 1).
//
//   weights (m, n) any strides, >= 0; chosen (m, k) contiguous
//   replacement   chosen[i, j] is where the running sum of row i passes uniform[i, j] times the whole
//   without it    the k greatest keys log(1 - u) / w, the greatest first (Efraimidis and Spirakis, 2006), for
//                 uniform (m, n); where fewer weights are > 0, others follow these
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
