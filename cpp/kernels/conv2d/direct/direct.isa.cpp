// The inner loops of the direct sum, compiled once for each ISA level. A tile has rows (pixels) x vectors (of
// output channels) sums in registers during the products. run_tile() chooses the code by the size of a tile;
// at the end is the table ConvKernels (tile.h).
#include "base/unroll.h"
#include "kernels/conv2d/direct/dots.h"
#include "kernels/conv2d/direct/half_tiles.h"
#include "kernels/conv2d/direct/packing.h"
#include "kernels/conv2d/direct/products.h"
#include "kernels/conv2d/direct/store.h"
#include "simd/permute.h"
#include "simd/stream.h"

namespace ranvier::RANVIER_ISA {

// The numbers of rows for which there is code, for tiles of one, two and three vectors. Tiles of other
// heights use the next larger one. As in matmul, the sums, a row of b and one element of a fill the
// registers.
template <class T>
struct TileHeights {
#if RANVIER_VECTOR_REGISTERS >= 32
  static constexpr int of[3][8] = {
      {4, 4, 8, 8, 12, 12, 14, 14}, {2, 4, 6, 8, 10, 12, 13, 14}, {4, 4, 6, 6, 8, 8, 8, 8}};
#elif RANVIER_HAS_FMA
  static constexpr int of[3][6] = {{2, 4, 6, 8, 10, 12}, {1, 2, 3, 4, 5, 6}, {2, 2, 3, 3, 4, 4}};
#else
  static constexpr int of[2][4] = {{2, 2, 4, 4}, {1, 2, 3, 4}};
#endif
  static constexpr int kCount = sizeof of[0] / sizeof(int);
};
template <>
struct TileHeights<double> {  // fewer sizes, as float64 is rare
#if RANVIER_VECTOR_REGISTERS >= 32
  static constexpr int of[2][3] = {{4, 8, 14}, {4, 8, 14}};
#elif RANVIER_HAS_FMA
  static constexpr int of[2][3] = {{4, 8, 12}, {2, 4, 6}};
#else
  static constexpr int of[2][2] = {{2, 4}, {2, 4}};
#endif
  static constexpr int kCount = sizeof of[0] / sizeof(int);
};
// The most rows of tiles of two vectors, of one, and (kWideRows) of three.
constexpr int kConvRows = TileHeights<float>::of[1][TileHeights<float>::kCount - 1];
constexpr int kNarrowRows = TileHeights<float>::of[0][TileHeights<float>::kCount - 1];
template <class T>
constexpr int kWidths = sizeof TileHeights<T>::of / sizeof TileHeights<T>::of[0];
template <class T>
constexpr int kWideRows = kWidths<T> > 2 ? TileHeights<T>::of[kWidths<T> - 1][TileHeights<T>::kCount - 1] : 0;
static_assert(kConvRows <= kMaxConvRows && kNarrowRows <= kMaxConvRows);

// Finishes and stores the columns of a tile from vector kFirst on by store_general() (store.h).
template <int kFirst, class T, int kRows, int kVectors>
RANVIER_INLINE void store_from(const ConvTile<T>& t, const vec<T> (&acc)[kRows][kVectors]) {
  constexpr int L = lanes<T>, kCount = kVectors - kFirst;
  alignas(64) T spilled[kRows * kCount * L];
  RANVIER_UNROLL
  for (int i = 0; i < kRows; ++i) {
    RANVIER_UNROLL
    for (int v = 0; v < kCount; ++v) store(spilled + (i * kCount + v) * L, acc[i][kFirst + v]);
  }
  store_general<T>(t, spilled, kCount * L, kFirst * L);
}

// Finishes and stores a tile: whole vectors with a bias and ReLU, or added to c; all others by
// store_general().
template <class T, int kRows, int kVectors>
RANVIER_INLINE void store_tile(const ConvTile<T>& t, vec<T> (&acc)[kRows][kVectors]) {
  constexpr int L = lanes<T>;
  const bool whole = t.columns == kVectors * L;
  if (t.norm || (t.accumulate && !whole)) return store_from<0>(t, acc);
  if (t.accumulate) {
    RANVIER_UNROLL
    for (int i = 0; i < kRows; ++i) {
      RANVIER_UNROLL
      for (int v = 0; v < kVectors; ++v) store(t.c[i] + v * L, load(t.c[i] + v * L) + acc[i][v]);
    }
    return;
  }
  // The last vector of a tile that is not whole is stored by itself.
  if (!whole) {
    store_from<kVectors - 1>(t, acc);
    if (kVectors == 1) return;
  }
  vec<T> bias[kVectors] = {};
  if (t.bias) {
    RANVIER_UNROLL
    for (int v = 0; v < kVectors - 1; ++v) bias[v] = load(t.bias + v * L);
    if (whole) bias[kVectors - 1] = load(t.bias + (kVectors - 1) * L);
  }
  const auto put = [&](auto write) RANVIER_INLINED {
    RANVIER_UNROLL
    for (int i = 0; i < kRows; ++i) {
      RANVIER_UNROLL
      for (int v = 0; v < kVectors - 1; ++v) write(i, v);
    }
    if (!whole) return;
    RANVIER_UNROLL
    for (int i = 0; i < kRows; ++i) write(i, kVectors - 1);
  };
  if (t.relu) {
    RANVIER_UNROLL
    for (int i = 0; i < kRows; ++i) {
      RANVIER_UNROLL
      for (int v = 0; v < kVectors; ++v) acc[i][v] = cut_off(acc[i][v] + bias[v]);
    }
  } else {
    RANVIER_UNROLL
    for (int i = 0; i < kRows; ++i) {
      RANVIER_UNROLL
      for (int v = 0; v < kVectors; ++v) acc[i][v] = acc[i][v] + bias[v];
    }
  }
  if (t.stream)
    put([&](int i, int v) RANVIER_INLINED { stream(t.c[i] + v * L, acc[i][v]); });
  else
    put([&](int i, int v) RANVIER_INLINED { store(t.c[i] + v * L, acc[i][v]); });
}

// Computes a tile, by the loop of products.h that fits it.
template <class T, int kRows, int kVectors>
static void tile(const ConvTile<T>& t) {
  // The lines of the results are prefetched, to arrive while the products are computed.
  if (!t.stream) {
    RANVIER_UNROLL
    for (int i = 0; i < kRows; ++i) {
      RANVIER_UNROLL
      for (int v = 0; v < kVectors; ++v) __builtin_prefetch(t.c[i] + v * lanes<T>, 1);
    }
  }
  vec<T> acc[kRows][kVectors] = {};
  constexpr bool kFloat = sizeof(T) == sizeof(float);
  // Tiles so large that a pointer for each row would not fit into the registers.
  constexpr bool kManyRows = (kVectors == 2 && kRows >= 12) || (kVectors == 3 && kRows >= 8);
  constexpr bool kWidePairs = kManyRows && kFloat;
  const auto any = [&](ConvChain& chain) RANVIER_INLINED { multiply<T, kRows, kVectors>(t, chain, acc); };
  if constexpr (kVectors == 1 && kRows == kNarrowRows && kFloat && RANVIER_HAS_FMA) {
    const auto pairs = [&](ConvChain& chain) RANVIER_INLINED { multiply_pairs<T, kRows>(t, chain, acc); };
    if (t.row_step && t.rows == kRows && t.step_a == 1 && t.step_b == lanes<T>)
      add_chains(t, acc, pairs);
    else
      add_chains(t, acc, any);
  } else if constexpr (kWidePairs) {
    const auto pairs = [&](ConvChain& chain)
                           RANVIER_INLINED { multiply_wide_pairs<T, kRows, kVectors>(t, chain, acc); };
    if (t.row_step && t.rows == kRows)
      add_chains(t, acc, pairs);
    else
      add_chains(t, acc, any);
  } else {
    add_chains(t, acc, any);
  }
  store_tile<T, kRows, kVectors>(t, acc);
}

// Adds the sums of kVectors vectors of columns to `out`, four pixels at a time, so that four sums are
// independent. Pixels may be so far apart that the hardware does not prefetch them.
template <class T, int kVectors>
static void sum_vectors(const ConvSegment* segments, int64_t count, const T* b, int64_t step, int columns,
                        T* out) {
  constexpr int L = lanes<T>, kAheadPixels = 24;
  vec<T> acc[4][kVectors] = {};
  const auto add = [&](int i, const T* p) RANVIER_INLINED {
    RANVIER_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      acc[i][v] = acc[i][v] + load(p + v * L);
      __builtin_prefetch(p + kAheadPixels * step + v * L);
    }
  };
  for (const ConvSegment* s = segments; s != segments + count; ++s) {
    const T* p = b + s->b;
    int64_t n = s->n;
    for (; n >= 4; n -= 4, p += 4 * step) {
      RANVIER_UNROLL
      for (int i = 0; i < 4; ++i) add(i, p + i * step);
    }
    for (; n > 0; --n, p += step) add(0, p);
  }
  RANVIER_UNROLL
  for (int v = 0; v < kVectors; ++v) {
    const vec<T> total = (acc[0][v] + acc[1][v]) + (acc[2][v] + acc[3][v]);
    const int n = columns - v * L < L ? columns - v * L : L;
    store_n(out + v * L, load_n(out + v * L, n) + total, n);
  }
}

