// The direct sum's tile for pairs of bfloat16, and Winograd's input in pairs: see medium.h. Of level v4
// alone.
#if RANVIER_PAIRS
#include "base/unroll.h"
#include "kernels/conv2d/direct/store.h"
#include "kernels/conv2d/direct/tile.h"
#include "kernels/conv2d/winograd/transforms.h"

namespace ranvier::RANVIER_ISA {

// If kEven, each second row is row_step after the one before, so that all pointers fit into registers.
template <int kRows, int kVectors, bool kEven>
static void tile(const ConvTile<float>& t) {
  constexpr int L = lanes<float>, kStep = kEven ? 2 : 1, kPointers = (kRows + kStep - 1) / kStep;
  const float* a[kPointers];
  RANVIER_UNROLL
  for (int i = 0; i < kPointers; ++i) a[i] = t.a[i * kStep];
  if (!t.stream)
    for (int i = 0; i < kRows; ++i) __builtin_prefetch(t.c[i], 1);
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
  alignas(64) float spilled[kRows * kVectors * L];
  const bool plain = t.columns == kVectors * L && !t.bias && !t.norm && !t.relu && !t.stream;
  const auto put = [&](auto place, bool adds) __attribute__((always_inline)) {
    RANVIER_UNROLL
    for (int i = 0; i < kRows; ++i) {
      RANVIER_UNROLL
      for (int v = 0; v < kVectors; ++v) {
        float* to = place(i) + v * L;
        store(to, adds ? load(to) + vec<float>(acc[i][v]) : vec<float>(acc[i][v]));
      }
    }
  };
  const auto result = [&](int i) RANVIER_INLINED { return t.c[i]; };
  if (plain && t.accumulate) return put(result, true);
  if (plain) return put(result, false);
  put([&](int i) RANVIER_INLINED { return spilled + i * kVectors * L; }, false);
  store_general<float>(t, spilled, kVectors * L);
}

// The rows that make up for a missing height repeat the last ones, and write nowhere.
template <int kVectors>
static void run(ConvTile<float>& t) {
  constexpr int kPart = kMaxConvRows / 2;
  alignas(64) float nowhere[kVectors * lanes<float>];
  const auto lengthen = [&](ConvTile<float>& t, int rows, int repeated) {
    for (int i = t.rows; i < rows; ++i) t.a[i] = t.a[i - repeated], t.c[i] = nowhere;
  };
  if (t.row_step && t.rows % 2 == 0) {
    lengthen(t, kMaxConvRows, 2);
    if (t.rows == kMaxConvRows) return tile<kMaxConvRows, kVectors, true>(t);
    return t.rows > 8 ? tile<12, kVectors, true>(t) : tile<8, kVectors, true>(t);
  }
  ConvTile<float> part = t;
  for (int first = 0; first < t.rows; first += kPart) {
    part.rows = t.rows - first < kPart ? t.rows - first : kPart;
    for (int i = 0; i < part.rows; ++i) part.a[i] = t.a[first + i], part.c[i] = t.c[first + i];
    lengthen(part, kPart, 1);
    tile<kPart, kVectors, false>(part);
  }
}

extern void conv_pair_tile(ConvTile<float>& t) { t.columns > lanes<float> ? run<2>(t) : run<1>(t); }

// As `input` of winograd/transforms.isa.cpp; two vectors of channels become one of pairs.
extern void winograd_pairs(const WinogradInput& p) {
  constexpr int L = lanes<float>;
  using V = vec<float>;
  for (int64_t c = 0; c < p.channels; c += 2 * L) {
    const int64_t left = p.channels - c;
    const int low = static_cast<int>(left < L ? left : L);
    const int high = static_cast<int>(left < L ? 0 : left < 2 * L ? left - L : L);
    float* to = p.v + c / 2;
    // The outputs of row i from rows `one` and `other` of the inputs, whose second is added or taken away.
    const auto outputs = [&](int i, int one, int other, bool adds) RANVIER_INLINED {
      V d[2][4];
      RANVIER_UNROLL
      for (int j = 0; j < 4; ++j) {
        const float *a = p.pixel[4 * one + j] + c, *b = p.pixel[4 * other + j] + c;
        const V x[2] = {load_n(a, low), load_n(a + L, high)}, y[2] = {load_n(b, low), load_n(b + L, high)};
        RANVIER_UNROLL
        for (int h = 0; h < 2; ++h) d[h][j] = adds ? x[h] + y[h] : x[h] - y[h];
      }
      const auto put = [&](int j, V first, V second) RANVIER_INLINED {
        const V both = (V)(__m512i)_mm512_cvtne2ps_pbh(__m512(second), __m512(first));
        store(to + (4 * i + j) * p.plane, both);
      };
      put(0, d[0][0] - d[0][2], d[1][0] - d[1][2]);
      put(1, d[0][1] + d[0][2], d[1][1] + d[1][2]);
      put(2, d[0][2] - d[0][1], d[1][2] - d[1][1]);
      put(3, d[0][1] - d[0][3], d[1][1] - d[1][3]);
    };
    outputs(0, 0, 2, false), outputs(1, 1, 2, true), outputs(2, 2, 1, false), outputs(3, 1, 3, false);
  }
}

}  // namespace ranvier::RANVIER_ISA
#endif
