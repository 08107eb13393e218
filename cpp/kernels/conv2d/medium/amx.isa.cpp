// The tile of the direct sum for pairs of bfloat16, computed by AMX (simd/amx.h), the matrix registers of the
// processor, in steps of 16 pairs: see medium.h for pairs, ConvTile (direct/tile.h) for the fields. Compiled
// for level v4 alone.
#if __AVX512BF16__
#include "simd/amx.h"
#include "base/unroll.h"
#include "kernels/conv2d/direct/store.h"
#include "kernels/conv2d/direct/tile.h"
#include "simd/transpose.h"
#if RANVIER_EMULATED_TILES
#include "simd/amx_emulated.h"
#endif

namespace ranvier::RANVIER_ISA {

using V = vec<float>;
constexpr int L = lanes<float>, kSide = 2 * L;

// Copies n pairs of each row of a, from element `at` on, to [row][pair], rows of L; the rest is zero.
static void copy_rows(const ConvTile<float>& t, int64_t at, int n, float* to) {
  if (t.step_a == 1) {
    for (int i = 0; i < t.rows; ++i) store(to + i * L, load_n(t.a[i] + at, n));
  } else if (t.consecutive) {
    V square[L];
    const float* from = t.a[0] + at;
    RANVIER_UNROLL
    for (int p = 0; p < L; ++p) square[p] = p < n ? load_n(from + p * t.step_a, t.rows) : V{};
    transpose(square);
    RANVIER_UNROLL
    for (int i = 0; i < L; ++i) store(to + i * L, square[i]);
  } else {
    for (int i = 0; i < t.rows; ++i) {
      store(to + i * L, V{});
      for (int p = 0; p < n; ++p) to[i * L + p] = t.a[i][at + p * t.step_a];
    }
  }
}

// The distance from one row of a to the next, if it is always the same; else 0.
static int64_t row_step(const ConvTile<float>& t) {
  const int64_t step = t.rows > 1 ? t.a[1] - t.a[0] : 0;
  for (int i = 2; i < t.rows; ++i)
    if (t.a[i] - t.a[i - 1] != step) return 0;
  return step;
}

// Computes a tile: for each 16 pairs of a segment, rows of a and of b are loaded into tile registers and
// multiplied. kWide: more than one vector of columns.
template <class Tiles, bool kWide>
static void run(const ConvTile<float>& t) {
  constexpr int kWidth = kWide ? kSide : L, kBytes = sizeof(float);
  alignas(64) float a[L * L], b[L * kSide], sums[L * kSide];
  const int64_t step = t.step_a == 1 ? row_step(t) : 0;
  Tiles::configure(t.rows, 0);
  Tiles::template zero<0>();
  if constexpr (kWide) Tiles::template zero<1>();
  for (const ConvSegment* s = t.segments; s != t.segments + t.count; ++s)
    for (int64_t p = 0; p < s->n; p += L) {
      const int n = lanes_used<float>(s->n - p);
      const float* from = t.b + s->b + p * t.step_b;
      int64_t line = t.step_b;
      if (n < L) {
        for (int i = 0; i < L; ++i)
          for (int j = 0; j < kWidth; j += L) {
            const V row = i < n ? load(from + i * line + j) : V{};
            store(b + i * kWidth + j, row);
          }
        from = b;
        line = kWidth;
      }
      if (step && n == L) {
        Tiles::template load<4>(t.a[0] + s->a + p, step * kBytes);
      } else {
        copy_rows(t, s->a + p * t.step_a, n, a);
        Tiles::template load<4>(a, L * kBytes);
      }
      Tiles::template load<6>(from, line * kBytes);
      Tiles::template multiply<0, 4, 6>();
      if constexpr (kWide) {
        Tiles::template load<7>(from + L, line * kBytes);
        Tiles::template multiply<1, 4, 7>();
      }
    }
  Tiles::template store<0>(sums, kWidth * kBytes);
  if constexpr (kWide) Tiles::template store<1>(sums + L, kWidth * kBytes);
  store_general<float>(t, sums, kWidth);
}

template <class Tiles>
static void tile(ConvTile<float>& t) {
  if (t.columns > L)
    run<Tiles, true>(t);
  else
    run<Tiles, false>(t);
}

#if RANVIER_EMULATED_TILES
using OtherTiles = EmulatedTiles;
#else
using OtherTiles = AmxTiles;  // not called
#endif
extern void (*const conv_amx_tile[2])(ConvTile<float>&) = {tile<AmxTiles>, tile<OtherTiles>};

}  // namespace ranvier::RANVIER_ISA
#endif