// ConvKernels::sum.
template <class T>
static void sum(const ConvSegment* segments, int64_t count, const T* b, int64_t step, int columns, T* out) {
  constexpr int L = lanes<T>;
  for (; columns > L; columns -= 2 * L, b += 2 * L, out += 2 * L)
    sum_vectors<T, 2>(segments, count, b, step, columns, out);
  if (columns > 0) sum_vectors<T, 1>(segments, count, b, step, columns, out);
}

// ConvKernels::grouped, for groups of few channels: a vector holds the output channels of several groups. A
// vector of input has the channels of these groups, and a permutation gives each lane the input channels of
// its group, one after another. A row needs two registers, for its input and its sums.
constexpr int kGroupedRows = RANVIER_VECTOR_REGISTERS >= 32 ? 12 : 6;

template <class T>
static void grouped_tile(ConvTile<T>& t) {
  constexpr int L = lanes<T>, kRows = kGroupedRows;
  alignas(64) T nowhere[L];
  for (int i = t.rows; i < kRows; ++i) {
    t.a[i] = t.a[i - 1];
    t.c[i] = nowhere;
  }
  vec<T> acc[kRows][1] = {};
  ivec<T> first;
  __builtin_memcpy(&first, t.pick, sizeof first);
  for (const ConvSegment* s = t.segments; s != t.segments + t.count; ++s) {
    const T* b = t.b + s->b;
    // The rows' pointers are read again: GCC would keep them in vector registers.
    asm volatile("" ::: "memory");
    vec<T> x[kRows];
    RANVIER_UNROLL
    for (int i = 0; i < kRows; ++i) x[i] = load_n(t.a[i] + s->a, t.reach);
    ivec<T> pick = first;
    for (int64_t c = 0; c < s->n; ++c, b += L) {
      const vec<T> row = load(b);
      RANVIER_UNROLL
      for (int i = 0; i < kRows; ++i) acc[i][0] = fma(permute(x[i], pick), row, acc[i][0]);
      pick = pick + ibroadcast<T>(1);
    }
  }
  store_tile<T, kRows, 1>(t, acc);
}

