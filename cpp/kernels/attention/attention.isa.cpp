// The loops of AttentionKernels (attention.h), compiled once for each ISA level: the running softmax, its
// gradient, and attention with a cache. Matrix products of the other calls are those of kernels/matmul.
#include "kernels/attention/attention.h"

#include "base/unroll.h"
#include "simd/math.h"
#include "simd/strided.h"

namespace ranvier::RANVIER_ISA {

// Vectors of queries that a loop handles at once, in registers: one vector where speed matters less than
// small code.
template <class T>
constexpr int kAtOnce = RANVIER_VECTOR_BYTES >= 32 && sizeof(T) == 4 ? 4 : 1;

// The keys whose terms of a sum are one chain; the sums of such blocks are added one after another.
constexpr int64_t kSumKeys = 32;

// exp(x) for x <= 0. fast: by a cubic that is put into the bits of the exponent, as in PyTorch's kernel for
// halves, so that results are equal to PyTorch's.
template <class T>
RANVIER_INLINE vec<T> exp_of(vec<T> x, bool fast) {
  if constexpr (sizeof(T) == sizeof(float))
    if (fast) {
      const vec<T> scaled = x * 1.44269504f;
      const vec<T> fraction = scaled - round_down(scaled);
      vec<T> cubic = fma(fraction, broadcast(-0.079204240219773236f), broadcast(-0.22433836478672356f));
      cubic = fma(fraction, cubic, broadcast(0.30354260500649682f));
      cubic = fma(fraction, cubic, broadcast(0.00010703434948458272f));
      const vec<T> power = fma(scaled - cubic, broadcast(0x1p23f), broadcast(127 * 0x1p23f));
      return select(x < -87.3f, vec<T>{}, from_bits(to_int(power)));
    }
  return exp_or_0(x);
}

// Updates kVectors vectors of queries from query `first` on; n queries of each vector exist (n < lanes only
// for one vector).
template <int kVectors, class T>
static __attribute__((noinline)) void update(const AttentionBlock<T>& b, int64_t first, int n) {
  constexpr int L = lanes<T>;
  T* const scores = b.scores + first;
  vec<T> top[kVectors], sum[kVectors];
  RANVIER_UNROLL
  for (int v = 0; v < kVectors; ++v) top[v] = load(b.top + first + v * L);
  for (int64_t k = 0; k < b.keys; ++k) {
    RANVIER_UNROLL
    for (int v = 0; v < kVectors; ++v) top[v] = maximum(top[v], load_lanes(scores + k * b.step + v * L, n));
  }
  RANVIER_UNROLL
  for (int v = 0; v < kVectors; ++v) {
    const int64_t i = first + v * L;
    const vec<T> before = load(b.top + i);
    store(b.top + i, top[v]);
    top[v] = select(top[v] == -Limits<T>::infinity, vec<T>{}, top[v]);  // no key so far
    const vec<T> factor = exp_or_0(before - top[v]);
    store(b.factor + i, factor);
    sum[v] = load(b.sum + i) * factor;
  }
  for (int64_t begin = 0; begin < b.keys; begin += kSumKeys) {
    const int64_t end = b.keys - begin < kSumKeys ? b.keys : begin + kSumKeys;
    vec<T> part[kVectors] = {};
    for (int64_t k = begin; k < end; ++k) {
      RANVIER_UNROLL
      for (int v = 0; v < kVectors; ++v) {
        T* const score = scores + k * b.step + v * L;
        const vec<T> e = exp_of<T>(load_lanes(score, n) - top[v], k < b.fast);
        store_lanes(score, e, n);
        part[v] += e;
      }
    }
    RANVIER_UNROLL
    for (int v = 0; v < kVectors; ++v) sum[v] += part[v];
  }
  RANVIER_UNROLL
  for (int v = 0; v < kVectors; ++v) store(b.sum + first + v * L, sum[v]);
}

// The same for few queries, with vectors along the keys, since a vector of queries would be mostly empty.
template <class T>
static void update_lines(const AttentionBlock<T>& b) {
  constexpr int L = lanes<T>;
  const auto part = [&](const T* x, int64_t k) RANVIER_INLINED {
    const int64_t n = b.keys - k;
    return n >= L ? load(x + k) : load_padded(x + k, static_cast<int>(n), -Limits<T>::infinity);
  };
  for (int64_t i = 0; i < b.rows; ++i) {
    T* const x = b.scores + i * b.line;
    vec<T> tops = broadcast(b.top[i]);
    vec<T> sums{};
    for (int64_t k = 0; k < b.keys; k += L) tops = maximum(tops, part(x, k));
    const T top = reduce_max(tops);
    const T finite_top = top == -Limits<T>::infinity ? T(0) : top;  // -infinity: no key so far
    const vec<T> base = broadcast(finite_top);
    alignas(64) T factor[L];
    store(factor, exp_or_0(broadcast(b.top[i]) - base));
    for (int64_t k = 0; k < b.keys; k += L) {
      const vec<T> e = exp_of<T>(part(x, k) - base, k + L <= b.fast);
      const int64_t n = b.keys - k;
      if (n >= L) {
        store(x + k, e);
      } else {
        store_n(x + k, e, static_cast<int>(n));
      }
      sums += e;  // 0 beyond the last key
    }
    b.top[i] = top;
    b.factor[i] = factor[0];
    b.sum[i] = b.sum[i] * factor[0] + reduce_add(sums);
  }
}

template <class T>
static void update(const AttentionBlock<T>& b) {
  if (b.step == 1 && b.rows <= kFewQueries) return update_lines(b);
  constexpr int L = lanes<T>, kVectors = kAtOnce<T>;
  int64_t i = 0;
  for (; i + kVectors * L <= b.rows; i += kVectors * L) update<kVectors>(b, i, L);
  for (; i < b.rows; i += L) update<1>(b, i, lanes_used<T>(b.rows - i));
}

// scale_rows (kByColumn false) and scale_columns.
template <bool kByColumn, class T>
static void scale(const AttentionRows<T>& r) {
  constexpr int L = lanes<T>;
  for (int64_t i = 0; i < r.rows; ++i) {
    T* const row = r.y + i * r.step_y;
    const T* const from = r.x + i * r.step_x;
    const auto factor = [&](int64_t j) RANVIER_INLINED {
      return kByColumn ? load(r.factor + j) : broadcast(r.factor[i]);
    };
    int64_t j = 0;
    for (; j + L <= r.columns; j += L) store(row + j, load(from + j) * factor(j));
    const int n = static_cast<int>(r.columns - j);
    if (n > 0) store_n(row + j, load_n(from + j, n) * factor(j), n);
  }
}

// The gradient for kVectors vectors of queries; first and n as in update().
template <int kVectors, class T>
static __attribute__((noinline)) void gradient(const AttentionGradient<T>& g, int64_t first, int n) {
  constexpr int L = lanes<T>;
  vec<T> sum[kVectors] = {};
  for (int64_t begin = 0; begin < g.keys; begin += kSumKeys) {
    const int64_t end = g.keys - begin < kSumKeys ? g.keys : begin + kSumKeys;
    vec<T> part[kVectors] = {};
    for (int64_t k = begin; k < end; ++k) {
      const T* x = g.x + k * g.step_x + first;
      const T* w = g.w + k * g.step_w + first;
      RANVIER_UNROLL
      for (int v = 0; v < kVectors; ++v)
        part[v] = fma(load_lanes(x + v * L, n), load_lanes(w + v * L, n), part[v]);
    }
    RANVIER_UNROLL
    for (int v = 0; v < kVectors; ++v) sum[v] += part[v];
  }
  for (int64_t k = 0; k < g.keys; ++k) {
    T* const x = g.x + k * g.step_x + first;
    const T* const w = g.w + k * g.step_w + first;
    RANVIER_UNROLL
    for (int v = 0; v < kVectors; ++v)
      store_lanes(x + v * L, (load_lanes(x + v * L, n) - sum[v]) * load_lanes(w + v * L, n) * g.scale, n);
  }
}

template <class T>
static void gradient(const AttentionGradient<T>& g) {
  constexpr int L = lanes<T>, kVectors = kAtOnce<T>;
  int64_t i = 0;
  for (; i + kVectors * L <= g.rows; i += kVectors * L) gradient<kVectors>(g, i, L);
  for (; i < g.rows; i += L) gradient<1>(g, i, lanes_used<T>(g.rows - i));
}

// --- Attention with a cache, for kRows queries of one head.

// The state of the running softmax.
template <class T, int kRows>
struct Running {
  alignas(64) T scores[kRows * kAttentionKeys];
  // top, sum and factor are those of AttentionBlock; of_block: the sum after this block.
  T top[kRows], sum[kRows], factor[kRows], of_block[kRows];
};

// The scores of keys [begin, begin + n), in whole vectors of keys. Each score is one chain of products over
// e.
template <int kRows, int kVectors, class T>
static void cached_scores(const CachedQueries<T>& c, int64_t begin, int64_t n, T* scores) {
  constexpr int L = lanes<T>;
  static_assert(kVectors * L <= kCacheRoom);
  for (int64_t j = 0; j < n; j += kVectors * L) {
    vec<T> sum[kRows][kVectors] = {};
    const T* k = c.k + begin + j;
    for (int64_t i = 0; i < c.e; ++i, k += c.step_k) {
      RANVIER_UNROLL
      for (int r = 0; r < kRows; ++r) {
        const vec<T> q = broadcast<T>(c.q[r * c.step_q + i * c.lane_q] * c.scale);
        RANVIER_UNROLL
        for (int v = 0; v < kVectors; ++v) sum[r][v] = fma(q, load(k + v * L), sum[r][v]);
      }
    }
    RANVIER_UNROLL
    for (int r = 0; r < kRows; ++r) {
      RANVIER_UNROLL
      for (int v = 0; v < kVectors; ++v) store(scores + r * kAttentionKeys + j + v * L, sum[r][v]);
    }
  }
}

// Adds the values of a block of keys to kVectors vectors of the results, from element `first` on; the last
// vector has `last` lanes. Also sums the weights.
template <int kRows, int kVectors, class T>
static __attribute__((noinline)) void cached_values(const CachedQueries<T>& c, int64_t begin, int64_t n,
                                                    int64_t first, int last, Running<T, kRows>& so_far) {
  constexpr int L = lanes<T>;
  vec<T> result[kRows][kVectors] = {}, sum[kRows];
  RANVIER_UNROLL
  for (int r = 0; r < kRows; ++r) sum[r] = broadcast<T>(so_far.sum[r] * so_far.factor[r]);
  const T* value = c.v + begin * c.step_v + first;
  for (int64_t from = 0; from < n; from += kSumKeys) {  // blocks as in update(), so that the bits are equal
    const int64_t end = n - from < kSumKeys ? n : from + kSumKeys;
    vec<T> part[kRows] = {};
    for (int64_t k = from; k < end; ++k, value += c.step_v) {
      vec<T> x[kVectors];
      RANVIER_UNROLL
      for (int v = 0; v < kVectors; ++v) {
        const int n = v == kVectors - 1 ? last : L;
        x[v] = load_lanes(value + v * L, n);
      }
      RANVIER_UNROLL
      for (int r = 0; r < kRows; ++r) {
        const vec<T> weight = broadcast<T>(so_far.scores[r * kAttentionKeys + k]);
        part[r] += weight;
        RANVIER_UNROLL
        for (int v = 0; v < kVectors; ++v) result[r][v] = fma(weight, x[v], result[r][v]);
      }
    }
    RANVIER_UNROLL
    for (int r = 0; r < kRows; ++r) sum[r] += part[r];
  }
  RANVIER_UNROLL
  for (int r = 0; r < kRows; ++r) {
    const vec<T> factor = broadcast<T>(so_far.factor[r]);
    T* const y = c.y + r * c.step_y + first;
    RANVIER_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      const int m = v == kVectors - 1 ? last : L;
      if (begin > 0) result[r][v] = load_lanes(y + v * L, m) * factor + result[r][v];
      store_lanes(y + v * L, result[r][v], m);
    }
    so_far.of_block[r] = sum[r][0];
  }
}

