// The loops of SoftmaxKernels (softmax.h) over lines, compiled once for each ISA level. A long contiguous
// line is computed with vectors along it (`along`). Otherwise a vector of lines is computed at a time, one in
// each lane: through transposed tiles of up to kTileRows elements of each line (`across`), or directly where
// lines are next to each other in memory (`beside`).
#include "kernels/softmax/softmax.h"

#include "base/unroll.h"
#include "simd/long_sum.h"
#include "simd/math.h"
#include "simd/tile.h"

namespace ranvier::RANVIER_ISA {

// v / total. For float it is the product with the factor 1 / total, which takes less time; for double it is
// the quotient, since where one element is almost 1, the gradient is a difference of nearly equal numbers.
template <class T>
RANVIER_INLINE vec<T> share_of(vec<T> v, vec<T> factor, vec<T> total) {
  if constexpr (sizeof(T) == 8) return v / total;
  return v * factor;
}

// Vectors that are added up before their total goes to a LongSum. Beside one large term each addition of a
// small one is rounded to the last bits of the large one, so for double there are few, in tiles, too.
template <class T>
static constexpr bool in_short_blocks = sizeof(T) == 8;
template <class T>
RANVIER_INLINE int64_t block_of(int64_t vectors) {  // how many of the vectors that are left
  constexpr int64_t most = in_short_blocks<T> ? 8 : kSumBlock;
  return vectors < most ? vectors : most;
}

// One line, with vectors along it.
template <bool is_log, class T>
static void along(int64_t n, const T* x, T* y) {
  constexpr int L = lanes<T>;
  constexpr int kVectors = 4;  // independent maxima, so that none waits for the one before it
  constexpr T lowest = -Limits<T>::infinity;
  vec<T> tops[kVectors], least[kVectors];
  LongSum<T> sum;
  for (int v = 0; v < kVectors; ++v) {
    tops[v] = broadcast(lowest);
    least[v] = broadcast(-lowest);
  }
  int64_t k = 0;
  for (; k + kVectors * L <= n; k += kVectors * L)
    for (int v = 0; v < kVectors; ++v) {
      const vec<T> e = load(x + k + v * L);
      tops[v] = maximum(tops[v], e);
      least[v] = minimum(least[v], e);
    }
  for (; k + L <= n; k += L) {
    tops[0] = maximum(tops[0], load(x + k));
    least[0] = minimum(least[0], load(x + k));
  }
  if (k < n) tops[0] = maximum(tops[0], load_padded(x + k, int(n - k), lowest));
  const vec<T> top = broadcast(reduce_max(maximum(maximum(tops[0], tops[1]), maximum(tops[2], tops[3]))));
  const auto whole_vectors = [&](const auto& exp_of) RANVIER_INLINED {
    for (k = 0; k + L <= n;) {
      const int64_t end = k + block_of<T>((n - k) / L) * L;
      vec<T> block{};
      for (; k < end; k += L) {
        const vec<T> e = exp_of(load(x + k) - top);
        if (!is_log) store(y + k, e);
        block += e;
      }
      sum.add(block);
    }
  };
  // exp_in_range() is faster, but holds only if no element is a NaN, or so far below the maximum, as masked
  // scores are, that its exponential is 0 or subnormal.
  const vec<T> bottom = minimum(minimum(least[0], least[1]), minimum(least[2], least[3]));
  const auto in_range = bottom - top > ExpRange<T>::normal;
  if (any(~in_range)) {
    whole_vectors([](vec<T> v) RANVIER_INLINED { return exp_or_0(v); });
  } else {
    whole_vectors([](vec<T> v) RANVIER_INLINED { return exp_in_range(v); });
  }
  if (k < n) {
    const vec<T> e = exp_or_0(load_padded(x + k, int(n - k), lowest) - top);
    if (!is_log) store_n(y + k, e, int(n - k));
    sum.add(e);
  }
  const vec<T> total = broadcast(reduce_add(sum.value()));
  const vec<T> factor = T(1) / total;
  const vec<T> log_total = log(total);
  const auto result = [&](vec<T> v) __attribute__((always_inline)) {
    if constexpr (is_log) return (v - top) - log_total;
    return share_of<T>(v, factor, total);
  };
  const T* from = is_log ? x : y;
  for (k = 0; k + L <= n; k += L) store(y + k, result(load(from + k)));
  if (k < n) store_n(y + k, result(load_n(from + k, int(n - k))), int(n - k));
}

// `count` lines from line `first` on, at most a vector of them, as the columns of a tile. Three passes: the
// maximum; the exponentials and their sum; the result. A block of the sum is a tile (for double 8 elements),
// as in beside(), which gives the same bits; a single block is the sum without a LongSum (`one_block`).
template <bool is_log, class T>
static void across(const SoftmaxLines<T>& l, int64_t first, int count) {
  const T* x = l.x.data + first * l.x.line;
  T* y = l.out.data + first * l.out.line;
  Tile<T> tile;
  const auto parts = [&](const auto& use) __attribute__((always_inline)) {
    for (int64_t k = 0; k < l.n; k += kTileRows) {
      const int64_t n = l.n - k < kTileRows ? l.n - k : kTileRows;
      use(k, n);
    }
  };
  const auto read = [&](const T* from, const auto& lines, int64_t k0, int64_t n)
                        __attribute__((always_inline)) {
                          load_tile(tile, from + k0 * lines.step, lines.line, lines.step, count, n);
                        };
  const auto write = [&](int64_t k0, int64_t n) __attribute__((always_inline)) {
    store_tile(tile, y + k0 * l.out.step, l.out.line, l.out.step, count, n);
  };
  const bool whole = l.n <= kTileRows;  // one tile holds the lines, and keeps them for the next pass
  const bool one_block = whole && !in_short_blocks<T>;
  vec<T> top = broadcast(-Limits<T>::infinity);
  vec<T> odd = top;
  LongSum<T> total;
  vec<T> sum{};
  parts([&](int64_t k0, int64_t n) __attribute__((always_inline)) {
    read(x, l.x, k0, n);
    for (int64_t k = 0; k + 1 < n; k += 2) {
      top = maximum(top, Tile<T>::row(tile, k));
      odd = maximum(odd, Tile<T>::row(tile, k + 1));
    }
    if (n % 2) top = maximum(top, Tile<T>::row(tile, n - 1));
  });
  top = maximum(top, odd);
  parts([&](int64_t k0, int64_t n) __attribute__((always_inline)) {
    if (!whole) read(x, l.x, k0, n);
    vec<T> block{};
    for (int64_t k = 0; k < n; ++k) {
      const vec<T> e = exp_or_0(Tile<T>::row(tile, k) - top);
      if (!is_log) Tile<T>::set_row(tile, k, e);
      block += e;
      if (in_short_blocks<T> && k % 8 == 7) {
        total.add(block);
        block = vec<T>{};
      }
    }
    sum = block;
    if (!one_block) total.add(block);
    if (!whole && !is_log) write(k0, n);
  });
  if (!one_block) sum = total.value();
  const vec<T> factor = T(1) / sum;
  const vec<T> log_sum = log(sum);
  parts([&](int64_t k0, int64_t n) __attribute__((always_inline)) {
    if (!whole) {
      if (is_log) {
        read(x, l.x, k0, n);
      } else {
        read(y, l.out, k0, n);
      }
    }
    for (int64_t k = 0; k < n; ++k) {
      const vec<T> v = Tile<T>::row(tile, k);
      const vec<T> result = is_log ? (v - top) - log_sum : share_of<T>(v, factor, sum);
      Tile<T>::set_row(tile, k, result);
    }
    write(k0, n);
  });
}

// Like across(), with the same bits, for lines that are next to each other in memory: kVectors vectors of
// them from line `first` on, each of n lines (n < lanes only for a single vector).
template <int kVectors, class T>
static __attribute__((noinline)) void beside(const SoftmaxLines<T>& l, int64_t first, int n, bool is_log) {
  constexpr int L = lanes<T>;
  const T* x = l.x.data + first;
  T* y = l.out.data + first;
  const int64_t step = l.x.step;
  const int64_t out_step = l.out.step;  // may be 0 or negative
  vec<T> top[kVectors], sum[kVectors] = {};
  RANVIER_UNROLL
  for (int v = 0; v < kVectors; ++v) top[v] = broadcast(-Limits<T>::infinity);
  const T* from = x;
  for (int64_t k = 0; k < l.n; ++k) {
    RANVIER_UNROLL
    for (int v = 0; v < kVectors; ++v) top[v] = maximum(top[v], load_lanes(from + v * L, n));
    from += step;
  }
  from = x;
  T* to = y;
  LongSum<T> totals[kVectors];
  for (int64_t k = 0; k < l.n;) {  // a block ends where a tile of across() ends
    const int64_t end = l.n - k < kTileRows ? l.n : k + kTileRows;
    for (; k < end; ++k) {
      RANVIER_UNROLL
      for (int v = 0; v < kVectors; ++v) {
        const vec<T> e = exp_or_0(load_lanes(from + v * L, n) - top[v]);
        if (!is_log) store_lanes(to + v * L, e, n);
        sum[v] += e;
      }
      from += step;
      to += out_step;
    }
    end_blocks<kVectors, T>(totals, sum);
  }
  RANVIER_UNROLL
  for (int v = 0; v < kVectors; ++v) sum[v] = totals[v].value();
  // From here on `sum` has what the last pass needs: the logarithm, or the factor of the shares.
  RANVIER_UNROLL
  for (int v = 0; v < kVectors; ++v) sum[v] = is_log ? log(sum[v]) : T(1) / sum[v];
  from = x;
  to = y;
  for (int64_t k = 0; k < l.n; ++k) {
    RANVIER_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      const T* const source = is_log ? from + v * L : to + v * L;
      const vec<T> e = load_lanes(source, n);
      const vec<T> result = is_log ? (e - top[v]) - sum[v] : e * sum[v];
      store_lanes(to + v * L, result, n);
    }
    from += step;
    to += out_step;
  }
}

