// resample: images whose rows and columns are weighted sums of a few rows and columns of others. interpolate
// does this, and pad in its modes reflect, replicate and circular; `transposed`, their gradients.
//
//   x (n, c, h, w), y (n, c, h', w'); any strides in x. y is dense and either channels-last or NCHW;
//   `channels_last` says which.
//   y[n, c, i, j] = sum over h, w of R[i, h] C[j, w] x[n, c, h, w]
//   R and C, one for each axis, have at most four entries for each output; transposed, R^T and C^T.
//
// First rows are summed into one row, then its columns. Each thread writes its own rows, and every sum is in
// order of the inputs: the bits do not depend on the team.
#pragma once
#include <cstddef>
#include <cstdint>

#include "base/isa.h"
#include "base/views.h"

namespace ranvier {

// How an axis finds the inputs of an output. nearest ... cubic: interpolation at the coordinate that an
// output has in the input. reflect ... circular: padding by repeated values of the image.
enum class ResampleMap { nearest, nearest_exact, linear, cubic, reflect, replicate, circular };

struct ResampleAxis {
  ResampleMap map;
  int64_t in, out;
  double scale;        // interpolation: inputs for each output
  bool align_corners;  // linear, cubic: the first and last outputs are the first and last inputs
  int64_t before;      // padding: output o is input o - before, where that is inside
};

constexpr int kMaxResampleTaps = 4;

static inline int resample_taps(ResampleMap map) {
  return map == ResampleMap::cubic ? 4 : map == ResampleMap::linear ? 2 : 1;
}

static inline int64_t clamp_to(int64_t i, int64_t size) { return i < 0 ? 0 : i < size ? i : size - 1; }

// The input that a padded position repeats.
static inline int64_t repeated_input(const ResampleAxis& a, int64_t o) {
  const int64_t i = o - a.before;
  if (a.map == ResampleMap::replicate) return clamp_to(i, a.in);
  if (a.map == ResampleMap::circular) {  // values that a negative pad crops are not repeated
    const int64_t after = a.out - a.in - a.before, first = a.before < 0 ? -a.before : 0;
    const int64_t last = a.in + (after < 0 ? after : 0);
    return i < first ? i + last - first : i < last ? i : i - (last - first);
  }
  return i < 0 ? -i : i < a.in ? i : 2 * (a.in - 1) - i;
}

// The four weights of cubic convolution (Keys, 1981; a = -0.75) at distance t from the second input.
static inline void cubic_weights(double t, double* w) {
  constexpr double a = -0.75;
  const auto near = [](double x) { return ((a + 2) * x - (a + 3)) * x * x + 1; };
  const auto far = [](double x) { return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a; };
  w[0] = far(t + 1), w[1] = near(t), w[2] = near(1 - t), w[3] = far(2 - t);
}

// The inputs and weights of output o; returns their number. An input of weight 0 is left out, so that its
// infinities and NaNs do not count.
static inline int resample_inputs(const ResampleAxis& a, int64_t o, int64_t* inputs, double* weights) {
  weights[0] = 1;
  if (a.map >= ResampleMap::reflect) {
    inputs[0] = repeated_input(a, o);
    return 1;
  }
  if (a.map <= ResampleMap::nearest_exact) {
    // In float32 as in PyTorch: where the coordinate is a whole number, its rounding decides.
    const float middle = a.map == ResampleMap::nearest ? 0.0f : 0.5f;
    const float at = (static_cast<float>(o) + middle) * static_cast<float>(a.scale);
    inputs[0] = clamp_to(static_cast<int64_t>(__builtin_floorf(at)), a.in);
    return 1;
  }
  double at = a.align_corners ? o * a.scale : (o + 0.5) * a.scale - 0.5;
  if (a.map == ResampleMap::linear && at < 0) at = 0;
  int64_t start = static_cast<int64_t>(__builtin_floor(at));
  if (start > a.in - 1) start = a.in - 1;
  const double beyond = at - static_cast<double>(start), t = beyond < 1 ? beyond : 1;
  double all[kMaxResampleTaps];
  const int taps = resample_taps(a.map);
  if (a.map == ResampleMap::linear) {
    const bool last = start == a.in - 1;  // nothing after it to go to
    all[0] = last ? 1 : 1 - t, all[1] = last ? 0 : t;
  } else {
    cubic_weights(t, all);
    --start;
  }
  int count = 0;
  for (int k = 0; k < taps; ++k)
    if (all[k] != 0) inputs[count] = clamp_to(start + k, a.in), weights[count++] = all[k];
  return count;
}

template <class T>
struct Resample {
  RANVIER_CALL("resample", x, y);
  size_t workspace_bytes(int threads) const;
  TensorView<const T> x;
  TensorView<T> y;
  ResampleAxis rows, columns;  // the axes of the direction that is not transposed
  bool transposed, channels_last;
};

// One axis's matrix: row i has the entries [starts[i], starts[i + 1]). A table, made once for a call: to
// compute the entries of an output takes 2 to 8 times as long as to use them.
template <class T>
struct ResampleTable {
  int64_t size;
  int32_t *starts, *inputs;
  T* weights;
  int32_t* runs;  // runs[i] outputs from i on are copies of consecutive inputs
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
