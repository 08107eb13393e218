// The loops of BagKernels (embedding.h), compiled once for each ISA level: the rows of one bag joined in
// registers, some vectors of columns at a time.
#include "kernels/embedding/embedding.h"

#include "base/unroll.h"
#include "simd/math_base.h"
#include "simd/strided.h"

namespace ranvier::RANVIER_ISA {

constexpr int64_t kAhead = 8;  // rows are prefetched this many indices ahead

// `vectors` vectors of columns of y from `column` on; n lanes of each are used (fewer than all only for a
// single vector).
template <bool greatest, int vectors, class T>
__attribute__((noinline)) static void columns(const BagRows<T>& b, int64_t column, int n) {
  constexpr int L = lanes<T>;
  constexpr T initial = greatest ? -Limits<T>::infinity : T(0);
  vec<T> sums[vectors];
  int64_t used = 0;  // the indices of the bag that are not padding
  RANVIER_UNROLL
  for (int v = 0; v < vectors; ++v) sums[v] = broadcast(initial);
  const auto row = [&](int64_t i) {
    const int64_t at = b.index[i];
    return static_cast<uint64_t>(at) < static_cast<uint64_t>(b.rows) ? at : 0;
  };
  for (int64_t i = 0; i < b.count; ++i) {
    if (i + kAhead < b.count + b.after) {
      const T* next = b.weight + row(i + kAhead) * b.width + column;
      RANVIER_UNROLL
      for (int v = 0; v < vectors; ++v) __builtin_prefetch(next + v * L);
    }
    const int64_t at = row(i);
    if (at == b.settings.padding) continue;
    ++used;
    const T* from = b.weight + at * b.width + column;
    const T factor = b.scale ? b.scale[i] : T(1);
    const vec<T> scale = broadcast(factor);
    RANVIER_UNROLL
    for (int v = 0; v < vectors; ++v) {
      const vec<T> x = vectors > 1 ? load(from + v * L) : load_lanes(from, n);
      sums[v] = greatest ? max(sums[v], x) : fma(scale, x, sums[v]);
    }
  }
  RANVIER_UNROLL
  for (int v = 0; v < vectors; ++v) {
    vec<T> y = sums[v];
    if (b.settings.mode == BagMode::mean && used > 1) y /= broadcast(static_cast<T>(used));
    if (used == 0) y = vec<T>{};
    if (vectors > 1) {
      store(b.y + column + v * L, y);
    } else {
      store_lanes(b.y + column, y, n);
    }
  }
}

template <bool greatest, class T>
static void rows(const BagRows<T>& b) {
  constexpr int L = lanes<T>;
  int64_t column = 0;
  for (; column + 4 * L <= b.width; column += 4 * L) columns<greatest, 4>(b, column, L);
  for (; column + 2 * L <= b.width; column += 2 * L) columns<greatest, 2>(b, column, L);
  for (; column < b.width; column += L) columns<greatest, 1>(b, column, lanes_used<T>(b.width - column));
}

template <class T>
static void bag(const BagRows<T>& b) {
  if (b.settings.mode == BagMode::max) {
    rows<true>(b);
  } else {
    rows<false>(b);
  }
}

// The sum of a[i] b[i], i < n.
template <class T>
static T dot(int64_t n, const T* a, const T* b) {
  vec<T> sum = {};
  for (int64_t i = 0; i < n; i += lanes<T>) {
    const int left = lanes_used<T>(n - i);
    sum += load_lanes(a + i, left) * load_lanes(b + i, left);
  }
  return reduce_add(sum);
}

template <class T>
static constexpr BagKernels<T> bag_table = {bag<T>, dot<T>};

RANVIER_DEFINE_TABLES(BagKernels, bag_kernels, bag_table);

}  // namespace ranvier::RANVIER_ISA