// SoftmaxKernels::forward: chooses by the layout between along, beside and across.
template <bool is_log, class T>
static void forward(const SoftmaxLines<T>& l) {
  if (l.n >= kTileRows && l.x.step == 1 && l.out.step == 1) {
    for (int64_t i = 0; i < l.count; ++i)
      along<is_log>(l.n, l.x.data + i * l.x.line, l.out.data + i * l.out.line);
    return;
  }
  // Other types and levels have no such loop, which keeps the code small.
  if constexpr (RANVIER_VECTOR_BYTES >= 32 && sizeof(T) == 4)
    if (l.count >= lanes<T> && l.x.line == 1 && l.out.line == 1) {
      constexpr int L = lanes<T>;
      constexpr int kVectors = 4;
      int64_t i = 0;
      for (; i + kVectors * L <= l.count; i += kVectors * L) beside<kVectors>(l, i, L, is_log);
      for (; i < l.count; i += L) beside<1>(l, i, lanes_used<T>(l.count - i), is_log);
      return;
    }
  for (int64_t i = 0; i < l.count; i += lanes<T>) across<is_log>(l, i, lanes_used<T>(l.count - i));
}

// The backward: `term` is summed over the line, and `gradient` gives dx from the sum.
template <bool is_log, class V>
RANVIER_INLINE V term(V dy, V y) {
  return is_log ? dy : dy * y;
}
template <bool is_log, class V>
RANVIER_INLINE V gradient(V dy, V y, V sum) {
  return is_log ? dy - exp(y) * sum : y * (dy - sum);
}