template <class T>
static constexpr auto grouped_or_none() -> void (*)(ConvTile<T>&) {
  if constexpr (has_permute<T>)
    return grouped_tile<T>;
  else
    return nullptr;
}

#if RANVIER_VECTOR_BYTES == 64
// The same as store_tile() for one vector and any number of rows, from sums in memory.
static __attribute__((noinline)) void store_rows(const ConvTile<float>& t, const float* acc) {
  constexpr int L = lanes<float>;
  if (t.columns < L || t.norm || t.stream) return store_general<float>(t, acc, L);
  const vec<float> bias = t.bias ? load(t.bias) : vec<float>{};
  for (int i = 0; i < t.rows; ++i) {
    const vec<float> x = load(acc + i * L) + bias;
    const vec<float> y = t.relu ? cut_off(x) : x;
    store(t.c[i], y);
  }
}

// ConvKernels::shared: the rows are neighbouring pixels; each input is read once, and multiplied by all taps
// that meet it.
template <int kRows>
static void shared_tile(const ConvTile<float>& t) {
  constexpr int L = lanes<float>;
  if (!t.stream)
    for (int i = 0; i < kRows; ++i) __builtin_prefetch(t.c[i], 1);
  vec<float> acc[kRows][1] = {};
  const int64_t step = t.row_step;
  const int64_t step_b = t.step_b;
  const int64_t fetch_step = kSharedTaps * t.fetch_step;
  add_chains(t, acc, [&](ConvChain& chain) RANVIER_INLINED {
    const char* fetch = chain.fetch;
    for (const ConvSegment* s = chain.begin; s != chain.end; ++s, fetch += fetch_step) {
      const float* a = t.a[0] + s->a;
      const float* b = t.b + s->b;
      const vec<float> w[kSharedTaps] = {load(b), load(b + step_b), load(b + 2 * step_b)};
      const auto add = [&](int i, int tap, const vec<float>& x)
                           RANVIER_INLINED { acc[i][0] = fma(x, w[tap], acc[i][0]); };
      __builtin_prefetch(fetch);
      // Input i meets tap `tap` of row i - tap. The first and the last input meet one row, and may be
      // padding.
      if (!t.without_first) add(0, 0, broadcast<float>(a[0]));
      RANVIER_UNROLL
      for (int i = 1; i < kRows + kSharedTaps - 2; ++i) {
        const vec<float> x = broadcast<float>(a[i * step]);
        RANVIER_UNROLL
        for (int tap = 0; tap < kSharedTaps; ++tap)
          if (i >= tap && i - tap < kRows) add(i - tap, tap, x);
      }
      if (!t.without_last) add(kRows - 1, 2, broadcast<float>(a[(kRows + 1) * step]));
    }
    chain.fetch = fetch;
  });
  alignas(64) float spilled[kRows * L];
  RANVIER_UNROLL
  for (int i = 0; i < kRows; ++i) store(spilled + i * L, acc[i][0]);
  store_rows(t, spilled);
}
#endif

