// The inner loops of the gradients of conv2d_pool (gradient.h), compiled once for each ISA level: they list
// the gradients that are not zero, and sum over these lists. patches.h and quads.h have other ways to sum. An
// offset is the number of an element in its window, row by row.
#include <utility>

#include "kernels/conv2d_pool/patches.h"
#include "kernels/conv2d_pool/quads.h"
#include "simd/mask_bits.h"
#include "simd/permute.h"
#include "simd/strided.h"
#include "simd/tile.h"
#include "simd/transpose.h"

namespace ranvier::RANVIER_ISA {

// The offsets of n channels from p on; 0 in the other lanes.
RANVIER_INLINE ivec<float> load_offsets(const uint8_t* p, int n) {
  return n == lanes<float> ? widen_bytes(p, 0.0f) : widen_first_bytes(p, n);
}

// Where the element of an offset is in the input, as an index relative to the first element of the window. If
// the window has at most as many elements as a vector has lanes, it is looked up in a table, else computed.
struct WindowIndex {
  int columns, inverse, row, column;
  ivec<float> table;
  bool small;
  explicit WindowIndex(const PooledPixels& in)
      : columns(in.window_columns),
        inverse((65536 + columns - 1) / columns),  // offset * inverse >> 16 is offset / columns below 256
        row(in.row_step - columns * in.column_step),
        column(in.column_step),
        small(has_permute<float> && in.window_elements <= lanes<float>) {
    // Element i is in row i / columns of the window and in column i % columns: its place is
    // i / columns * row_step + i % columns * column_step, which is i * column + i / columns * row.
    for (int i = 0; i < lanes<float>; ++i) table[i] = i * column + i / columns * row;
  }
};
template <class V>
RANVIER_INLINE V index_of(const WindowIndex& w, V offset) {
  if constexpr (has_permute<element_of<decltype(from_bits(offset))>>)
    if (w.small) return bits(permute(from_bits(w.table), offset));
  return offset * w.column + ((offset * w.inverse) >> 16) * w.row;
}

// True if the gradients of n pixels from p on are contiguous in memory.
RANVIER_INLINE bool are_dense(const PooledPixels& in, int64_t p, int n) {
  bool dense = true;
  for (int i = 1; i < n; ++i) dense &= in.dy_at[p + i] - in.dy_at[p] == i;
  return dense;
}

// The gradients of n pixels from p on for channel k, one in each lane; for dy_k that is not 1. dense: see
// are_dense().
RANVIER_INLINE vec<float> load_pixels(const PooledPixels& in, int64_t p, int n, int64_t k, bool dense) {
  const float* dy = in.dy + k * in.dy_k;
  const int64_t* at = in.dy_at + p;
  if (dense) return n == lanes<float> ? load(dy + at[0]) : load_n(dy + at[0], n);
  vec<float> v{};
  for (int i = 0; i < lanes<float>; ++i)
    if (i < n) v[i] = dy[at[i]];
  return v;
}

// PooledGradientKernels::list_by_channel, by squares of a vector of pixels and a vector of channels, which
// are transposed so that a row is a channel.
static void list_by_channel(const PooledPixels& in, const PooledLists& lists, float* sums) {
  constexpr int L = lanes<float>;
  const WindowIndex window(in);
  for (int64_t p = 0; p < in.pixels; p += L) {
    const int np = lanes_used<float>(in.pixels - p);
    ivec<float> corner{};
    for (int i = 0; i < L; ++i)
      if (i < np) corner[i] = in.corner[p + i];
    const bool dense = in.dy_k != 1 && are_dense(in, p, np);
    for (int k = 0; k < in.channels; k += L) {
      const int nk = in.channels - k < L ? in.channels - k : L;
      vec<float> g[L], offsets[L];
      for (int i = 0; i < L; ++i) {
        g[i] = vec<float>{};
        offsets[i] = vec<float>{};
        if (i >= np) continue;
        offsets[i] = from_bits(load_offsets(in.where + in.where_at[p + i] + k, nk));
        if (in.dy_k != 1) continue;
        const float* dy = in.dy + in.dy_at[p + i] + k;
        g[i] = nk == L ? load(dy) : load_n(dy, nk);
      }
      transpose(offsets);
      if (in.dy_k == 1)
        transpose(g);
      else
        for (int i = 0; i < nk; ++i) g[i] = load_pixels(in, p, np, k + i, dense);
      for (int i = 0; i < nk; ++i) {
        int32_t& end = lists.end[k + i];
        const ivec<float> offset = bits(offsets[i]);
        const uint32_t keep = mask_bits((g[i] != vec<float>{}) & (offset < in.window_elements));
        end += compress_store(keep, g[i], lists.value + end, index_of(window, offset) + corner,
                              lists.index + end);
        if (sums) store(sums + (k + i) * L, load(sums + (k + i) * L) + g[i]);
      }
    }
  }
}

// PooledGradientKernels::mask_offsets: for each pixel and offset the bits of the channels whose maximum was
// there and whose gradient is not 0.
static void mask_offsets(const PooledPixels& in, int first, uint32_t* masks) {
  constexpr int L = lanes<float>;
  const int n = in.channels - first;
  uint8_t few[kPooledBits];
  for (int64_t p = 0; p < in.pixels; ++p, masks += in.window_elements) {
    const float* dy = in.dy + in.dy_at[p] + first;
    const uint8_t* where = in.where + in.where_at[p] + first;
    uint32_t any = 0;
    for (int k = 0; k < n; k += L) {
      const vec<float> g = n - k < L ? load_n(dy + k, n - k) : load(dy + k);
      any |= mask_bits(g != vec<float>{}) << k;
    }
    if (n < kPooledBits) {
      for (int k = 0; k < n; ++k) few[k] = where[k];
      where = few;
    }
    for (int o = 0; o < in.window_elements; ++o) masks[o] = bits_equal(where, static_cast<uint8_t>(o)) & any;
  }
}

// PooledGradientKernels::list_by_offset: appends for each pixel and offset a list of its channels and their
// gradients.
static int64_t list_by_offset(const PooledPixels& in, int first, const uint32_t* masks,
                              const PooledLists& lists, int64_t* entries) {
  constexpr int L = lanes<float>;
  ivec<float> lane;
  for (int i = 0; i < L; ++i) lane[i] = i;
  const int64_t all = in.pixels * in.window_elements;
  int64_t count = 0;
  int64_t end = *entries;
  for (int64_t p = 0; p < in.pixels; ++p) {
    const float* dy = in.dy + in.dy_at[p];
    int32_t row = in.corner[p];
    int32_t column = 0;
    for (int offset = 0; offset < in.window_elements; ++offset, ++masks) {
      const int64_t begin = end;
      for (int k = first; k < in.channels; k += L) {
        // The L bits of channels k ... of this pixel and offset: the masks of kPooledBits channels each are
        // `all` apart.
        constexpr uint64_t kVectorBits = (uint64_t{1} << L) - 1;
        const uint32_t of_channels = masks[(k - first) / kPooledBits * all];
        const uint32_t bits = of_channels >> k % kPooledBits & kVectorBits;
        const vec<float> g = in.channels - k < L ? load_n(dy + k, in.channels - k) : load(dy + k);
        end += compress_store(bits, g, lists.value + end, lane + k, lists.index + end);
      }
      if (end > begin) {
        lists.begin[count] = static_cast<int32_t>(begin);
        lists.end[count] = static_cast<int32_t>(end);
        lists.place[count] = row + column * in.column_step;
        ++count;
      }
      if (++column == in.window_columns) {
        column = 0;
        row += in.row_step;
      }
    }
  }
  *entries = end;
  return count;
}

// The most registers for sums. Of the others one holds a gradient, and without FMA some hold products.
static constexpr int kFewRegistersTile = RANVIER_HAS_FMA ? 12 : 8;
static constexpr int kTile = RANVIER_VECTOR_REGISTERS == 32 ? 24 : kFewRegistersTile;

// How many independent sums each sum of a tile of this size is divided into.
static constexpr int chains_of(int size) {
  if (size >= 6 || 4 * size > kTile) return 1;
  return size >= 3 ? 2 : 4;
}

// PooledGradientKernels::sum for a tile of this many rows and vectors: adds the sum over each list to c. A
// sum is a chain of dependent additions; so if the tile is small, kChains independent sums take one entry
// after another, and are added at the end.
template <int rows, int vectors>
static void sum_lists(const PooledSums& p) {
  constexpr int L = lanes<float>;
  constexpr int kChains = chains_of(rows * vectors);
  const float* value = p.lists.value;
  const int32_t* index = p.lists.index;
  for (int64_t list = 0; list < p.count; ++list) {
    int64_t e = p.lists.begin[list];
    const int64_t end = p.lists.end[list];
    if (e == end) continue;
    vec<float> sum[kChains][rows][vectors] = {};
    const auto add = [&](int chain) __attribute__((always_inline)) {
      const vec<float> g = broadcast(value[e + chain]);
      const float* b = p.b + index[e + chain] * p.b_step;
      RANVIER_UNROLL
      for (int i = 0; i < rows; ++i) {
        RANVIER_UNROLL
        for (int v = 0; v < vectors; ++v)
          sum[chain][i][v] = fma(g, load(b + i * p.b_row + v * L), sum[chain][i][v]);
      }
    };
    for (; e + kChains <= end; e += kChains) {
      RANVIER_UNROLL
      for (int chain = 0; chain < kChains; ++chain) add(chain);
    }
    if (kChains > 1)
      for (; e < end; ++e) add(0);
    float* c = p.c + p.lists.place[list] * p.c_step;
    RANVIER_UNROLL
    for (int i = 0; i < rows; ++i, c += p.c_row) {
      RANVIER_UNROLL
      for (int v = 0; v < vectors; ++v) {
        vec<float> total = sum[0][i][v];
        RANVIER_UNROLL
        for (int chain = 1; chain < kChains; ++chain) total = total + sum[chain][i][v];
        total = total + load(c + v * L);
        if (v < vectors - 1 || p.last == L)
          store(c + v * L, total);
        else
          store_n(c + v * L, total, p.last);
      }
    }
  }
}

using SumLists = void (*)(const PooledSums&);

template <int rows, int vectors>
static constexpr SumLists sum_or_none() {
  if constexpr (rows * vectors <= kTile)
    return sum_lists<rows, vectors>;
  else
    return nullptr;
}

template <class Vectors>
struct PooledTiles;
template <int... V>
struct PooledTiles<std::integer_sequence<int, V...>> {
  static constexpr SumLists table[kPooledRows][kPooledVectors] = {
      {sum_or_none<1, V + 1>()...}, {sum_or_none<2, V + 1>()...}, {sum_or_none<3, V + 1>()...}};
};

static void sum(const PooledSums& p) {
  PooledTiles<std::make_integer_sequence<int, kPooledVectors>>::table[p.rows - 1][p.vectors - 1](p);
}

// See PooledGradientKernels.
static void combine(float* to, int64_t partials, int64_t stride, int64_t n) {
  constexpr int L = lanes<float>;
  for (int64_t i = 0; i < n; i += L) {
    const int left = lanes_used<float>(n - i);
    vec<float> total = load_part(to + i, left);
    for (int64_t p = 1; p < partials; ++p) total = total + load_part(to + p * stride + i, left);
    store_lanes(to + i, 1, total, left);
  }
}

// PooledGradientKernels::finish: copies a row of sums to dx, 0 where the ReLU before the convolution has cut
// off.
static void finish(const PooledGradientRow& row) {
  constexpr int L = lanes<float>;
  for (int64_t p = 0; p < row.pixels; ++p) {
    const float* sum = row.sum + p * row.sum_w;
    const float* saved = row.saved + p * row.saved_w;
    float* dx = row.dx + p * row.dx_w;
    for (int64_t c = 0; c < row.channels; c += L) {
      const int n = lanes_used<float>(row.channels - c);
      vec<float> v = load_part(sum + c, n);
      if (row.saved)
        v = select(load_lanes(saved + c * row.saved_c, row.saved_c, n) <= vec<float>{}, vec<float>{}, v);
      store_lanes(dx + c, 1, v, n);
    }
  }
}

extern const PooledGradientKernels pooled_gradient_kernels_float = {
    lanes<float>, kTile,     sum,          list_by_channel, list_by_offset, kQuadTaps, kQuadVectors,
    make_quads,   sum_quads, mask_offsets, find_patches,    combine,        finish};

}  // namespace ranvier::RANVIER_ISA
