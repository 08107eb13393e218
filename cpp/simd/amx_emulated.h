// The instructions of amx.h in C++, for tests on processors without AMX, as Intel's manual describes them:
// the products of the first numbers of 16 pairs are one chain of FMAs, the products of the second numbers
// another chain, and c += first + second. Subnormal numbers are taken as zero. Built if CMake's
// RANVIER_EMULATED_TILES is set.
#pragma once
#include <stdlib.h>
#include <string.h>

#include "simd/amx.h"

namespace ranvier::RANVIER_ISA {

struct EmulatedTiles {
  using V = vec<float>;
  using I = ivec<float>;
  static_assert(lanes<float> == 16);
  typedef V Tile[16];
  // The eight tiles of a thread, allocated once: there is little room for thread_local variables.
  static inline thread_local Tile* t;
  static inline thread_local int rows[8];

  static void configure(int top, int bottom) {
    if (!AmxTiles::changes(top, bottom)) return;
    if (!t) t = static_cast<Tile*>(aligned_alloc(64, 8 * sizeof(Tile)));
    const int all[] = {top, top, bottom, bottom, top, bottom, 16, 16};
    memcpy(rows, all, sizeof rows);
    memset(t, 0x7f, 8 * sizeof(Tile));  // NaN where nothing is loaded
  }
  template <int kTile>
  static void zero() {
    memset(t[kTile], 0, sizeof t[kTile]);
  }
  template <int kTile>
  static void load(const float* p, int64_t bytes) {
    for (int i = 0; i < rows[kTile]; ++i, p += bytes / 4) memcpy(&t[kTile][i], p, sizeof(V));
  }
  template <int kTile>
  static void store(float* p, int64_t bytes) {
    for (int i = 0; i < rows[kTile]; ++i, p += bytes / 4) memcpy(p, &t[kTile][i], sizeof(V));
  }
  template <int kC, int kA, int kB>
  static void multiply() {
    for (int i = 0; i < rows[kC]; ++i) {
      V first{};
      V second{};
      for (int p = 0; p < 16; ++p) {
        const I a = I{} + ((I)t[kA][i])[p];
        const I b = (I)t[kB][p];
        first = normal(fma(normal((V)(a << 16)), normal((V)(b << 16)), first));
        second = normal(fma(normal((V)(a & kHigh)), normal((V)(b & kHigh)), second));
      }
      t[kC][i] = normal(normal(t[kC][i]) + normal(first + second));
    }
  }
  template <int kC, int kA, int kB>
  static void multiply_bytes() {
    for (int i = 0; i < rows[kC]; ++i)
      for (int p = 0; p < 16; ++p) {
        int8_t a[4];
        memcpy(a, reinterpret_cast<const char*>(&t[kA][i]) + 4 * p, sizeof a);
        for (int part = 0; part < 4; ++part)
          t[kC][i] = (V)((I)t[kC][i] + a[part] * ((I)t[kB][p] >> 8 * part & 255));
      }
  }

 private:
  static constexpr int kHigh = -65536;
  static V normal(V x) {  // x, or a zero of its sign if it is subnormal
    constexpr int kExponent = 0x7f800000, kSign = -2147483647 - 1;
    return (V)((I)x & ((((I)x & kExponent) != 0) | kSign));
  }
};

}  // namespace ranvier::RANVIER_ISA
