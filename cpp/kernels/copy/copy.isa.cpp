// The loops of CopyKernels (copy.h, which says what each of them computes), compiled once for each ISA level.
#include "kernels/copy/copy.h"

#include "simd/permute.h"
#include "simd/strided.h"
#include "simd/transpose.h"

namespace ranvier::RANVIER_ISA {

// Square by square of `lanes` elements, which are transposed in registers.
template <class T>
static void transpose_strip(int rows, int64_t n, const T* x, int64_t stride_x, T* y, int64_t stride_y) {
  constexpr int L = lanes<T>;
  for (int64_t j = 0; j < n; j += L) {
    const int columns = lanes_used<T>(n - j);
    vec<T> square[L];
    for (int k = 0; k < L; ++k) {
      const T* from = x + (j + k) * stride_x;
      __builtin_prefetch(from + 2 * L * stride_x);  // hardware prefetchers do not follow this pattern
      square[k] = k >= columns ? vec<T>{} : load_lanes(from, rows);
    }
    transpose(square);
    for (int i = 0; i < rows; ++i) store_lanes(y + i * stride_y + j, square[i], columns);
  }
}

// A vector of some lanes of a and b: an index i < lanes means lane i of a, lanes + i means lane i of b.
template <class V, int... index>
RANVIER_INLINE V pick(V a, V b, std::integer_sequence<int, index...>) {
  return __builtin_shufflevector(a, b, index...);
}
// join_three() and part_three() shuffle three vectors. Processors shuffle two at a time: first lanes of a and
// b are placed (ab), then those of c between them.
//
// The indices for pick() by which join_three() places an element: channel element % 3 of pixel element / 3.
static constexpr int from_a_or_b(int n, int element) {
  const int pixel = element / 3;
  return element % 3 == 1 ? n + pixel : pixel;
}
static constexpr int from_ab_or_c(int n, int element, int lane) {
  return element % 3 == 2 ? n + element / 3 : lane;
}
// a, b and c are n elements of each of three channels; interleaved they are n pixels in three vectors.
// Returns vector v of these three. Its lane is element v * n + lane.
template <int v, class V, int... lane>
RANVIER_INLINE V join_three(V a, V b, V c, std::integer_sequence<int, lane...>) {
  constexpr int n = sizeof...(lane);
  const V ab = pick(a, b, std::integer_sequence<int, from_a_or_b(n, v * n + lane)...>());
  return pick(ab, c, std::integer_sequence<int, from_ab_or_c(n, v * n + lane, lane)...>());
}
// The indices for part_three(), which places an element of the three vectors in a row.
static constexpr int in_first_two(int n, int element) { return element < 2 * n ? element : 0; }
static constexpr int in_third(int n, int element, int lane) {
  return element < 2 * n ? lane : element - n;  // lane n + i of pick() is lane i of the third vector
}
// The inverse: a, b and c hold n pixels of three channels. Returns one channel: lane i is element 3 i +
// channel of the three vectors in a row.
template <int channel, class V, int... lane>
RANVIER_INLINE V part_three(V a, V b, V c, std::integer_sequence<int, lane...>) {
  constexpr int n = sizeof...(lane);
  const V ab = pick(a, b, std::integer_sequence<int, in_first_two(n, 3 * lane + channel)...>());
  return pick(ab, c, std::integer_sequence<int, in_third(n, 3 * lane + channel, lane)...>());
}

template <class T>
static void join_planes(int64_t n, const T* x, int64_t stride, T* y) {
  constexpr int L = lanes<T>;
  using Lanes = std::make_integer_sequence<int, L>;
  int64_t i = 0;
  for (; i + L <= n; i += L) {
    const vec<T> a = load(x + i);
    const vec<T> b = load(x + stride + i);
    const vec<T> c = load(x + 2 * stride + i);
    store(y + 3 * i, join_three<0>(a, b, c, Lanes{}));
    store(y + 3 * i + L, join_three<1>(a, b, c, Lanes{}));
    store(y + 3 * i + 2 * L, join_three<2>(a, b, c, Lanes{}));
  }
  for (; i < n; ++i)
    for (int channel = 0; channel < 3; ++channel) y[3 * i + channel] = x[channel * stride + i];
}

template <class T>
static void part_planes(int64_t n, const T* x, T* y, int64_t stride) {
  constexpr int L = lanes<T>;
  using Lanes = std::make_integer_sequence<int, L>;
  int64_t i = 0;
  for (; i + L <= n; i += L) {
    const T* p = x + 3 * i;
    const vec<T> a = load(p);
    const vec<T> b = load(p + L);
    const vec<T> c = load(p + 2 * L);
    store(y + i, part_three<0>(a, b, c, Lanes{}));
    store(y + stride + i, part_three<1>(a, b, c, Lanes{}));
    store(y + 2 * stride + i, part_three<2>(a, b, c, Lanes{}));
  }
  for (; i < n; ++i)
    for (int channel = 0; channel < 3; ++channel) y[channel * stride + i] = x[3 * i + channel];
}

template <class T>
static void copy_rows(int64_t rows, int64_t n, const T* x, int64_t stride_x, T* y, int64_t stride_y) {
  constexpr int L = lanes<T>;
  if (n < L) {
    const int few = static_cast<int>(n);
    for (int64_t row = 0; row < rows; ++row) {
      store_n(y, load_n(x, few), few);
      x += stride_x;
      y += stride_y;
    }
    return;
  }
  for (int64_t row = 0; row < rows; ++row) {
    int64_t i = 0;
    for (; i + 4 * L < n; i += 4 * L) {
      const vec<T> a = load(x + i);
      const vec<T> b = load(x + i + L);
      const vec<T> c = load(x + i + 2 * L);
      const vec<T> d = load(x + i + 3 * L);
      store(y + i, a);
      store(y + i + L, b);
      store(y + i + 2 * L, c);
      store(y + i + 3 * L, d);
    }
    for (; i + L < n; i += L) store(y + i, load(x + i));
    store(y + n - L, load(x + n - L));  // the last vector overlaps the one before it
    x += stride_x;
    y += stride_y;
  }
}

// The lanes of a in reverse order.
template <class V, int... lane>
RANVIER_INLINE V backwards(V a, std::integer_sequence<int, lane...>) {
  return __builtin_shufflevector(a, a, (int(sizeof...(lane)) - 1 - lane)...);
}

template <class T>
static void reverse(int64_t n, const T* x, T* y) {
  constexpr int L = lanes<T>;
  int64_t i = 0;
  for (; i + L <= n; i += L)
    store(y + i, backwards(load(x - i - L + 1), std::make_integer_sequence<int, L>{}));
  for (; i < n; ++i) y[i] = x[-i];
}

template <class T>
static void repeat_each(int64_t rows, int64_t n, const T* x, int64_t stride, T* y) {
  constexpr int L = lanes<T>;
  if constexpr (has_permute<T>)
    if (stride == 1 && n < L) {  // n vectors of y from each vector of x
      // The lane of x for element e = j L + lane of y: e / n rounded down. Adding 0.5 makes the rounded
      // quotient safe.
      ivec<T> source[L];
      for (int64_t j = 0; j < n; ++j)
        source[j] = to_int((iota<T>() + (static_cast<T>(j * L) + T(0.5))) / static_cast<T>(n));
      while (rows >= L) {
        for (int64_t j = 0; j < n; ++j) {
          store(y, permute(load(x), source[j]));
          y += L;
        }
        x += L;
        rows -= L;
      }
    }
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t i = 0; i < n; i += L) store(y + i, broadcast(*x));
    x += stride;
    y += n;
  }
}

template <class T>
static constexpr CopyKernels<T> kernels_of = {
    lanes<T>, transpose_strip<T>, join_planes<T>, part_planes<T>, copy_rows<T>, reverse<T>, repeat_each<T>};

RANVIER_DEFINE_TABLES(CopyKernels, copy_kernels, kernels_of);

}  // namespace ranvier::RANVIER_ISA
