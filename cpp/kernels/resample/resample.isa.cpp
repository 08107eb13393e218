// ResampleKernels::rows (resample.h), compiled once for each ISA level. For each row of y, the rows of x that
// it needs are summed into one row; then the columns of that row are summed. ResampleTable (resample.h) has
// the inputs and weights of each output. x is one image (channels-last) or one channel of an image (NCHW).
#include "kernels/resample/resample.h"
#include "base/caches.h"

#include "simd/stream.h"
#include "simd/vec.h"

namespace ranvier::RANVIER_ISA {

// A weighted sum of rows: y[i] = sum over k < taps of weights[k] * x[inputs[k] * step + i].
template <class T>
struct RowSum {
  const T* x;
  int64_t step;
  const int32_t* inputs;
  const T* weights;
  int32_t taps;
};

// Elements from i on: kVectors whole vectors, or with kWhole false the first n lanes of one vector.
template <int kVectors, bool kWhole, class T>
RANVIER_INLINE void sum_lanes(const RowSum<T>& s, int64_t i, int n, T* y) {
  vec<T> sum[kVectors] = {};
  for (int32_t k = 0; k < s.taps; ++k) {
    const T* p = s.x + s.inputs[k] * s.step + i;
    const vec<T> weight = broadcast<T>(s.weights[k]);
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      const vec<T> x = kWhole ? load(p + v * lanes<T>) : load_n(p, n);
      sum[v] = k == 0 ? weight * x : fma(weight, x, sum[v]);  // no 0 is added first, which would change -0
    }
  }
#pragma GCC unroll 4
  for (int v = 0; v < kVectors; ++v)
    if (kWhole)
      store(y + i + v * lanes<T>, sum[v]);
    else
      store_n(y + i, sum[v], n);
}

// A sum of n >= lanes elements; the last vector overlaps the one before it.
template <class T>
static void sum_taps(const RowSum<T>& s, int64_t n, T* y) {
  constexpr int L = lanes<T>;
  int64_t i = 0;
  for (; i + 4 * L <= n; i += 4 * L) sum_lanes<4, true>(s, i, L, y);
  for (; i < n; i += L) {
    const int64_t at = i + L <= n ? i : n - L;
    sum_lanes<1, true>(s, at, L, y);
  }
}

// Stores a vector; with kStream past the caches.
template <bool kStream, class T>
RANVIER_INLINE void put(T* y, vec<T> v) {
  if constexpr (kStream)
    stream(y, v);
  else
    store(y, v);
}

// sum_taps() for two rows, a and b.
template <bool kStream = false, class T>
RANVIER_INLINE void sum_two(const T* a, const T* b, T weight_a, T weight_b, int64_t n, T* y) {
  constexpr int L = lanes<T>;
  const vec<T> wa = broadcast(weight_a);
  const vec<T> wb = broadcast(weight_b);
  const auto at = [&](int64_t i) { put<kStream>(y + i, fma(wb, load(b + i), wa * load(a + i))); };
  for (int64_t i = 0; i + L < n; i += L) at(i);
  at(n - L);
}

// A sum of n elements, for any n.
template <bool kStream = false, class T>
RANVIER_INLINE void sum_contiguous(const RowSum<T>& s, int64_t n, T* y) {
  if (n < lanes<T>) {
    if (n > 0) sum_lanes<1, false>(s, 0, static_cast<int>(n), y);
  } else if (s.taps == 2) {
    const T* a = s.x + s.inputs[0] * s.step;
    const T* b = s.x + s.inputs[1] * s.step;
    sum_two<kStream>(a, b, s.weights[0], s.weights[1], n, y);
  } else {
    sum_taps(s, n, y);
  }
}

// The same if elements of x are `stride` apart: they are loaded lane by lane; the arithmetic is the same.
template <class T>
static void sum_strided(const RowSum<T>& s, int64_t n, int64_t stride, T* y) {
  for (int64_t i = 0; i < n; i += lanes<T>) {
    const int count = lanes_used<T>(n - i);
    vec<T> sum{};
    for (int32_t k = 0; k < s.taps; ++k) {
      const T* p = s.x + s.inputs[k] * s.step + i * stride;
      T some[lanes<T>] = {};
      for (int l = 0; l < count; ++l) some[l] = p[l * stride];
      const vec<T> weight = broadcast<T>(s.weights[k]);
      const vec<T> x = load(some);
      sum = k == 0 ? weight * x : fma(weight, x, sum);
    }
    store_n(y + i, sum, count);
  }
}

// y = x for n contiguous elements; with kStream past the caches.
template <bool kStream = false, class T>
RANVIER_INLINE void copy_elements(const T* x, int64_t n, T* y) {
  constexpr int L = lanes<T>;
  if (n < L) {
    if (n > 0) store_n(y, load_n(x, static_cast<int>(n)), static_cast<int>(n));
    return;
  }
  for (int64_t i = 0; i + L < n; i += L) put<kStream>(y + i, load(x + i));
  put<kStream>(y + n - L, load(x + n - L));
}

