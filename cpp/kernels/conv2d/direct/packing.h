// Copies weights to panels, the order in which a tile reads them (pack_panel), and sums of panels back to the
// order of weights (combine): functions of ConvKernels, whose arguments are in tile.h.
//
//   w [k][c][taps]                    a panel [tap][c][width]: `width` output channels k side by side,
//                                     zeros where there are fewer
//
// For one output channel the c * taps elements of w follow each other; element e is tap e % taps of channel
// e / taps. So a panel is the transposed matrix (width, c * taps), whose rows are in the order of taps; it is
// transposed in registers, L x L elements at a time. Included by direct.isa.cpp only.
#pragma once
#include "kernels/conv2d/direct/tile.h"
#include "kernels/matmul/packing.h"
#include "simd/transpose.h"
#include "simd/vec.h"

namespace ranvier::RANVIER_ISA {

// Packs `elements` consecutive elements of w for each output channel, from input channel `first` on: element
// e is tap e % taps of channel first + e / taps. Squares of L output channels (o) x L elements (e) are
// transposed in registers; `no` of the output channels and `ne` of the elements exist. opaque() keeps the
// compiler from computing all addresses of a square in advance. What is `ahead` elements further is
// prefetched: rows of w are on separate pages, at whose ends the hardware's prefetchers stop.
template <class T>
static void pack_elements(const ConvPanel<T>& p, const T* w, int64_t first, int64_t elements, int64_t ahead) {
  constexpr int L = lanes<T>;
  constexpr bool kMasked = RANVIER_VECTOR_BYTES == 64;  // masked loads are as fast as whole ones
  const int64_t taps = p.taps;
  const int64_t width = p.width;
  const int64_t stride = p.stride_o;
  // In the panel: from one tap to the next, backwards where flipped; and from the last tap of a channel, one
  // step further, to the first tap of the next channel.
  const int64_t tap_size = p.channels * width;
  const int64_t tap_step = p.flipped ? -tap_size : tap_size;
  const int64_t channel_step = width - taps * tap_step;
  const int64_t first_tap = p.flipped ? (taps - 1) * tap_size : 0;
  T* const begin = p.panel + first_tap;
  for (int o = 0; o < width; o += L) {
    const int left = p.columns - o;
    const int no = opaque(left < L ? left : L);  // output channels; <= 0: padding alone
    for (int64_t e = 0; e < elements; e += L) {
      const int ne = lanes_used<T>(elements - e);
      const T* from = w + o * stride + e;
      int64_t tap = e % taps;
      T* to = begin + tap * tap_step + (first + e / taps) * width + o;
      if (ne == 1) {  // one element needs no transposition: for example the last one of 3 x 3 taps
        store(to, vec<T>{});
        for (int i = 0; i < no; ++i, from = opaque(from + stride)) to[i] = *from;
        continue;
      }
      alignas(64) T square[L * L];
      int64_t step = stride;
      if (no < L || (ne < L && !kMasked)) {
        for (int i = 0; i < no; ++i, from = opaque(from + stride)) {
          store(square + i * L, load_n(from, ne));
          __builtin_prefetch(from + ahead);
        }
        const int missing_from = no < 0 ? 0 : no;
        for (int i = missing_from; i < L; ++i) store(square + i * L, vec<T>{});
        from = square;
        step = L;
      }
      vec<T> rows[L];
      RANVIER_UNROLL
      for (int i = 0; i < L; ++i, from = opaque(from + step)) {
        rows[i] = kMasked ? load_n(from, ne) : load(from);
        __builtin_prefetch(from + ahead);
      }
      transpose(rows);
      RANVIER_UNROLL
      for (int i = 0; i < L; ++i) store(square + i * L, rows[i]);
      for (int i = 0; i < ne; ++i) {
        store(to, load(square + i * L));
        to += tap_step;
        if (++tap == taps) {
          tap = 0;
          to += channel_step;
        }
      }
    }
  }
}

// ConvKernels::pack_panel. The channels are packed together if their taps follow each other in w, else one
// after another.
template <class T>
static void pack_panel(const ConvPanel<T>& p) {
  constexpr int64_t kLinesAhead = 8;
  if (p.stride_c == p.taps)
    return pack_elements<T>(p, p.w, 0, p.channels * p.taps, kLinesAhead * 64 / sizeof(T));
  for (int64_t c = 0; c < p.channels; ++c)
    pack_elements<T>(p, p.w + c * p.stride_c, c, p.taps, 2 * p.stride_c);
}

// ConvKernels::combine: adds the partial sums of a panel, and transposes them to the order of w: see
// ConvPartials.
template <class T>
static void combine(const ConvPartials<T>& p) {
  constexpr int L = lanes<T>;
  for (int o = 0; o < p.columns; o += L) {
    const int no = p.columns - o < L ? p.columns - o : L;
    for (int64_t e = p.begin; e < p.end; e += L) {
      const int ne = lanes_used<T>(p.end - e);
      vec<T> square[L] = {};
      int64_t tap = e % p.taps;
      int64_t channel = e / p.taps;
      for (int i = 0; i < ne; ++i) {
        const T* from = p.partial + (tap * p.channels + channel) * p.width + o;
        vec<T> total = load(from);
        for (int64_t q = 1; q < p.partials; ++q) total = total + load(from + q * p.stride_p);
        square[i] = total;
        if (++tap == p.taps) {
          tap = 0;
          ++channel;
        }
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