// One contiguous line, with vectors along it.
template <bool is_log, class T>
static void along_backward(int64_t n, const T* dy, const T* y, T* dx) {
  constexpr int L = lanes<T>;
  constexpr int kVectors = 4;
  LongSum<T> sum;
  int64_t k = 0;
  while (k + kVectors * L <= n) {
    const int64_t end = k + block_of<T>((n - k) / (kVectors * L)) * kVectors * L;
    vec<T> sums[kVectors] = {};
    for (; k < end; k += kVectors * L)
      for (int v = 0; v < kVectors; ++v) sums[v] += term<is_log>(load(dy + k + v * L), load(y + k + v * L));
    sum.add((sums[0] + sums[1]) + (sums[2] + sums[3]));
  }
  for (; k < n; k += L)
    sum.add(term<is_log>(load_line<true>(dy + k, 1, n - k), load_line<true>(y + k, 1, n - k)));
  const vec<T> total = broadcast(reduce_add(sum.value()));
  for (k = 0; k + L <= n; k += L) store(dx + k, gradient<is_log>(load(dy + k), load(y + k), total));
  const int left = int(n - k);
  if (left > 0) store_n(dx + k, gradient<is_log>(load_n(dy + k, left), load_n(y + k, left), total), left);
}

// `count` lines from line `first` on, in the lanes of a vector: up to kTileRows elements of each are
// transposed at a time.
template <bool is_log, class T>
static void across_backward(const SoftmaxLines<T>& l, int64_t first, int count) {
  Tile<T> dy, y;
  const auto read = [&](int64_t k0) __attribute__((always_inline)) {
    const int64_t n = l.n - k0 < kTileRows ? l.n - k0 : kTileRows;
    load_tile(dy, l.dy.data + first * l.dy.line + k0 * l.dy.step, l.dy.line, l.dy.step, count, n);
    load_tile(y, l.x.data + first * l.x.line + k0 * l.x.step, l.x.line, l.x.step, count, n);
    return n;
  };
  LongSum<T> total;
  for (int64_t k0 = 0; k0 < l.n; k0 += kTileRows) {
    const int64_t n = read(k0);
    vec<T> sum{};
    vec<T> odd{};
    for (int64_t k = 0; k + 1 < n; k += 2) {
      sum += term<is_log>(Tile<T>::row(dy, k), Tile<T>::row(y, k));
      odd += term<is_log>(Tile<T>::row(dy, k + 1), Tile<T>::row(y, k + 1));
      if (in_short_blocks<T> && k % 16 == 14) {
        total.add(sum + odd);
        sum = vec<T>{};
        odd = vec<T>{};
      }
    }
    if (n % 2) sum += term<is_log>(Tile<T>::row(dy, n - 1), Tile<T>::row(y, n - 1));
    total.add(sum + odd);
  }
  const vec<T> sum = total.value();
  for (int64_t k0 = 0; k0 < l.n; k0 += kTileRows) {
    const int64_t n = l.n <= kTileRows ? l.n : read(k0);
    for (int64_t k = 0; k < n; ++k)
      Tile<T>::set_row(y, k, gradient<is_log>(Tile<T>::row(dy, k), Tile<T>::row(y, k), sum));
    store_tile(y, l.out.data + first * l.out.line + k0 * l.out.step, l.out.line, l.out.step, count, n);
  }
}

