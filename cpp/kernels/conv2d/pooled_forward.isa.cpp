// Max-pooling of what a thread has just computed, compiled once for each ISA level.
#include "base/unroll.h"
#include "kernels/conv2d/pooled_max.h"
#include "kernels/conv2d/pooled_tile.h"

namespace ranvier::RANVIER_ISA {

// kRows and kColumns of the window, or 0: as given.
template <int kRows, int kColumns>
static void pool_row(const PooledRow& p) {
  constexpr int L = lanes<float>;
  const int64_t rows = kRows ? kRows : p.window[0], columns = kColumns ? kColumns : p.window[1];
  const vec<float> floor = p.relu ? vec<float>{} : vec<float>{} - __builtin_inff();
  for (int64_t k = 0; k < p.channels; k += L) {
    const int n = static_cast<int>(p.channels - k < L ? p.channels - k : L);
    const vec<float> bias = p.bias ? load_n(p.bias + k, n) : vec<float>{};
    const float* z = p.z + k;
    for (int64_t i = 0; i < p.windows; ++i, z += columns * p.pixel) {
      WindowMax max{load(z) + bias, {}};
      int at = 0;
      for (int64_t r = 0; r < rows; ++r)
        for (int64_t s = 0; s < columns; ++s, ++at)
          if (at > 0) meet(max, load(z + r * p.row + s * p.pixel) + bias, at);
      const int64_t to = i * p.step + k;
      store_max(max, floor, n, p.y + to, p.where ? p.where + to : nullptr);
    }
  }
}

static void pool(const PooledRow& p) {
  if (p.window[0] == 2 && p.window[1] == 2) return pool_row<2, 2>(p);
  pool_row<0, 0>(p);
}

// Windows of 2 x 2 whose sums fill the registers, beside a step's weights and one value of the input.
#if RANVIER_VECTOR_REGISTERS >= 32
constexpr int kPooledWindows[] = {4, 3};
#else
constexpr int kPooledWindows[] = {3, 1};
#endif

template <int kWindows, int kVectors>
static void pooled_tile(const PooledTile& t) {
  constexpr int L = lanes<float>;
  const float* a[kWindows];
  vec<float> acc[kWindows][4][kVectors] = {};
  RANVIER_UNROLL
  for (int w = 0; w < kWindows; ++w) a[w] = t.a[w];
  const int64_t column = t.column, row = t.row, step_b = t.step_b;
  const ConvSegment* const end = t.segments + t.count;
  for (const ConvSegment* s = t.segments; s != end; ++s) {
    const float* b = t.b + s->b;
    int64_t n = s->n, at[4] = {s->a, s->a + column, s->a + row, s->a + row + column};
    do {
      vec<float> weights[kVectors];
      RANVIER_UNROLL
      for (int v = 0; v < kVectors; ++v) weights[v] = load(b + v * L);
      RANVIER_UNROLL
      for (int w = 0; w < kWindows; ++w) {
        RANVIER_UNROLL
        for (int i = 0; i < 4; ++i) {
          const vec<float> x = broadcast<float>(a[w][at[i]]);
          RANVIER_UNROLL
          for (int v = 0; v < kVectors; ++v) acc[w][i][v] = fma(x, weights[v], acc[w][i][v]);
        }
      }
      RANVIER_UNROLL
      for (int i = 0; i < 4; ++i) ++at[i];
      b += step_b;
    } while (--n);
  }
  const vec<float> floor = t.relu ? vec<float>{} : vec<float>{} - __builtin_inff();
  RANVIER_UNROLL
  for (int v = 0; v < kVectors; ++v) {
    const int n = t.channels - v * L < L ? t.channels - v * L : L;
    const vec<float> bias = t.bias ? load_n(t.bias + v * L, n) : vec<float>{};
    RANVIER_UNROLL
    for (int w = 0; w < kWindows; ++w) {
      WindowMax max{acc[w][0][v] + bias, {}};
      RANVIER_UNROLL
      for (int i = 1; i < 4; ++i) meet(max, acc[w][i][v] + bias, i);
      store_max(max, floor, n, t.y[w] + v * L, t.where[w] ? t.where[w] + v * L : nullptr);
    }
  }
}

// The windows that are missing repeat the first one and are written nowhere.
static void run_pooled_tile(PooledTile& t) {
  constexpr int L = lanes<float>;
  const int vectors = t.channels > L ? 2 : 1;
  alignas(64) float nowhere[2 * L];
  alignas(64) uint8_t no_offsets[2 * L];
  for (int w = t.windows; w < kPooledWindows[vectors - 1]; ++w)
    t.a[w] = t.a[0], t.y[w] = nowhere, t.where[w] = no_offsets;
  vectors == 2 ? pooled_tile<kPooledWindows[1], 2>(t) : pooled_tile<kPooledWindows[0], 1>(t);
}

extern const PooledKernels pooled_kernels = {
    pool, {kPooledWindows[0], kPooledWindows[1]}, RANVIER_HAS_FMA ? run_pooled_tile : nullptr};

}  // namespace ranvier::RANVIER_ISA
