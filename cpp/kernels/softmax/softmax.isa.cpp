// softmax's lines, compiled once for each ISA level.
#include "kernels/softmax/softmax.h"

#include "simd/math.h"
#include "simd/tile.h"

namespace ranvier::RANVIER_ISA {

// One line, with vectors along it.
template <bool is_log, class T>
static void along(int64_t n, const T* x, T* y) {
  constexpr int L = lanes<T>, kVectors = 4;  // maxima that need not wait for each other
  constexpr T lowest = -Limits<T>::infinity;
  vec<T> tops[kVectors], least[kVectors], sum{};
  for (int v = 0; v < kVectors; ++v) tops[v] = broadcast(lowest), least[v] = broadcast(-lowest);
  int64_t k = 0;
  for (; k + kVectors * L <= n; k += kVectors * L)
    for (int v = 0; v < kVectors; ++v) {
      const vec<T> e = load(x + k + v * L);
      tops[v] = maximum(tops[v], e), least[v] = minimum(least[v], e);
    }
  for (; k + L <= n; k += L)
    tops[0] = maximum(tops[0], load(x + k)), least[0] = minimum(least[0], load(x + k));
  if (k < n) tops[0] = maximum(tops[0], load_padded(x + k, int(n - k), lowest));
  const vec<T> top = broadcast(reduce_max(maximum(maximum(tops[0], tops[1]), maximum(tops[2], tops[3]))));
  const auto whole_vectors = [&](const auto& exp_of) RANVIER_INLINED {
    for (k = 0; k + L <= n; k += L) {
      const vec<T> e = exp_of(load(x + k) - top);
      if (!is_log) store(y + k, e);
      sum += e;
    }
  };
  // masked scores, or a NaN
  if (any(~(minimum(minimum(least[0], least[1]), minimum(least[2], least[3])) - top > ExpRange<T>::normal)))
    whole_vectors([](vec<T> v) RANVIER_INLINED { return exp_or_0(v); });
  else
    whole_vectors([](vec<T> v) RANVIER_INLINED { return exp_in_range(v); });
  if (k < n) {
    const vec<T> e = exp_or_0(load_padded(x + k, int(n - k), lowest) - top);
    if (!is_log) store_n(y + k, e, int(n - k));
    sum += e;
  }
  const vec<T> total = broadcast(reduce_add(sum)), factor = T(1) / total, log_total = log(total);
  const auto result = [&](vec<T> v) __attribute__((always_inline)) {
    return is_log ? (v - top) - log_total : v * factor;
  };
  const T* from = is_log ? x : y;
  for (k = 0; k + L <= n; k += L) store(y + k, result(load(from + k)));
  if (k < n) store_n(y + k, result(load_n(from + k, int(n - k))), int(n - k));
}

// A vector of lines as the columns of a tile.
template <bool is_log, class T>
static void across(const SoftmaxLines<T>& l, int64_t first, int count) {
  const T* x = l.x.data + first * l.x.line;
  T* y = l.out.data + first * l.out.line;
  Tile<T> tile;
  const auto parts = [&](const auto& use) __attribute__((always_inline)) {
    for (int64_t k = 0; k < l.n; k += kTileRows) use(k, l.n - k < kTileRows ? l.n - k : kTileRows);
  };
  const auto read = [&](const T* from, const auto& lines, int64_t k0, int64_t n)
                        __attribute__((always_inline)) {
                          load_tile(tile, from + k0 * lines.step, lines.line, lines.step, count, n);
                        };
  const auto write = [&](int64_t k0, int64_t n) __attribute__((always_inline)) {
    store_tile(tile, y + k0 * l.out.step, l.out.line, l.out.step, count, n);
  };
  const bool whole = l.n <= kTileRows;  // then the tile keeps what the next pass needs
  vec<T> top = broadcast(-Limits<T>::infinity), odd = top, sum{};
  parts([&](int64_t k0, int64_t n) __attribute__((always_inline)) {
    read(x, l.x, k0, n);
    for (int64_t k = 0; k + 1 < n; k += 2)
      top = maximum(top, Tile<T>::row(tile, k)), odd = maximum(odd, Tile<T>::row(tile, k + 1));
    if (n % 2) top = maximum(top, Tile<T>::row(tile, n - 1));
  });
  top = maximum(top, odd);
  parts([&](int64_t k0, int64_t n) __attribute__((always_inline)) {
    if (!whole) read(x, l.x, k0, n);
    for (int64_t k = 0; k < n; ++k) {
      const vec<T> e = exp_or_0(Tile<T>::row(tile, k) - top);
      if (!is_log) Tile<T>::set_row(tile, k, e);
      sum += e;
    }
    if (!is_log && !whole) write(k0, n);
  });
  const vec<T> factor = T(1) / sum, log_sum = log(sum);
  parts([&](int64_t k0, int64_t n) __attribute__((always_inline)) {
    if (!whole) is_log ? read(x, l.x, k0, n) : read(y, l.out, k0, n);
    for (int64_t k = 0; k < n; ++k) {
      const vec<T> v = Tile<T>::row(tile, k);
      Tile<T>::set_row(tile, k, is_log ? (v - top) - log_sum : v * factor);
    }
    write(k0, n);
  });
}

// Lines that are next to each other in memory: up to this many at a time, row after row of elements.
constexpr int kBeside = 512;

// So many lines that all of their elements in two arrays fit into the first cache, where they are not too
// long.
static inline int64_t lines_at_once(int64_t n) {
  const int64_t most = 3072 / (n ? n : 1) / 16 * 16;
  return most > kBeside ? kBeside : most < 128 ? 128 : most;
}

// use(j, n) for each vector of `count` lines.
template <class T, class Use>
RANVIER_INLINE void for_vectors(int64_t count, const Use& use) {
  int64_t j = 0;
  for (; j + lanes<T> <= count; j += lanes<T>) use(j, lanes<T>);
  if (j < count) use(j, static_cast<int>(count - j));
}

// As across(), the same bits.
template <bool is_log, class T>
static void beside(const SoftmaxLines<T>& l, int64_t first, int64_t count) {
  alignas(64) T tops[kBeside], sums[kBeside];
  const T* x = l.x.data + first;
  T* y = l.out.data + first;
  for_vectors<T>(count, [&](int64_t j, int) RANVIER_INLINED {
    store(tops + j, broadcast(-Limits<T>::infinity)), store(sums + j, vec<T>{});
  });
  for (int64_t k = 0; k < l.n; ++k)
    for_vectors<T>(count, [&](int64_t j, int n) RANVIER_INLINED {
      store(tops + j, maximum(load(tops + j), load_lanes(x + k * l.x.step + j, n)));
    });
  for (int64_t k = 0; k < l.n; ++k)
    for_vectors<T>(count, [&](int64_t j, int n) RANVIER_INLINED {
      const vec<T> e = exp_or_0(load_lanes(x + k * l.x.step + j, n) - load(tops + j));
      if (!is_log) store_lanes(y + k * l.out.step + j, e, n);
      store(sums + j, load(sums + j) + e);
    });
  for_vectors<T>(count, [&](int64_t j, int) RANVIER_INLINED {
    store(sums + j, is_log ? log(load(sums + j)) : T(1) / load(sums + j));
  });
  for (int64_t k = 0; k < l.n; ++k)
    for_vectors<T>(count, [&](int64_t j, int n) RANVIER_INLINED {
      T* to = y + k * l.out.step + j;
      const vec<T> v = load_lanes(is_log ? x + k * l.x.step + j : to, n), sum = load(sums + j);
      store_lanes(to, is_log ? (v - load(tops + j)) - sum : v * sum, n);
    });
}

template <bool is_log, class T>
static void forward(const SoftmaxLines<T>& l) {
  if (l.n >= kTileRows && l.x.step == 1 && l.out.step == 1) {
    for (int64_t i = 0; i < l.count; ++i)
      along<is_log>(l.n, l.x.data + i * l.x.line, l.out.data + i * l.out.line);
    return;
  }
  if constexpr (RANVIER_VECTOR_BYTES >= 32 && sizeof(T) == 4)  // elsewhere small code matters more
    if (l.count >= lanes<T> && l.x.line == 1 && l.out.line == 1) {
      for (int64_t i = 0, step = lines_at_once(l.n); i < l.count; i += step)
        beside<is_log>(l, i, l.count - i < step ? l.count - i : step);
      return;
    }
  for (int64_t i = 0; i < l.count; i += lanes<T>)
    across<is_log>(l, i, int(l.count - i < lanes<T> ? l.count - i : lanes<T>));
}

// What is summed over the line, and the gradient from the sum.
template <bool is_log, class V>
RANVIER_INLINE V term(V dy, V y) {
  return is_log ? dy : dy * y;
}
template <bool is_log, class V>
RANVIER_INLINE V gradient(V dy, V y, V sum) {
  return is_log ? dy - exp(y) * sum : y * (dy - sum);
}

template <bool is_log, class T>
static void along_backward(int64_t n, const T* dy, const T* y, T* dx) {
  constexpr int L = lanes<T>, kVectors = 4;
  vec<T> sums[kVectors] = {};
  int64_t k = 0;
  for (; k + kVectors * L <= n; k += kVectors * L)
    for (int v = 0; v < kVectors; ++v) sums[v] += term<is_log>(load(dy + k + v * L), load(y + k + v * L));
  for (; k < n; k += L)
    sums[0] += term<is_log>(load_line<true>(dy + k, 1, n - k), load_line<true>(y + k, 1, n - k));
  const vec<T> total = broadcast(reduce_add((sums[0] + sums[1]) + (sums[2] + sums[3])));
  for (k = 0; k + L <= n; k += L) store(dx + k, gradient<is_log>(load(dy + k), load(y + k), total));
  if (const int left = int(n - k))
    store_n(dx + k, gradient<is_log>(load_n(dy + k, left), load_n(y + k, left), total), left);
}

template <bool is_log, class T>
static void across_backward(const SoftmaxLines<T>& l, int64_t first, int count) {
  Tile<T> dy, y;
  const auto read = [&](int64_t k0) __attribute__((always_inline)) {
    const int64_t n = l.n - k0 < kTileRows ? l.n - k0 : kTileRows;
    load_tile(dy, l.dy.data + first * l.dy.line + k0 * l.dy.step, l.dy.line, l.dy.step, count, n);
    load_tile(y, l.x.data + first * l.x.line + k0 * l.x.step, l.x.line, l.x.step, count, n);
    return n;
  };
  vec<T> sum{}, odd{};
  for (int64_t k0 = 0; k0 < l.n; k0 += kTileRows) {
    const int64_t n = read(k0);
    for (int64_t k = 0; k + 1 < n; k += 2) {
      sum += term<is_log>(Tile<T>::row(dy, k), Tile<T>::row(y, k));
      odd += term<is_log>(Tile<T>::row(dy, k + 1), Tile<T>::row(y, k + 1));
    }
    if (n % 2) sum += term<is_log>(Tile<T>::row(dy, n - 1), Tile<T>::row(y, n - 1));
  }
  sum += odd;
  for (int64_t k0 = 0; k0 < l.n; k0 += kTileRows) {
    const int64_t n = l.n <= kTileRows ? l.n : read(k0);
    for (int64_t k = 0; k < n; ++k)
      Tile<T>::set_row(y, k, gradient<is_log>(Tile<T>::row(dy, k), Tile<T>::row(y, k), sum));
    store_tile(y, l.out.data + first * l.out.line + k0 * l.out.step, l.out.line, l.out.step, count, n);
  }
}

// As across_backward(), the same bits.
template <bool is_log, class T>
static void beside_backward(const SoftmaxLines<T>& l, int64_t first, int64_t count) {
  alignas(64) T sums[kBeside], odds[kBeside];
  const T *dys = l.dy.data + first, *ys = l.x.data + first;
  T* dx = l.out.data + first;
  for_vectors<T>(
      count, [&](int64_t j, int) RANVIER_INLINED { store(sums + j, vec<T>{}), store(odds + j, vec<T>{}); });
  for (int64_t k = 0; k < l.n; ++k) {
    const T *dy = dys + k * l.dy.step, *y = ys + k * l.x.step;
    T* sum = k % 2 ? odds : sums;
    for_vectors<T>(count, [&](int64_t j, int n) RANVIER_INLINED {
      store(sum + j, load(sum + j) + term<is_log>(load_lanes(dy + j, n), load_lanes(y + j, n)));
    });
  }
  for_vectors<T>(count,
                 [&](int64_t j, int) RANVIER_INLINED { store(sums + j, load(sums + j) + load(odds + j)); });
  for (int64_t k = 0; k < l.n; ++k) {
    const T *dy = dys + k * l.dy.step, *y = ys + k * l.x.step;
    for_vectors<T>(count, [&](int64_t j, int n) RANVIER_INLINED {
      const vec<T> a = load_lanes(dy + j, n), b = load_lanes(y + j, n);
      store_lanes(dx + k * l.out.step + j, gradient<is_log>(a, b, load(sums + j)), n);
    });
  }
}

template <bool is_log, class T>
static void backward(const SoftmaxLines<T>& l) {
  if (l.n > kShortRow<T> && l.x.step == 1 && l.dy.step == 1 && l.out.step == 1) {
    for (int64_t i = 0; i < l.count; ++i)
      along_backward<is_log>(l.n, l.dy.data + i * l.dy.line, l.x.data + i * l.x.line,
                             l.out.data + i * l.out.line);
    return;
  }
  if constexpr (RANVIER_VECTOR_BYTES >= 32 && sizeof(T) == 4)
    if (l.count >= lanes<T> && l.x.line == 1 && l.dy.line == 1 && l.out.line == 1) {
      for (int64_t i = 0, step = lines_at_once(l.n); i < l.count; i += step)
        beside_backward<is_log>(l, i, l.count - i < step ? l.count - i : step);
      return;
    }
  for (int64_t i = 0; i < l.count; i += lanes<T>)
    across_backward<is_log>(l, i, int(l.count - i < lanes<T> ? l.count - i : lanes<T>));
}

template <class T>
static constexpr SoftmaxKernels<T> softmax_table = {{forward<false, T>, forward<true, T>},
                                                    {backward<false, T>, backward<true, T>}};

RANVIER_DEFINE_TABLES(SoftmaxKernels, softmax_kernels, softmax_table);

}  // namespace ranvier::RANVIER_ISA