template <class T>
static constexpr auto shared_or_none() -> void (*)(const ConvTile<T>&) {
#if RANVIER_VECTOR_BYTES == 64
  if constexpr (sizeof(T) == sizeof(float))
    return [](const ConvTile<T>& t) {
      if (t.rows == kSharedRows[0]) {
        shared_tile<kSharedRows[0]>(t);
      } else {
        shared_tile<kSharedRows[1]>(t);
      }
    };
#endif
  return nullptr;
}

// A tile of one vector whose rows are consecutive in memory (ConvTile::consecutive).
template <class T, int kRows>
static void consecutive_tile(const ConvTile<T>& t) {
  vec<T> acc[kRows][1] = {};
  add_chains(t, acc,
             [&](const ConvChain& chain) RANVIER_INLINED { multiply_consecutive<T, kRows>(t, chain, acc); });
  alignas(64) T spilled[kRows * lanes<T>];
  RANVIER_UNROLL
  for (int i = 0; i < kRows; ++i) store(spilled + i * lanes<T>, acc[i][0]);
  store_general<T>(t, spilled, lanes<T>);
}

// The function for tiles of this many rows that are consecutive in memory; null where there is none.
template <class T>
static auto consecutive([[maybe_unused]] int rows) -> void (*)(const ConvTile<T>&) {
#if RANVIER_VECTOR_REGISTERS >= 32
  if constexpr (sizeof(T) == sizeof(float)) switch (rows) {
      case 8:
        return consecutive_tile<T, 8>;
      case 10:
        return consecutive_tile<T, 10>;
      case 12:
        return consecutive_tile<T, 12>;
      case 14:
        return consecutive_tile<T, 14>;
      case 16:
        return consecutive_tile<T, 16>;
    }
#endif
  return nullptr;
}
constexpr int kConsecutiveRows = RANVIER_VECTOR_REGISTERS >= 32 ? 16 : kNarrowRows;

