// resample's loops over one row, compiled once for each ISA level.
#include "kernels/resample/resample.h"

#include "simd/vec.h"

namespace ranvier::RANVIER_ISA {

// y[i] = sum over taps of weights[k] * x[inputs[k] * step + i], i < n
template <class T>
struct RowSum {
  const T* x;
  int64_t step;
  const int32_t* inputs;
  const T* weights;
  int32_t taps;
};

template <int kVectors, bool kWhole, class T>
RANVIER_INLINE void sum_lanes(const RowSum<T>& s, int64_t i, int n, T* y) {
  vec<T> sum[kVectors] = {};
  for (int32_t k = 0; k < s.taps; ++k) {
    const T* p = s.x + s.inputs[k] * s.step + i;
    const vec<T> weight = broadcast<T>(s.weights[k]);
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      const vec<T> x = kWhole ? load(p + v * lanes<T>) : load_n(p, n);
      sum[v] = k == 0 ? weight * x : fma(weight, x, sum[v]);  // a copy keeps its sign of zero
    }
  }
#pragma GCC unroll 4
  for (int v = 0; v < kVectors; ++v)
    if (kWhole)
      store(y + i + v * lanes<T>, sum[v]);
    else
      store_n(y + i, sum[v], n);
}

template <class T>
static void sum_contiguous(const RowSum<T>& s, int64_t n, T* y) {
  int64_t i = 0;
  for (; i + 4 * lanes<T> <= n; i += 4 * lanes<T>) sum_lanes<4, true>(s, i, lanes<T>, y);
  for (; i + lanes<T> <= n; i += lanes<T>) sum_lanes<1, true>(s, i, lanes<T>, y);
  if (i < n) sum_lanes<1, false>(s, i, static_cast<int>(n - i), y);
}

// Rows of x that are not contiguous: lane by lane, with the arithmetic of the vectors.
template <class T>
static void sum_strided(const RowSum<T>& s, int64_t n, int64_t stride, T* y) {
  for (int64_t i = 0; i < n; i += lanes<T>) {
    const int count = static_cast<int>(n - i < lanes<T> ? n - i : lanes<T>);
    vec<T> sum{};
    for (int32_t k = 0; k < s.taps; ++k) {
      const T* p = s.x + s.inputs[k] * s.step + i * stride;
      T some[lanes<T>] = {};
      for (int l = 0; l < count; ++l) some[l] = p[l * stride];
      const vec<T> weight = broadcast<T>(s.weights[k]), x = load(some);
      sum = k == 0 ? weight * x : fma(weight, x, sum);
    }
    store_n(y + i, sum, count);
  }
}

template <class T>
static void copy_elements(const T* x, int64_t n, T* y) {
  int64_t i = 0;
  for (; i + lanes<T> <= n; i += lanes<T>) store(y + i, load(x + i));
  if (i < n) store_n(y + i, load_n(x + i, static_cast<int>(n - i)), static_cast<int>(n - i));
}

// One row of x, (w, c) or (w), from the rows that row i of y needs: x's own where it is a plain copy.
template <class T>
static const T* sum_rows(const Resample<T>& f, const ResampleTable<T>& rows, int64_t i, const T* x,
                         int64_t channels, T* scratch) {
  const int32_t first = rows.starts[i];
  RowSum<T> s{x, f.x.strides[2], rows.inputs + first, rows.weights + first, rows.starts[i + 1] - first};
  const int64_t width = f.x.shape[3], step = f.x.strides[3], lane = channels == 1 ? 1 : f.x.strides[1];
  if (lane == 1 && (step == channels || width == 1)) {
    if (rows.runs[i] > 0) return x + s.inputs[0] * s.step;
    sum_contiguous(s, width * channels, scratch);
  } else if (channels == 1) {
    sum_strided(s, width, step, scratch);
  } else {
    for (int64_t w = 0; w < width; ++w, s.x += step)
      if (lane == 1)
        sum_contiguous(s, channels, scratch + w * channels);
      else
        sum_strided(s, channels, lane, scratch + w * channels);
  }
  return scratch;
}

// Columns of a row (w, c), channels contiguous.
template <class T>
static void sum_columns_of_pixels(const ResampleTable<T>& columns, const T* x, int64_t channels, T* y) {
  for (int64_t j = 0; j < columns.size;) {
    const int32_t first = columns.starts[j], run = columns.runs[j];
    if (run > 0) {
      copy_elements(x + columns.inputs[first] * channels, run * channels, y + j * channels);
      j += run;
      continue;
    }
    sum_contiguous(RowSum<T>{x, channels, columns.inputs + first, columns.weights + first,
                             columns.starts[j + 1] - first},
                   channels, y + j * channels);
    ++j;
  }
}

// Columns of a row (w) of one channel.
template <class T>
static void sum_columns(const ResampleTable<T>& columns, const T* x, T* y) {
  for (int64_t j = 0; j < columns.size;) {
    const int32_t first = columns.starts[j], last = columns.starts[j + 1], run = columns.runs[j];
    if (run >= lanes<T>) {
      copy_elements(x + columns.inputs[first], run, y + j);
      j += run;
      continue;
    }
    T sum = first < last ? columns.weights[first] * x[columns.inputs[first]] : T(0);
    for (int32_t k = first + 1; k < last; ++k) sum += columns.weights[k] * x[columns.inputs[k]];
    y[j++] = sum;
  }
}

template <class T>
static void resample_rows(const Resample<T>& f, const ResampleTable<T>& rows, const ResampleTable<T>& columns,
                          int64_t begin, int64_t end, T* scratch) {
  const int64_t channels = f.channels_last ? f.y.shape[1] : 1, planes = f.channels_last ? 1 : f.y.shape[1];
  for (int64_t unit = begin; unit < end; ++unit) {
    const int64_t i = unit % rows.size, plane = unit / rows.size, n = plane / planes, c = plane % planes;
    const T* x = f.x.data + n * f.x.strides[0] + c * f.x.strides[1];
    const T* row = sum_rows(f, rows, i, x, channels, scratch);
    T* y = f.y.data + unit * columns.size * channels;
    if (channels == 1)
      sum_columns(columns, row, y);
    else
      sum_columns_of_pixels(columns, row, channels, y);
  }
}

extern const ResampleKernels<float> resample_kernels_float = {resample_rows<float>};
extern const ResampleKernels<double> resample_kernels_double = {resample_rows<double>};

}  // namespace ranvier::RANVIER_ISA
