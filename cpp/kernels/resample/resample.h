// resample: images whose rows and columns are weighted sums of a few rows and columns of others. interpolate
// does this, and pad in its modes reflect, replicate and circular; `transposed`, their gradients.
//
//   x (n, c, h, w), y (n, c, h', w'); any strides in x. y is dense and either channels-last or NCHW;
//   `channels_last` says which.
//   y[n, c, i, j] = sum over h, w of R[i, h] C[j, w] x[n, c, h, w]
//   R and C, one for each axis, have at most four entries for each output (axis.h); transposed, R^T and C^T.
//
// First rows are summed into one row, then its columns. Each thread writes its own rows, and every sum is in
// order of the inputs: the bits do not depend on the team.
#pragma once
#include <cstddef>

#include "base/isa.h"
#include "base/views.h"
#include "kernels/resample/axis.h"

namespace ranvier {

template <class T>
struct Resample {
  RANVIER_CALL("resample", x, y);
  size_t workspace_bytes(int threads) const;
  TensorView<const T> x;
  TensorView<T> y;
  ResampleAxis rows, columns;  // of the direction that is not transposed
  bool transposed, channels_last;
};

// One axis's matrix: row i has the entries [starts[i], starts[i + 1]). A table, made once for a call: to
// compute the entries of an output takes 2 to 8 times as long as to use them.
template <class T>
struct ResampleTable {
  int64_t size;
  int32_t *starts, *inputs;
  T* weights;
  int32_t* runs;  // so many outputs from i on are copies of consecutive inputs
  // The k-th entry of every row at [k * size, (k + 1) * size), with weight 0 where the row has fewer. 0
  // levels: rows have many entries, or there are long runs of copies.
  int32_t levels;
  int32_t* level_inputs;
  T* level_weights;
  // Every output is one input as it is, and outputs [run_begin, run_end) are their longest run.
  bool copies;
  int32_t run_begin, run_end;
};

// Rows [begin, end) of y: (n, i) channels-last, (n, c, i) in NCHW. scratch: a row of x, this thread's.
template <class T>
struct ResampleKernels {
  void (*rows)(const Resample<T>&, const ResampleTable<T>& rows, const ResampleTable<T>& columns,
               int64_t begin, int64_t end, T* scratch);
};

RANVIER_TABLES(ResampleKernels, resample_kernels)

}  // namespace ranvier
