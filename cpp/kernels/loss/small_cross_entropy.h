// cross_entropy of few lines and few classes, as in a step of a small network. is_small() in class_loss.cpp
// decides when it is used: classes and lines are contiguous, targets are indices, and there are no weights
// and no smoothing.
//
// A vector has the scores of one class for L lines. The indices of the L lines are one vector, too, which is
// compared with each class number in turn; the general functions of class_loss.isa.cpp read one index after
// another. The results have the same bits. Included by class_loss.isa.cpp only.
#pragma once
#include "kernels/loss/class_lines.h"
#include "kernels/loss/class_loss.h"
#include "kernels/loss/sum.h"
#include "simd/math.h"
#include "simd/tile.h"

namespace ranvier::RANVIER_ISA {

#if RANVIER_HAS_FMA
// Every second lane of a and then of b, from lane kFirst on: with kFirst = 0, a0 a2 ... b0 b2 ...
template <int kFirst, class V, int... I>
RANVIER_INLINE V alternate(V a, V b, std::integer_sequence<int, I...>) {
  return __builtin_shufflevector(a, b, (2 * I + kFirst)...);
}
// The lower or the upper half of the lanes a0 b0 a1 b1 ...: the inverse of `alternate`.
template <bool kUpper, class V, int... I>
RANVIER_INLINE V woven(V a, V b, std::integer_sequence<int, I...>) {
  constexpr int n = sizeof...(I);
  return __builtin_shufflevector(a, b, (I % 2 * n + I / 2 + (kUpper ? n / 2 : 0))...);
}
template <class T>
using Lanes = std::make_integer_sequence<int, lanes<T>>;

// The classes of `count` lines from `first` on, as 32-bit integers. -1 stands for a lane beyond the last
// line, a line that is ignored, and an index that is no class (the binding refuses these; another thread may
// write one afterwards).
//
// The indices are int64. On a little-endian machine the even ones of their 32-bit halves are the low halves,
// and these are the index: every index that the binding accepts, and ignore_index (is_small() checks it),
// fits.
template <class T>
RANVIER_INLINE ivec<T> classes_of(const ClassLines<T>& l, int64_t first, int count) {
  constexpr int L = lanes<T>;
  static_assert(sizeof(T) == sizeof(int32_t) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__);
  const int64_t* index = l.index.data + first;
  alignas(64) int32_t part[2 * L];
  ivec<T> first_half, second_half, classes;  // the 64-bit indices of L / 2 lines each
  if (count == L) {
    __builtin_memcpy(&first_half, index, sizeof first_half);
    __builtin_memcpy(&second_half, index + L / 2, sizeof second_half);
  } else {
    __builtin_memset(part, 0xff, sizeof part);  // every index is -1
    __builtin_memcpy(part, index, size_t(count) * sizeof *index);
    __builtin_memcpy(&first_half, part, sizeof first_half);
    __builtin_memcpy(&second_half, part + L, sizeof second_half);
  }
  classes = alternate<0>(first_half, second_half, Lanes<T>());
  const int32_t ignored = static_cast<int32_t>(l.settings.ignore_index);
  const int32_t n = static_cast<int32_t>(l.n);
  return select((classes == ignored) | (classes < 0) | (classes >= n), ivec<T>{} - 1, classes);
}

// Row k of the tile becomes the scores of class k of `count` lines from `first` on, one line in each lane.
template <class T>
RANVIER_INLINE void load_classes(Tile<T>& tile, const ClassLines<T>& l, int64_t first, int count) {
  constexpr int L = lanes<T>;
  const T* x = l.x.data + first * l.x.line;
  if (l.n == 2 && l.x.line == 2 && count == L) {
    const vec<T> a = load(x);
    const vec<T> b = load(x + L);
    Tile<T>::set_row(tile, 0, alternate<0>(a, b, Lanes<T>()));
    Tile<T>::set_row(tile, 1, alternate<1>(a, b, Lanes<T>()));
  } else {
    load_tile(tile, x, l.x.line, 1, count, l.n);
  }
}

// The loss of a line is (top - x[class]) + log(sum of exp(x - top)), where top is the line's greatest score.
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
    vec<T> top = Tile<T>::row(tile, 0);
    vec<T> of_class{};
    vec<T> sum{};
    for (int k = 1; k < l.n; ++k) top = maximum(top, Tile<T>::row(tile, k));
    for (int k = 0; k < l.n; ++k) {
      const vec<T> x = Tile<T>::row(tile, k);
      of_class = select(classes == k, x, of_class);
      sum += exp_beside_1(x - top);  // exp, which is not exact where it is too small to change the sum
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

// dx[k] = dy (softmax(x)[k] - (1 if k is the class, else 0)), and 0 in lines that are ignored.
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
    // factor exp(x - top) is dy softmax(x). scaled_softmax() makes it 0 where exp(x - top) < least, since it
    // would be subnormal, which is slow.
    const vec<T> top = load_lanes(saved, count);
    const vec<T> factor = dy / load_lanes(saved + l.saved.step, count);
    const vec<T> least = least_softmax(factor);
    load_classes(tile, l, first, count);
    for (int k = 0; k < l.n; ++k) {
      const vec<T> y = scaled_softmax(Tile<T>::row(tile, k) - top, factor, least);
      Tile<T>::set_row(tile, k, select(classes < 0, vec<T>{}, y - select(classes == k, dy, vec<T>{})));
    }
    T* dx = l.dx.data + first * l.dx.line;
    if (l.n == 2 && l.dx.line == 2 && count == L) {
      const vec<T> a = Tile<T>::row(tile, 0);
      const vec<T> b = Tile<T>::row(tile, 1);
      store(dx, woven<false>(a, b, Lanes<T>()));
      store(dx + L, woven<true>(a, b, Lanes<T>()));
    } else {
      store_tile(tile, dx, l.dx.line, 1, count, l.n);
    }
  }
}
#endif

// The functions exist for float only, which small networks have, and not for the lowest level: the code is
// not worth its size there.
template <class T>
static constexpr SmallCrossEntropy<T> small_cross_entropy() {
#if RANVIER_HAS_FMA
  if constexpr (sizeof(T) == sizeof(int32_t)) return {small_forward<T>, small_backward<T>};
#endif
  return {nullptr, nullptr};
}

}  // namespace ranvier::RANVIER_ISA
