// resample: images whose rows and columns are weighted sums of a few rows and columns of other images.
// `interpolate` is of this form, and so is `pad` with the modes reflect, replicate and circular. Their
// gradients are calls with `transposed`.
//
//   y[n, c, i, j] = sum over h, w of R[i, h] C[j, w] x[n, c, h, w]
//
//   x (n, c, h, w), y (n, c, h', w'); any strides in x. y is dense, and either channels-last or NCHW; the
//   field `channels_last` says which. R and C are matrices, one for each axis, with at most four entries in
//   each row; with `transposed`, R^T and C^T take their places.
//
// For each row of y, rows of x are summed into one row; then the columns of this row are summed. Each thread
// writes its own rows, and every sum is in the order of the inputs, so the bits do not depend on the team.
//
// The bindings of interpolate and pad (bindings/ops) check arguments and make the call Resample. resample.cpp
// computes the matrices once for a call, as tables (ResampleTable); resample.isa.cpp has the loops.
#pragma once
#include <cstddef>
#include <cstdint>

#include "base/isa.h"
#include "base/views.h"

namespace ranvier {

// How an axis finds the inputs of an output. nearest, nearest_exact, linear, cubic: interpolation at the
// coordinate that the output has in the input. reflect, replicate, circular: padding that repeats values of
// the image.
enum class ResampleMap { nearest, nearest_exact, linear, cubic, reflect, replicate, circular };

struct ResampleAxis {
  ResampleMap map;
  int64_t in, out;
  double scale;        // interpolation: the distance of two outputs, in inputs
  bool align_corners;  // linear, cubic: the first and last outputs are the first and last inputs
  int64_t before;      // padding: output o is input o - before, if that exists
};

constexpr int kMaxResampleTaps = 4;

// The most inputs of an output.
static inline int resample_taps(ResampleMap map) {
  if (map == ResampleMap::cubic) return 4;
  return map == ResampleMap::linear ? 2 : 1;
}

// i moved into [0, size).
static inline int64_t clamp_to(int64_t i, int64_t size) {
  if (i < 0) return 0;
  return i < size ? i : size - 1;
}

// Padding: the input that output o repeats.
static inline int64_t repeated_input(const ResampleAxis& a, int64_t o) {
  const int64_t i = o - a.before;
  if (a.map == ResampleMap::replicate) return clamp_to(i, a.in);
  if (a.map == ResampleMap::circular) {  // inputs that a negative padding crops are not repeated
    const int64_t after = a.out - a.in - a.before;
    const int64_t first = a.before < 0 ? -a.before : 0;  // the inputs [first, last) are repeated
    const int64_t last = after < 0 ? a.in + after : a.in;
    const int64_t period = last - first;
    if (i < first) return i + period;
    return i < last ? i : i - period;
  }
  if (i < 0) return -i;  // reflect: the first and the last input are not repeated
  const int64_t from_end = 2 * (a.in - 1) - i;
  return i < a.in ? i : from_end;
}

// The four weights of cubic convolution (Keys, 1981; a = -0.75) at distance t from the second of four inputs,
// 0 <= t <= 1.
static inline void cubic_weights(double t, double* w) {
  constexpr double a = -0.75;
  const auto near = [](double x) { return ((a + 2) * x - (a + 3)) * x * x + 1; };
  const auto far = [](double x) { return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a; };
  w[0] = far(t + 1);
  w[1] = near(t);
  w[2] = near(1 - t);
  w[3] = far(2 - t);
}

// The inputs of output o and their weights; returns their number. An input of weight 0 is left out, so that 0
// times infinity or NaN does not count.
static inline int resample_inputs(const ResampleAxis& a, int64_t o, int64_t* inputs, double* weights) {
  weights[0] = 1;
  if (a.map >= ResampleMap::reflect) {
    inputs[0] = repeated_input(a, o);
    return 1;
  }
  if (a.map <= ResampleMap::nearest_exact) {
    // In float32 as in PyTorch, since rounding decides where the coordinate is near a whole number.
    const float middle = a.map == ResampleMap::nearest ? 0.0f : 0.5f;
    const float at = (static_cast<float>(o) + middle) * static_cast<float>(a.scale);
    inputs[0] = clamp_to(static_cast<int64_t>(__builtin_floorf(at)), a.in);
    return 1;
  }
  // The coordinate: outputs and inputs are points at whole numbers (align_corners), or pixels whose middles
  // are at o + 0.5.
  double at = a.align_corners ? o * a.scale : (o + 0.5) * a.scale - 0.5;
  if (a.map == ResampleMap::linear && at < 0) at = 0;
  int64_t start = static_cast<int64_t>(__builtin_floor(at));
  if (start > a.in - 1) start = a.in - 1;
  const double beyond = at - static_cast<double>(start);
  const double t = beyond < 1 ? beyond : 1;
  double all[kMaxResampleTaps];
  const int taps = resample_taps(a.map);
  if (a.map == ResampleMap::linear) {
    const bool last = start == a.in - 1;  // no input follows
    all[0] = last ? 1 : 1 - t;
    all[1] = last ? 0 : t;
  } else {
    cubic_weights(t, all);
    --start;
  }
  int count = 0;
  for (int k = 0; k < taps; ++k)
    if (all[k] != 0) {
      inputs[count] = clamp_to(start + k, a.in);
      weights[count] = all[k];
      ++count;
    }
  return count;
}

template <class T>
struct Resample {
  RANVIER_CALL("resample", x, y);
  size_t workspace_bytes(int threads) const;
  TensorView<const T> x;
  TensorView<T> y;
  // Of the call that is not transposed: with `transposed`, `in` and `out` are those of y and x.
  ResampleAxis rows, columns;
  bool transposed, channels_last;
};

// The matrix of one axis as a table: output i has the entries [starts[i], starts[i + 1]) of inputs and
// weights. It is made once for a call, since computing the entries of an output takes 2 to 8 times as long as
// using them.
template <class T>
struct ResampleTable {
  int64_t size;  // outputs
  int32_t *starts, *inputs;
  T* weights;
  int32_t* runs;  // runs[i]: how many outputs from i on are copies of consecutive inputs
  // The same entries by level: level k has the k-th entry of every output, at [k * size, (k + 1) * size),
  // with weight 0 if the output has fewer. There are no levels (0) if an output has many entries, or if there
  // are long runs of copies.
  int32_t levels;
  int32_t* level_inputs;
  T* level_weights;
  bool copies;                 // every output is a copy of an input
  int32_t run_begin, run_end;  // the longest run of copies of consecutive inputs
};

// Computes rows [begin, end) of y, which are (n, i) channels-last, (n, c, i) in NCHW. scratch: the thread's
// room for a row of x.
template <class T>
struct ResampleKernels {
  void (*rows)(const Resample<T>&, const ResampleTable<T>& rows, const ResampleTable<T>& columns,
               int64_t begin, int64_t end, T* scratch);
};

RANVIER_TABLES(ResampleKernels, resample_kernels)

}  // namespace ranvier