// The sum of the rows of x that row i of y needs, as a row (w, c) or (w): in scratch, or a row of x itself if
// row i is a copy.
template <class T>
static const T* sum_rows(const Resample<T>& f, const ResampleTable<T>& rows, int64_t i, const T* x,
                         int64_t channels, T* scratch) {
  const int32_t first = rows.starts[i];
  RowSum<T> s{x, f.x.strides[2], rows.inputs + first, rows.weights + first, rows.starts[i + 1] - first};
  const int64_t width = f.x.shape[3];
  const int64_t step = f.x.strides[3];
  const int64_t lane = channels == 1 ? 1 : f.x.strides[1];  // from channel to channel
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

// Columns [j, end) of a row of y, from a row x (w, c) with contiguous channels.
template <bool kStream, class T>
static void sum_columns_of_pixels(const ResampleTable<T>& columns, int64_t j, int64_t end, const T* x,
                                  int64_t channels, T* y) {
  while (j < end) {
    const int32_t first = columns.starts[j];
    const int32_t run = columns.runs[j];
    if (run > 0) {
      const int64_t count = run < end - j ? run : end - j;
      copy_elements<kStream>(x + columns.inputs[first] * channels, count * channels, y + j * channels);
      j += count;
      continue;
    }
    const int32_t taps = columns.starts[j + 1] - first;
    const RowSum<T> pixel{x, channels, columns.inputs + first, columns.weights + first, taps};
    sum_contiguous<kStream>(pixel, channels, y + j * channels);
    ++j;
  }
}

// Row i of y, if the channels and columns of x are contiguous, block by block: rows of x are summed as far as
// the block reads, then the columns of the block are summed.
template <bool kStream, class T>
static void make_blocks(const Resample<T>& f, const ResampleTable<T>& rows, const ResampleTable<T>& columns,
                        int64_t i, const T* x, T* scratch, T* y) {
  const int64_t channels = f.y.shape[1];
  const int64_t pixel = channels * static_cast<int64_t>(sizeof(T));
  const int64_t bytes = caches.l1 / 4;  // of a block of y: what it reads stays in the L1 cache, too
  const int64_t block = pixel < bytes ? bytes / pixel : 1;  // columns of y
  const int32_t first = rows.starts[i];
  RowSum<T> s{x, f.x.strides[2], rows.inputs + first, rows.weights + first, rows.starts[i + 1] - first};
  int64_t summed = 0;  // pixels of the row that are summed so far
  for (int64_t j = 0; j < columns.size; j += block) {
    const int64_t end = columns.size - j < block ? columns.size : j + block;
    int64_t needed = summed;
    for (int32_t k = columns.starts[j]; k < columns.starts[end]; ++k)
      if (columns.inputs[k] >= needed) needed = columns.inputs[k] + 1;
    s.x = x + summed * channels;
    sum_contiguous(s, (needed - summed) * channels, scratch + summed * channels);
    summed = needed;
    sum_columns_of_pixels<kStream>(columns, j, end, scratch, channels, y);
  }
}

// A row of y whose columns are all copies, of pixels of `channels` elements: the longest run (the image
// itself, in a padding), and the others one by one.
template <class T>
RANVIER_INLINE void copy_columns(const ResampleTable<T>& columns, const T* x, int64_t channels, T* y) {
  const auto one_by_one = [&](int64_t begin, int64_t end) {
    if (channels == 1)
      for (int64_t j = begin; j < end; ++j) y[j] = x[columns.inputs[j]];
    else
      for (int64_t j = begin; j < end; ++j)
        copy_elements(x + columns.inputs[j] * channels, channels, y + j * channels);
  };
  const int64_t first = columns.run_begin;
  const int64_t last = columns.run_end;
  one_by_one(0, first);
  copy_elements(x + columns.inputs[first] * channels, (last - first) * channels, y + first * channels);
  one_by_one(last, columns.size);
}

// A row (w) of y of one channel: runs of copies, and sums in between.
template <class T>
static void copy_runs(const ResampleTable<T>& columns, const T* x, T* y) {
  for (int64_t j = 0; j < columns.size;) {
    const int32_t first = columns.starts[j];
    const int32_t last = columns.starts[j + 1];
    const int32_t run = columns.runs[j];
    if (run > 0) {
      copy_elements(x + columns.inputs[first], run, y + j);
      j += run;
      continue;
    }
    T sum = first < last ? columns.weights[first] * x[columns.inputs[first]] : T(0);
    for (int32_t k = first + 1; k < last; ++k) sum += columns.weights[k] * x[columns.inputs[k]];
    y[j++] = sum;
  }
}

// One level of the table, the k-th entry of all outputs: y[j] += weights[j] * x[inputs[j]] if the weight is
// not 0. The first level (kFirst) sets y[j]. The bits are the same whether the compiler vectorises the loop
// or not.
template <bool kFirst, class T>
static void add_level(int64_t n, const int32_t* __restrict inputs, const T* __restrict weights,
                      const T* __restrict x, T* __restrict y) {
  for (int64_t j = 0; j < n; ++j) {
    const T product = weights[j] * x[inputs[j]];
    const T before = kFirst ? T(0) : y[j];
    const T after = kFirst ? product : before + product;
    y[j] = weights[j] != T(0) ? after : before;
  }
}

// A row (w) of y of one channel, by levels if the table has them.
template <class T>
static void sum_columns(const ResampleTable<T>& columns, const T* x, T* y) {
  if (columns.levels == 0) return copy_runs(columns, x, y);
  const int64_t n = columns.size;
  add_level<true>(n, columns.level_inputs, columns.level_weights, x, y);
  for (int32_t k = 1; k < columns.levels; ++k)
    add_level<false>(n, columns.level_inputs + k * n, columns.level_weights + k * n, x, y);
}

// True if rows i and i - 1 of y are copies of the same row of x.
template <class T>
static bool repeats(const ResampleTable<T>& rows, int64_t i) {
  return i > 0 && rows.runs[i] > 0 && rows.runs[i - 1] > 0 &&
         rows.inputs[rows.starts[i]] == rows.inputs[rows.starts[i - 1]];
}

template <class T>
constexpr bool kCanStream = sizeof(vec<T>) >= 32 && sizeof(T) == sizeof(float);

// True if y is to be stored past the caches: it is large, and its pixels are whole cache lines.
template <class T>
static bool can_stream(const TensorView<T>& y) {
  int64_t bytes = sizeof(T);
  for (int d = 0; d < 4; ++d) bytes *= y.shape[d];
  constexpr int64_t kLarge = 16 << 20;  // bytes; the limit where half of L3 is more
  const int64_t half_of_l3 = caches.l3 / 2;
  const int64_t least = half_of_l3 < kLarge ? half_of_l3 : kLarge;
  const uint64_t pixel = static_cast<uint64_t>(y.shape[1]) * sizeof(T);
  const bool whole_lines = (pixel | reinterpret_cast<uintptr_t>(y.data)) % 64 == 0;
  return kCanStream<T> && bytes >= least && whole_lines;
}

// ResampleKernels::rows. A row of y is a copy of the row before it, or consists of copies, or is computed by
// the sums above.
template <class T>
static void resample_rows(const Resample<T>& f, const ResampleTable<T>& rows, const ResampleTable<T>& columns,
                          int64_t begin, int64_t end, T* scratch) {
  // Channels-last a pixel has `channels` elements, and an image is one plane; in NCHW each channel is a
  // plane.
  const int64_t channels = f.channels_last ? f.y.shape[1] : 1;
  const int64_t planes = f.channels_last ? 1 : f.y.shape[1];
  const int64_t size = columns.size * channels;  // of a row of y
  const bool dense = (channels == 1 || f.x.strides[1] == 1) && f.x.strides[3] == channels;
  const bool mostly_one_run = channels > 1 || 2 * (columns.run_end - columns.run_begin) >= columns.size;
  const bool copies = dense && rows.copies && columns.copies && mostly_one_run;
  const bool streams = channels > 1 && can_stream(f.y);
  int64_t i = begin % rows.size;           // the row within its plane
  int64_t c = begin / rows.size % planes;  // the plane within its image
  int64_t n = begin / rows.size / planes;  // the image
  T* y = f.y.data + begin * size;
  for (int64_t unit = begin; unit < end; ++unit, ++i, y += size) {
    if (i == rows.size) {
      i = 0;
      ++c;  // without divisions, which would take long beside a short row
    }
    if (c == planes) {
      c = 0;
      ++n;
    }
    const T* x = f.x.data + n * f.x.strides[0] + c * f.x.strides[1];
    if (unit > begin && repeats(rows, i)) {
      copy_elements(y - size, size, y);
    } else if (copies) {
      copy_columns(columns, x + rows.inputs[i] * f.x.strides[2], channels, y);
    } else if (channels > 1 && dense && rows.runs[i] <= 0) {
      if (streams)
        make_blocks<kCanStream<T>>(f, rows, columns, i, x, scratch, y);
      else
        make_blocks<false>(f, rows, columns, i, x, scratch, y);
    } else {
      const T* row = sum_rows(f, rows, i, x, channels, scratch);
      if (channels == 1)
        sum_columns(columns, row, y);
      else
        sum_columns_of_pixels<false>(columns, 0, columns.size, row, channels, y);
    }
  }
  if (streams) stream_end();
}

extern const ResampleKernels<float> resample_kernels_float = {resample_rows<float>};
extern const ResampleKernels<double> resample_kernels_double = {resample_rows<double>};

}  // namespace ranvier::RANVIER_ISA
