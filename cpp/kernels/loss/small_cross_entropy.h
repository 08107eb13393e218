// cross_entropy of a few lines of a few classes, as a small network's step has it: classes and lines are
// contiguous, targets are indices, no weights and no smoothing. No loop nest, and a vector of targets is
// compared with each class, where the general functions look at one line after another. The bits are theirs.
// Included by class_loss.isa.cpp only.
#pragma once
#include "kernels/loss/class_lines.h"
#include "kernels/loss/class_loss.h"
#include "kernels/loss/sum.h"
#include "simd/math.h"
#include "simd/tile.h"

namespace ranvier::RANVIER_ISA {

#if RANVIER_HAS_FMA
// Every second lane of a and then of b, from lane kFirst on.
template <int kFirst, class V, int... I>
RANVIER_INLINE V alternate(V a, V b, std::integer_sequence<int, I...>) {
  return __builtin_shufflevector(a, b, (2 * I + kFirst)...);
}
// a0 b0 a1 b1 ...: the lower half of it, or the upper.
template <bool kUpper, class V, int... I>
RANVIER_INLINE V woven(V a, V b, std::integer_sequence<int, I...>) {
  constexpr int n = sizeof...(I);
  return __builtin_shufflevector(a, b, (I % 2 * n + I / 2 + (kUpper ? n / 2 : 0))...);
}
template <class T>
using Lanes = std::make_integer_sequence<int, lanes<T>>;

// The classes of `count` lines; -1 where a line is ignored, beyond the last, or has a class that is none.
template <class T>
RANVIER_INLINE ivec<T> classes_of(const ClassLines<T>& l, int64_t first, int count) {
  constexpr int L = lanes<T>;
  static_assert(sizeof(T) == sizeof(int32_t));
  const int64_t* index = l.index.data + first;
  alignas(64) int32_t part[2 * L];
  ivec<T> even, odd, classes;
  if (count == L) {
    __builtin_memcpy(&even, index, sizeof even);
    __builtin_memcpy(&odd, index + L / 2, sizeof odd);
  } else {
    __builtin_memset(part, 0xff, sizeof part);
    __builtin_memcpy(part, index, size_t(count) * sizeof *index);
    __builtin_memcpy(&even, part, sizeof even);
    __builtin_memcpy(&odd, part + L, sizeof odd);
  }
  classes = alternate<0>(even, odd, Lanes<T>());
  const int32_t none = static_cast<int32_t>(l.settings.ignore_index), n = static_cast<int32_t>(l.n);
  return select((classes == none) | (classes < 0) | (classes >= n), ivec<T>{} - 1, classes);
}

// Row k of the tile is class k of lines `first` and after.
template <class T>
RANVIER_INLINE void load_classes(Tile<T>& tile, const ClassLines<T>& l, int64_t first, int count) {
  constexpr int L = lanes<T>;
  const T* x = l.x.data + first * l.x.line;
  if (l.n == 2 && l.x.line == 2 && count == L) {
    const vec<T> a = load(x), b = load(x + L);
    Tile<T>::set_row(tile, 0, alternate<0>(a, b, Lanes<T>()));
    Tile<T>::set_row(tile, 1, alternate<1>(a, b, Lanes<T>()));
  } else {
    load_tile(tile, x, l.x.line, 1, count, l.n);
  }
}

template <class T>
static void small_forward(const ClassLines<T>& lines, double (&sums)[2]) {
  constexpr int L = lanes<T>;
  const ClassLines<T> l = lines;
  alignas(64) T losses[kSmallLines + L];
  Tile<T> tile;
  vec<T> used{};
  for (int64_t first = 0; first < l.count; first += L) {
    const int count = l.count - first < L ? int(l.count - first) : L;
    const ivec<T> classes = classes_of(l, first, count);
    load_classes(tile, l, first, count);
    vec<T> top = Tile<T>::row(tile, 0), of_class{}, sum{};
    for (int k = 1; k < l.n; ++k) top = maximum(top, Tile<T>::row(tile, k));
    for (int k = 0; k < l.n; ++k) {
      const vec<T> x = Tile<T>::row(tile, k);
      of_class = select(classes == k, x, of_class);
      sum += exp_beside_1(x - top);
    }
    T* saved = l.tops_and_sums.data + first;
    store_lanes(saved, top, count);
    store_lanes(saved + l.tops_and_sums.step, sum, count);
    store(losses + first, select(classes < 0, vec<T>{}, (top - of_class) + log(sum)));
    used += select(classes < 0, vec<T>{}, broadcast(T(1)));
  }
  sums[0] = sum<T>(l.count, losses);
  sums[1] = double(reduce_add(used));
}

template <class T>
static void small_backward(const ClassLines<T>& lines) {
  constexpr int L = lanes<T>;
  const ClassLines<T> l = lines;
  const vec<T> dy = broadcast(l.dy.data[0] * l.scale);
  Tile<T> tile;
  for (int64_t first = 0; first < l.count; first += L) {
    const int count = l.count - first < L ? int(l.count - first) : L;
    const ivec<T> classes = classes_of(l, first, count);
    const T* saved = l.saved.data + first;
    const vec<T> top = load_lanes(saved, count), factor = dy / load_lanes(saved + l.saved.step, count);
    const vec<T> least = least_softmax(factor);
    load_classes(tile, l, first, count);
    for (int k = 0; k < l.n; ++k) {
      const vec<T> y = scaled_softmax(Tile<T>::row(tile, k) - top, factor, least);
      Tile<T>::set_row(tile, k, select(classes < 0, vec<T>{}, y - select(classes == k, dy, vec<T>{})));
    }
    T* dx = l.dx.data + first * l.dx.line;
    if (l.n == 2 && l.dx.line == 2 && count == L) {
      const vec<T> a = Tile<T>::row(tile, 0), b = Tile<T>::row(tile, 1);
      store(dx, woven<false>(a, b, Lanes<T>()));
      store(dx + L, woven<true>(a, b, Lanes<T>()));
    } else {
      store_tile(tile, dx, l.dx.line, 1, count, l.n);
    }
  }
}
#endif

// Float only, which small networks have, and not at the lowest level: the code is not worth its size there.
template <class T>
static constexpr SmallCrossEntropy<T> small_cross_entropy() {
#if RANVIER_HAS_FMA
  if constexpr (sizeof(T) == sizeof(int32_t)) return {small_forward<T>, small_backward<T>};
#endif
  return {nullptr, nullptr};
}

}  // namespace ranvier::RANVIER_ISA
