// Weights to panels, and sums of panels back to weights. Included by conv2d.isa.cpp only.
#pragma once
#include "kernels/conv2d/tile.h"
#include "simd/transpose.h"
#include "simd/vec.h"

namespace ranvier::RANVIER_ISA {

// A square of up to lanes output channels x up to lanes consecutive elements of w is transposed in registers.
// Element e is tap e % taps of channel first + e / taps.
template <class T>
static void pack_elements(const ConvPanel<T>& p, const T* w, int64_t first, int64_t elements) {
  constexpr int L = lanes<T>;
  for (int o = 0; o < p.width; o += L) {
    const int no = p.columns - o < L ? p.columns - o : L;  // may be <= 0
    for (int64_t e = 0; e < elements; e += L) {
      const int ne = static_cast<int>(elements - e < L ? elements - e : L);
      vec<T> square[L];
      for (int i = 0; i < L; ++i) {
        const T* from = w + (o + i) * p.stride_o + e;
        square[i] = i >= no ? vec<T>{} : ne == L ? load(from) : load_n(from, ne);
      }
      transpose(square);
      int64_t tap = e % p.taps, channel = first + e / p.taps;
      for (int i = 0; i < ne; ++i) {
        const int64_t t = p.flipped ? p.taps - 1 - tap : tap;
        store(p.panel + (t * p.channels + channel) * p.width + o, square[i]);
        if (++tap == p.taps) tap = 0, ++channel;
      }
    }
  }
}

template <class T>
static void pack_panel(const ConvPanel<T>& p) {
  if (p.stride_c == p.taps) return pack_elements<T>(p, p.w, 0, p.channels * p.taps);
  for (int64_t c = 0; c < p.channels; ++c) pack_elements<T>(p, p.w + c * p.stride_c, c, p.taps);
}

template <class T>
static void combine(const ConvPartials<T>& p) {
  constexpr int L = lanes<T>;
  for (int o = 0; o < p.columns; o += L) {
    const int no = p.columns - o < L ? p.columns - o : L;
    for (int64_t e = p.begin; e < p.end; e += L) {
      const int ne = static_cast<int>(p.end - e < L ? p.end - e : L);
      vec<T> square[L] = {};
      int64_t tap = e % p.taps, channel = e / p.taps;
      for (int i = 0; i < ne; ++i) {
        const T* from = p.partial + (tap * p.channels + channel) * p.width + o;
        vec<T> total = load(from);
        for (int64_t q = 1; q < p.partials; ++q) total = total + load(from + q * p.stride_p);
        square[i] = total;
        if (++tap == p.taps) tap = 0, ++channel;
      }
      transpose(square);
      for (int i = 0; i < no; ++i) {
        T* to = p.w + (o + i) * p.stride_o + e;
        if (ne == L)
          store(to, square[i]);
        else
          store_n(to, square[i], ne);
      }
    }
  }
}

}  // namespace ranvier::RANVIER_ISA