constexpr int kBeside = 4;  // vectors of lines

// Like across_backward(), with the same bits, for lines that are next to each other in memory. Two passes:
// the sums, in which elements with even and with odd k are added separately, then the gradients.
template <bool is_log, class T>
static __attribute__((noinline)) void beside_backward(const SoftmaxLines<T>& l, int64_t first) {
  constexpr int L = lanes<T>;
  vec<T> sum[kBeside] = {}, odd[kBeside] = {};
  LongSum<T> totals[kBeside];
  const auto add = [&](vec<T>(&to)[kBeside], int64_t k) RANVIER_INLINED {
    const T* dy = l.dy.data + first + k * l.dy.step;
    const T* y = l.x.data + first + k * l.x.step;
    RANVIER_UNROLL
    for (int v = 0; v < kBeside; ++v) to[v] += term<is_log>(load(dy + v * L), load(y + v * L));
  };
  int64_t k = 0;
  while (k < l.n) {
    const int64_t end = l.n - k < kTileRows ? l.n : k + kTileRows;
    for (; k + 1 < end; k += 2) {
      add(sum, k);
      add(odd, k + 1);
    }
    if (k < end) {
      add(sum, k);
      ++k;
    }
    RANVIER_UNROLL
    for (int v = 0; v < kBeside; ++v) {
      sum[v] += odd[v];
      odd[v] = vec<T>{};
    }
    end_blocks<kBeside, T>(totals, sum);
  }
  RANVIER_UNROLL
  for (int v = 0; v < kBeside; ++v) sum[v] = totals[v].value();
  for (k = 0; k < l.n; ++k) {
    const T* dy = l.dy.data + first + k * l.dy.step;
    const T* y = l.x.data + first + k * l.x.step;
    T* dx = l.out.data + first + k * l.out.step;
    RANVIER_UNROLL
    for (int v = 0; v < kBeside; ++v)
      store(dx + v * L, gradient<is_log>(load(dy + v * L), load(y + v * L), sum[v]));
  }
}

// SoftmaxKernels::backward: chooses between the same three, with other limits: along from more than kShortRow
// elements on; beside for whole groups of kBeside vectors of lines, and across for the lines that are left.
template <bool is_log, class T>
static void backward(const SoftmaxLines<T>& l) {
  if (l.n > kShortRow<T> && l.x.step == 1 && l.dy.step == 1 && l.out.step == 1) {
    for (int64_t i = 0; i < l.count; ++i)
      along_backward<is_log>(l.n, l.dy.data + i * l.dy.line, l.x.data + i * l.x.line,
                             l.out.data + i * l.out.line);
    return;
  }
  int64_t i = 0;
  if constexpr (RANVIER_VECTOR_BYTES >= 32 && sizeof(T) == 4)
    if (l.x.line == 1 && l.dy.line == 1 && l.out.line == 1)
      for (; i + kBeside * lanes<T> <= l.count; i += kBeside * lanes<T>) beside_backward<is_log>(l, i);
  for (; i < l.count; i += lanes<T>) across_backward<is_log>(l, i, lanes_used<T>(l.count - i));
}

template <class T>
static constexpr SoftmaxKernels<T> softmax_table = {{forward<false, T>, forward<true, T>},
                                                    {backward<false, T>, backward<true, T>}};

RANVIER_DEFINE_TABLES(SoftmaxKernels, softmax_kernels, softmax_table);

}  // namespace ranvier::RANVIER_ISA
