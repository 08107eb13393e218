// The direct sum's tile for pairs of bfloat16: see medium.h. Of level v4 alone.
#if RANVIER_PAIRS
#include "base/unroll.h"
#include "kernels/conv2d/direct/store.h"
#include "kernels/conv2d/direct/tile.h"

namespace ranvier::RANVIER_ISA {

// kRows rows from `first` on. If kEven, each second row is row_step after the one before, so that all
// pointers fit into registers.
template <int kRows, int kVectors, bool kEven>
static void chain(const ConvTile<float>& t, int first, float* sums) {
  constexpr int L = lanes<float>, kStep = kEven ? 2 : 1, kPointers = (kRows + kStep - 1) / kStep;
  const float* a[kPointers];
  RANVIER_UNROLL
  for (int i = 0; i < kPointers; ++i) a[i] = t.a[first + i * kStep];
  __m512 acc[kRows][kVectors] = {};
  const int64_t step_a = t.step_a, step_b = t.step_b;
  for (const ConvSegment* s = t.segments; s != t.segments + t.count; ++s) {
    const float* b = t.b + s->b;
    int64_t at = s->a, second = at + t.row_step;
    for (int64_t n = s->n; n > 0; --n, at += step_a, second += step_a, b += step_b) {
      asm("" : "+r"(second));  // or GCC keeps a pointer for each row
      __m512bh row[kVectors];
      RANVIER_UNROLL
      for (int v = 0; v < kVectors; ++v) row[v] = (__m512bh)__m512(load(b + v * L));
      RANVIER_UNROLL
      for (int i = 0; i < kRows; ++i) {
        const __m512bh x = (__m512bh)_mm512_set1_ps(a[i / kStep][kEven && i % 2 ? second : at]);
        RANVIER_UNROLL
        for (int v = 0; v < kVectors; ++v) acc[i][v] = _mm512_dpbf16_ps(acc[i][v], x, row[v]);
      }
    }
  }
  RANVIER_UNROLL
  for (int i = 0; i < kRows; ++i) {
    RANVIER_UNROLL
    for (int v = 0; v < kVectors; ++v) store(sums + ((first + i) * kVectors + v) * L, vec<float>(acc[i][v]));
  }
}

// The rows that make up for a missing height repeat the last one.
template <int kVectors>
static void tile(ConvTile<float>& t) {
  constexpr int kMost = kMaxConvRows, kHalf = kMost / 2;
  alignas(64) float sums[(kMost + kHalf) * kVectors * lanes<float>];
  if (!t.stream)
    for (int i = 0; i < t.rows; ++i) __builtin_prefetch(t.c[i], 1);
  if (t.row_step && t.rows == kMost) {
    chain<kMost, kVectors, true>(t, 0, sums);
  } else if (t.row_step && t.rows == kMost - 2) {
    chain<kMost - 2, kVectors, true>(t, 0, sums);
  } else {
    for (int i = t.rows; i % kHalf != 0; ++i) t.a[i] = t.a[i - 1];
    for (int i = 0; i < t.rows; i += kHalf) chain<kHalf, kVectors, false>(t, i, sums);
  }
  store_general<float>(t, sums, kVectors * lanes<float>);
}

extern void conv_pair_tile(ConvTile<float>& t) { t.columns > lanes<float> ? tile<2>(t) : tile<1>(t); }

}  // namespace ranvier::RANVIER_ISA
#endif
