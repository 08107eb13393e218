// PlanarKernels::rows (loops.h): one output channel, for several rows of pixels at a time. A vector of the
// input is loaded once for all rows of taps that meet it. Most loads from planes cross cache lines and are
// slow; with one output channel, each would otherwise serve a single product. Included by planes.isa.cpp
// only.
#pragma once
#include <type_traits>
#include <utility>

#include "base/unroll.h"
#include "kernels/conv2d/planes/loops.h"
#include "kernels/norm/channel_line.h"

namespace ranvier::RANVIER_ISA {

#if RANVIER_VECTOR_BYTES > 16

constexpr int kLanes = lanes<float>;
constexpr bool kManyRegisters = RANVIER_VECTOR_REGISTERS >= 32;
// The tile: its sums (8 x 2 or 6 x 2), a row of the input (2) and a weight fit into the registers, 32 or 16.
constexpr int kSharedRows = kManyRegisters ? 8 : 6, kSharedVectors = 2;
using SharedSums = vec<float>[kSharedRows][kSharedVectors];

// Adds the products of input row kRow, which is counted from the input of the first output row and first tap.
template <int kTaps, int kRow>
RANVIER_INLINE void add_row(const PlanarRows& t, const float* x, SharedSums& acc) {
  const float* w = t.w;
  const int64_t* const end = t.offsets + t.count;
  for (const int64_t* at = t.offsets; at != end; ++at, ++w) {
    vec<float> row[kSharedVectors];
    RANVIER_UNROLL
    for (int v = 0; v < kSharedVectors; ++v) row[v] = in_register(load(x + *at + v * kLanes));
    RANVIER_UNROLL
    for (int tap = 0; tap < kTaps; ++tap) {
      constexpr int kLast = kSharedRows - 1;
      const int out = kRow - tap;
      if (out < 0 || out > kLast) continue;
      const vec<float> weight = broadcast<float>(w[tap * t.count]);
      RANVIER_UNROLL
      for (int v = 0; v < kSharedVectors; ++v) acc[out][v] = fma(row[v], weight, acc[out][v]);
    }
  }
}

template <int kTaps, int... kRow>
RANVIER_INLINE void add_rows(const PlanarRows& t, const float* x, SharedSums& acc,
                             std::integer_sequence<int, kRow...>) {
  (add_row<kTaps, kRow>(t, x + kRow * t.pitch, acc), ...);
}

// Stores the sums, [row][pixel], with bias, norm and ReLU to y, from pixel `first` on.
static __attribute__((noinline)) void store_rows(const PlanarRows& t, const float* sums, int64_t first) {
  constexpr int kWidth = kSharedVectors * kLanes;
  const vec<float> bias = broadcast<float>(t.bias);
  const int64_t end = t.pixels - first < kWidth ? t.pixels - first : kWidth;
  for (int row = 0; row < kSharedRows; ++row, sums += kWidth)
    for (int64_t i = 0; i < end; i += kLanes) {
      vec<float> x = load(sums + i) + bias;
      if (t.norm) x = normalized(x, same_line(t.norm, t.norm_step));
      if (t.relu) x = cut_off(x);
      float* const y = t.y + row * t.y_step + first + i;
      if (end - i >= kLanes)
        store(y, x);
      else
        store_n(y, x, static_cast<int>(end - i));
    }
}

// PlanarKernels::rows for kTaps rows of taps: kSharedRows rows of y, kSharedVectors vectors of pixels at a
// time.
template <int kTaps>
static void share_rows(const PlanarRows& t) {
  constexpr int kWidth = kSharedVectors * kLanes;
  for (int64_t first = 0; first < t.pixels; first += kWidth) {
    SharedSums acc = {};
    add_rows<kTaps>(t, t.x + first, acc, std::make_integer_sequence<int, kSharedRows + kTaps - 1>());
    alignas(64) float sums[kSharedRows * kWidth];
    RANVIER_UNROLL
    for (int i = 0; i < kSharedRows; ++i) {
      RANVIER_UNROLL
      for (int v = 0; v < kSharedVectors; ++v) store(sums + i * kWidth + v * kLanes, acc[i][v]);
    }
    store_rows(t, sums, first);
  }
}

#endif

}  // namespace ranvier::RANVIER_ISA
