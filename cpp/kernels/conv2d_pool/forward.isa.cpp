// The inner loops of the forward pass of conv2d_pool (PooledKernels in tile.h), compiled once for each ISA
// level: they pool what a thread has just computed, from memory, or in registers.
#include <utility>

#include "base/unroll.h"
#include "kernels/conv2d/direct/products.h"
#include "kernels/conv2d/winograd/output.h"
#include "kernels/conv2d_pool/tile.h"
#include "simd/bytes.h"

namespace ranvier::RANVIER_ISA {

// The maximum of a window and the offset of this maximum, in each lane.
struct WindowMax {
  vec<float> best;
  ivec<float> offset;
};

// Takes the next value of a window, in order; `at` is its offset. Of equal values the first stays; a NaN
// replaces all before it.
RANVIER_INLINE void meet(WindowMax& m, vec<float> v, int at) {
  const ivec<float> better = (v > m.best) | (v != v);
  m.best = select(better, v, m.best);
  m.offset = select(better, ibroadcast<float>(at), m.offset);
}

// Stores n lanes, 0 < n <= lanes; where: or null. With vectors of less than 64 bytes, masked stores take much
// more time than plain ones.
RANVIER_INLINE void store_max(vec<float> best, ByteLanes<float>::type offset, int n, float* y,
                              uint8_t* where) {
  if (RANVIER_VECTOR_BYTES < 64 && n == lanes<float>) {
    store(y, best);
  } else {
    store_n(y, best, n);
  }
  if (where) store_bytes(where, offset, n);
}

// Stores the maximum of four values, none of which is NaN, and its offset. Of equal values `maximum` gives
// the second argument.
RANVIER_INLINE void store_max_of_numbers(const vec<float> (&v)[4], const SmallInts (&offset)[4],
                                         vec<float> floor, int n, float* y, uint8_t* where) {
  const vec<float> upper = maximum(v[1], v[0]);
  const vec<float> lower = maximum(v[3], v[2]);
  const SmallInts in_upper = if_greater(v[1], v[0], offset[1], offset[0]);
  const SmallInts in_lower = if_greater(v[3], v[2], offset[3], offset[2]);
  const vec<float> best = maximum(maximum(lower, upper), floor);
  const SmallInts place = if_greater(lower, upper, in_lower, in_upper);
  store_max(best, to_bytes(place), n, y, where);
}

// PooledKernels::row, for windows of kRows x kColumns, or if these are 0, of p.window.
template <int kRows, int kColumns, bool kNorm = false>
static void pool_row(const PooledRow& p) {
  constexpr int L = lanes<float>;
  const int64_t rows = kRows ? kRows : p.window[0];
  const int64_t columns = kColumns ? kColumns : p.window[1];
  const int64_t row = p.row;
  const int64_t pixel = p.pixel;
  const int64_t windows = p.windows;
  const int64_t step = p.step;
  const int64_t where_step = p.where ? step : 0;
  const vec<float> floor = floor_of(p.relu);
  for (int64_t k = 0; k < p.channels; k += L) {
    const int n = lanes_used<float>(p.channels - k);
    const vec<float> bias = p.bias ? load_n(p.bias + k, n) : vec<float>{};
    ChannelLine<float> line{};
    if (kNorm) line = channel_line(p.norm + k, p.norm_step, n);
    const auto value = [&](const float* at) __attribute__((always_inline)) {
      const vec<float> x = load(at) + bias;
      return kNorm ? normalized(x, line) : x;
    };
    const float* z = p.z + k;
    float* y = p.y + k;
    uint8_t* where = p.where ? p.where + k : nullptr;
    for (int64_t i = 0; i < windows; ++i, z += columns * pixel, y += step, where += where_step) {
      WindowMax m{value(z), {}};
      if constexpr (kRows > 0) {
        RANVIER_UNROLL
        for (int at = 1; at < kRows * kColumns; ++at)
          meet(m, value(z + at / kColumns * row + at % kColumns * pixel), at);
      } else {
        int at = 0;
        for (int64_t r = 0; r < rows; ++r)
          for (int64_t s = 0; s < columns; ++s, ++at)
            if (at > 0) meet(m, value(z + r * row + s * pixel), at);
      }
      store_max(max(m.best, floor), narrow_to_bytes(m.offset), n, y, where);
    }
  }
}

static void pool(const PooledRow& p) {
  const bool is_2x2 = p.window[0] == 2 && p.window[1] == 2;
  if (p.norm && is_2x2) return pool_row<2, 2, /*kNorm=*/true>(p);
  if (p.norm) return pool_row<0, 0, /*kNorm=*/true>(p);
  if (is_2x2) return pool_row<2, 2>(p);
  if (p.window[0] == 3 && p.window[1] == 3) return pool_row<3, 3>(p);
  pool_row<0, 0>(p);
}

// The windows of 2 x 2 in a tile, of one vector of channels and of two: as many as the registers hold sums
// for, beside the weights of a step and one value of the input.
#if RANVIER_VECTOR_REGISTERS >= 32
constexpr int kPooledWindows[] = {4, 3};
#else
constexpr int kPooledWindows[] = {3, 1};
#endif

RANVIER_INLINE int lanes_left(const PooledTile& t, int vector) {
  const int left = t.columns - vector * lanes<float>;
  return left < lanes<float> ? left : lanes<float>;
}

// Pools the values of a tile that has a NaN among them, from memory.
static __attribute__((noinline)) void store_nans(const PooledTile& t, const float* values, int width) {
  PooledRow p;
  p.row = 2 * width;
  p.pixel = width;
  p.windows = 1;
  p.channels = t.columns;
  p.bias = nullptr;
  p.relu = t.relu;
  p.step = 0;
  for (int w = 0; 4 * w < t.rows; ++w) {
    p.z = values + w * 4 * width;
    p.y = t.c[4 * w];
    p.where = t.where[w];
    pool_row<2, 2>(p);
  }
}

// Adds bias and norm to the sums of a tile, pools them, and stores the maxima and offsets.
template <int kWindows, int kVectors>
RANVIER_INLINE void store_pooled(const PooledTile& t, vec<float> (&acc)[4 * kWindows][kVectors]) {
  constexpr int L = lanes<float>;
  vec<float> sum[2] = {};
  RANVIER_UNROLL
  for (int v = 0; v < kVectors; ++v) {
    const vec<float> bias = t.bias ? load_n(t.bias + v * L, lanes_left(t, v)) : vec<float>{};
    ChannelLine<float> line{};
    if (t.norm) line = channel_line(t.norm + v * L, t.norm_step, lanes_left(t, v));
    RANVIER_UNROLL
    for (int i = 0; i < 4 * kWindows; ++i) {
      acc[i][v] = acc[i][v] + bias;
      if (t.norm) acc[i][v] = normalized(acc[i][v], line);
      sum[i % 2] = sum[i % 2] + acc[i][v];
    }
  }
  sum[0] = sum[0] + sum[1];
  if (any_nan(sum[0])) {  // the sum of all values is NaN if one is; or if they have infinities of both signs
    alignas(64) float values[kWindows * 4 * kVectors * L];
    RANVIER_UNROLL
    for (int i = 0; i < kWindows * 4; ++i) {
      RANVIER_UNROLL
      for (int v = 0; v < kVectors; ++v) store(values + (i * kVectors + v) * L, acc[i][v]);
    }
    return store_nans(t, values, kVectors * L);
  }
  const vec<float> floor = floor_of(t.relu);
  SmallInts offset[4];
  RANVIER_UNROLL
  for (int i = 0; i < 4; ++i) offset[i] = in_register(small_ints(i));
  RANVIER_UNROLL
  for (int v = 0; v < kVectors; ++v) {
    const int n = lanes_left(t, v);
    RANVIER_UNROLL
    for (int w = 0; w < kWindows; ++w) {
      const vec<float> values[4] = {acc[4 * w][v], acc[4 * w + 1][v], acc[4 * w + 2][v], acc[4 * w + 3][v]};
      uint8_t* where = t.where[w] ? t.where[w] + v * L : nullptr;
      store_max_of_numbers(values, offset, floor, n, t.c[4 * w] + v * L, where);
    }
  }
}

// PooledKernels::tile, of this many windows and vectors of channels.
template <int kWindows, int kVectors>
static void pooled_tile(const PooledTile& t) {
  vec<float> acc[4 * kWindows][kVectors] = {};
  const ConvTile<float>& tile = t;
  add_chains(tile, acc, [&](ConvChain& chain) RANVIER_INLINED {
    multiply_wide_pairs<float, 4 * kWindows, kVectors, false>(tile, chain, acc);
  });
  store_pooled<kWindows, kVectors>(t, acc);
}

// PooledKernels::tile. Where a tile has fewer windows than there is code for, further windows repeat the
// first one and are stored to `nowhere`.
static void run_pooled_tile(PooledTile& t) {
  constexpr int L = lanes<float>;
  const int vectors = t.columns > L ? 2 : 1;
  alignas(64) float nowhere[2 * L];
  alignas(64) uint8_t no_offsets[2 * L];
  for (int i = t.rows; i < 4 * kPooledWindows[vectors - 1]; ++i) {
    t.a[i] = t.a[i % 4];
    t.c[i] = nowhere;
    t.where[i / 4] = no_offsets;
  }
  if (vectors == 2)
    pooled_tile<kPooledWindows[1], 2>(t);
  else
    pooled_tile<kPooledWindows[0], 1>(t);
}

// PooledKernels::winograd_tile.
static void pool_winograd_tile(const WinogradSums& p, float* to, uint8_t* where) {
  constexpr int L = lanes<float>;
  const vec<float> floor = floor_of(p.relu);
  for (int64_t k = 0; k < p.channels; k += L) {
    const int n = lanes_used<float>(p.channels - k);
    vec<float> y[2][2];
    winograd_outputs(p, k, n, y);
    WindowMax m{y[0][0], {}};
    RANVIER_UNROLL
    for (int at = 1; at < 4; ++at) meet(m, y[at / 2][at % 2], at);
    uint8_t* where_k = where ? where + k : nullptr;
    store_max(max(m.best, floor), narrow_to_bytes(m.offset), n, to + k, where_k);
  }
}

#if RANVIER_VECTOR_BYTES > 16

template <int kFirst, int... I>
RANVIER_INLINE vec<float> every_second(vec<float> a, vec<float> b, std::integer_sequence<int, I...>) {
  return __builtin_shufflevector(a, b, (2 * I + kFirst)...);
}

// Pools a vector of windows of one channel, from two rows of a plane.
RANVIER_INLINE WindowMax windows_of(const float* z, const PooledPlanes& t, const float* norm) {
  constexpr int L = lanes<float>;
  using Lanes = std::make_integer_sequence<int, L>;
  WindowMax m;
  RANVIER_UNROLL
  for (int r = 0; r < 2; ++r, z += t.pitch) {
    vec<float> a = load(z);
    vec<float> b = load(z + L);
    if (norm) {
      const ChannelLine<float> line = same_line(norm, t.norm_step);
      a = normalized(a, line);
      b = normalized(b, line);
    }
    const vec<float> even = every_second<0>(a, b, Lanes{});
    const vec<float> odd = every_second<1>(a, b, Lanes{});
    if (r == 0)
      m = WindowMax{even, {}};
    else
      meet(m, even, 2);
    meet(m, odd, 2 * r + 1);
  }
  return m;
}

// PooledKernels::planes: see PooledPlanes.
static void pool_planes(const PooledPlanes& t) {
  constexpr int L = lanes<float>;
  for (int64_t i = 0; i < t.rows; ++i)
    for (int64_t j = 0; j < t.windows; j += L) {
      const float* z = t.z + 2 * (i * t.pitch + j);
      const int64_t to = i * t.windows + j;
      for (int64_t k = 0; k < t.channels; k += 4) {
        ivec<float> word{};
        for (int64_t c = k; c < t.channels && c < k + 4; ++c) {
          const float* norm = t.norm ? t.norm + c : nullptr;
          const WindowMax m = windows_of(z + c * t.z_step, t, norm);
          store(t.y + c * t.step + to, m.best);
          word = word | (m.offset << static_cast<int>(8 * (c - k)));
        }
        if (t.where) __builtin_memcpy(t.where + k / 4 * t.step + to, &word, sizeof word);
      }
    }
}

#else

static constexpr void (*pool_planes)(const PooledPlanes&) = nullptr;

#endif

extern const PooledKernels pooled_kernels_float = {
    pool, {kPooledWindows[0], kPooledWindows[1]}, run_pooled_tile, pool_winograd_tile, pool_planes};

}  // namespace ranvier::RANVIER_ISA