// All blocks of keys for kRows queries. Scores of keys that a query does not see become -inf.
template <int kRows, int kVectors, class T>
static __attribute__((noinline)) void cached_rows(const CachedQueries<T>& c) {
  constexpr int L = lanes<T>;
  constexpr T kHidden = -Limits<T>::infinity;
  Running<T, kRows> so_far;
  for (int r = 0; r < kRows; ++r) {
    so_far.top[r] = kHidden;
    so_far.sum[r] = 0;
  }
  for (int64_t begin = 0; begin < c.keys; begin += kAttentionKeys) {
    const int64_t n = c.keys - begin < kAttentionKeys ? c.keys - begin : kAttentionKeys;
    cached_scores<kRows, kVectors>(c, begin, n, so_far.scores);
    for (int64_t r = 0; r < kRows; ++r)
      for (int64_t later = 1; later < kRows - r; ++later)
        if (c.keys - later >= begin && c.keys - later < begin + n)
          so_far.scores[r * kAttentionKeys + c.keys - later - begin] = kHidden;
    // Its sum is not used, since cached_values() adds the weights in the blocks of update().
    update_lines<T>({n, kRows, 1, kAttentionKeys, so_far.scores, so_far.top, so_far.of_block, so_far.factor});
    int64_t j = 0;
    for (; j + 2 * L <= c.d; j += 2 * L) cached_values<kRows, 2>(c, begin, n, j, L, so_far);
    for (; j < c.d; j += L) cached_values<kRows, 1>(c, begin, n, j, lanes_used<T>(c.d - j), so_far);
    for (int r = 0; r < kRows; ++r) so_far.sum[r] = so_far.of_block[r];
  }
  for (int r = 0; r < kRows; ++r) so_far.factor[r] = so_far.sum[r] == 0 ? 0 : 1 / so_far.sum[r];
  scale<false, T>({kRows, c.d, c.y, c.step_y, c.y, c.step_y, so_far.factor});
}

// AttentionKernels::cached: four queries at a time, then single ones.
template <class T>
static void cached(const CachedQueries<T>& c) {
  constexpr int kRows = 4;  // queries that share each load of keys and values
  CachedQueries<T> next = c;
  int64_t r = 0;
  const auto move_to = [&](int64_t rows) {
    next.q = c.q + r * c.step_q;
    next.y = c.y + r * c.step_y;
    next.keys = c.keys - c.rows + r + rows;
    r += rows;
  };
  while (r + kRows <= c.rows) move_to(kRows), cached_rows<kRows, 2>(next);
  while (r < c.rows) move_to(1), cached_rows<1, 4>(next);
}

template <class T>
static constexpr AttentionKernels<T> attention_table = {update<T>, scale<false, T>, scale<true, T>,
                                                        gradient<T>, cached<T>};

RANVIER_DEFINE_TABLES(AttentionKernels, attention_kernels, attention_table);

}  // namespace ranvier::RANVIER_ISA