// The table of tile(): of[vectors - 1][index of the height].
template <class T, class Heights>
struct ConvTiles;
template <class T, int... I>
struct ConvTiles<T, std::integer_sequence<int, I...>> {
  using Function = void (*)(const ConvTile<T>&);
  template <int kVectors>
  static constexpr Function row[] = {tile<T, TileHeights<T>::of[kVectors - 1][I], kVectors>...};
  static constexpr const Function* of[] = {row<1>, row<2>, row<kWidths<T>>};
};

// For each number of rows of a tile, the index of the least height in TileHeights that holds them.
template <class T>
struct HeightIndices {
  int of[kWidths<T>][kMaxConvRows + 1] = {};
  constexpr HeightIndices() {
    for (int width = 0; width < kWidths<T>; ++width) {
      const auto& heights = TileHeights<T>::of[width];
      for (int i = TileHeights<T>::kCount - 1; i >= 0; --i)
        for (int rows = 0; rows <= heights[i]; ++rows) of[width][rows] = i;
    }
  }
};

// ConvKernels::tile. Where there is no code for the number of rows, the tile is lengthened by rows that
// repeat the last one and are stored to `nowhere`.
template <class T>
static void run_tile(ConvTile<T>& t) {
  constexpr int L = lanes<T>;
  const int vectors = (t.columns + L - 1) / L;
  if (t.consecutive && vectors == 1)
    if (const auto run = consecutive<T>(t.rows)) return run(t);
  alignas(64) T nowhere[kWidths<T> * L];
  const auto lengthen = [&](int height) RANVIER_INLINED {
    for (int i = t.rows; i < height; ++i) {
      t.a[i] = t.a[i - 1];
      t.c[i] = nowhere;
    }
  };
#if RANVIER_HAS_HALF
  if constexpr (sizeof(T) == sizeof(float)) {
    static constexpr void (*half[2][3])(const ConvTile<float>&) = {
        {half_tile<8>, half_tile<12>, half_tile<14>},
        {row_pairs_tile<8>, row_pairs_tile<12>, row_pairs_tile<kPairedRows>}};
    if (t.rows >= 6 && vectors <= 2 && (t.columns - 1) % L < L / 2) {
      const int* const heights = kHalfRows[vectors - 1];
      int index = 0;
      while (heights[index] < t.rows) ++index;
      lengthen(heights[index]);
      return half[vectors - 1][index](t);
    }
  }
#endif
  using Heights = TileHeights<T>;
  using Tiles = ConvTiles<T, std::make_integer_sequence<int, Heights::kCount>>;
  static constexpr HeightIndices<T> indices;
  const int index = indices.of[vectors - 1][t.rows];
  lengthen(Heights::of[vectors - 1][index]);
  Tiles::of[vectors - 1][index](t);
}

static void end_streams() { stream_end(); }

template <class T>
static constexpr ConvKernels<T> conv_table() {
  ConvKernels<T> t{};
  t.mr = kConvRows;
  t.lanes = lanes<T>;
  t.narrow_rows = kNarrowRows;
  t.consecutive_rows = sizeof(T) == sizeof(float) ? kConsecutiveRows : kNarrowRows;
  t.paired_rows = kHasHalf<T> ? kPairedRows : kConvRows;
  t.wide_rows = kWideRows<T>;
  t.tile = run_tile<T>;
  t.stream_end = end_streams;
  for (int outs = 1; outs <= kMaxDots; ++outs) t.dot_rows[outs] = dot_rows(outs);
  t.dots = run_dots<T>;
  t.grouped_rows = kGroupedRows;
  t.grouped = grouped_or_none<T>();
  t.shared = shared_or_none<T>();
  t.pack_panel = pack_panel<T>;
  t.combine = combine<T>;
  t.sum = sum<T>;
  return t;
}
extern const ConvKernels<float> conv_kernels_float = conv_table<float>();
extern const ConvKernels<double> conv_kernels_double = conv_table<double>();

}  // namespace ranvier::RANVIER_ISA
