// The loops of conv2d_pool's gradients, compiled once for each ISA level.
#include <utility>

#include "kernels/conv2d_pool/lists.h"
#include "kernels/conv2d_pool/patches.h"
#include "kernels/conv2d_pool/quads.h"
#include "simd/tile.h"

namespace ranvier::RANVIER_ISA {

// Registers for sums; of the others one holds a gradient, and some the products where FMA is two operations.
static constexpr int kTile = RANVIER_VECTOR_REGISTERS == 32 ? 24 : RANVIER_HAS_FMA ? 12 : 8;

// One tile's sum over a list, added to c. Where the tile is small, several entries go in turn to sums of
// their own, since each sum is a chain of dependent additions.
template <int rows, int vectors>
static void sum_lists(const PooledSums& p) {
  constexpr int L = lanes<float>, size = rows * vectors;
  constexpr int kChains = size >= 6 || 4 * size > kTile ? 1 : size >= 3 ? 2 : 4;
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
      for (int i = 0; i < rows; ++i) RANVIER_UNROLL
      for (int v = 0; v < vectors; ++v)
        sum[chain][i][v] = fma(g, load(b + i * p.b_row + v * L), sum[chain][i][v]);
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

static void combine(float* to, int64_t partials, int64_t stride, int64_t n) {
  constexpr int L = lanes<float>;
  for (int64_t i = 0; i < n; i += L) {
    const int left = n - i < L ? static_cast<int>(n - i) : L;
    vec<float> total = load_part(to + i, left);
    for (int64_t p = 1; p < partials; ++p) total = total + load_part(to + p * stride + i, left);
    store_lanes(to + i, 1, total, left);
  }
}

static void finish(const PooledGradientRow& row) {
  constexpr int L = lanes<float>;
  for (int64_t p = 0; p < row.pixels; ++p) {
    const float *sum = row.sum + p * row.sum_w, *saved = row.saved + p * row.saved_w;
    float* dx = row.dx + p * row.dx_w;
    for (int64_t c = 0; c < row.channels; c += L) {
      const int n = row.channels - c < L ? static_cast<int>(row.channels - c) : L;
      vec<float> v = load_part(sum + c, n);
      if (row.saved)
        v = select(load_lanes(saved + c * row.saved_c, row.saved_c, n) <= vec<float>{}, vec<float>{}, v);
      store_lanes(dx + c, 1, v, n);
    }
  }
}

extern const PooledGradientKernels pooled_gradient_kernels = {
    lanes<float>, kTile,     sum,          list_by_channel, list_by_offset, kQuadTaps, kQuadVectors,
    make_quads,   sum_quads, mask_offsets, find_patches,    combine,        finish};

}  // namespace ranvier::RANVIER_ISA
