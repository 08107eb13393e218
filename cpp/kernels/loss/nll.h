// nll picks one score of each line: no arithmetic worth a vector.
#pragma once
#include "kernels/loss/class_loss.h"
#include "simd/tile.h"

namespace ranvier::RANVIER_ISA {

// Whether a line has a class. One beyond the classes was changed by another thread since it was checked.
template <class T>
RANVIER_INLINE bool has_class(const ClassLines<T>& l, int64_t c) {
  return c != l.settings.ignore_index && static_cast<uint64_t>(c) < static_cast<uint64_t>(l.n);
}

template <bool is_weighted, class T>
static void nll_lines(const ClassLines<T>& lines) {
  const ClassLines<T> l = lines;  // a store might change what is after a reference
  for (int64_t i = 0; i < l.count; ++i) {
    const int64_t c = l.index.data[i * l.index.line];
    T weight = 0, loss = 0;
    if (has_class(l, c)) {
      weight = is_weighted ? l.weight[c] : T(1);
      loss = -weight * l.x.data[i * l.x.line + c * l.x.step];
    }
    l.loss.data[i * l.loss.line] = loss;
    if (l.share.data) l.share.data[i] = weight;
  }
}
template <class T>
static void nll_forward(const ClassLines<T>& l) {
  l.weight ? nll_lines<true>(l) : nll_lines<false>(l);
}

// Zeros into lines [first, first + count).
template <class T>
RANVIER_INLINE void clear_lines(const ClassLines<T>& l, int64_t first, int64_t count) {
  constexpr int L = lanes<T>;
  T* dx = l.dx.data + first * l.dx.line;
  if (l.dx.step == 1) {
    const bool joined = l.dx.line == l.n;
    const int64_t n = joined ? l.n * count : l.n;
    for (int64_t i = 0; i < (joined ? 1 : count); ++i)
      __builtin_memset(dx + i * l.dx.line, 0, size_t(n) * sizeof(T));
  } else {
    for (int64_t k = 0; k < l.n; ++k)
      for (int64_t i = 0; i < count; i += L)
        store_lanes(dx + i * l.dx.line + k * l.dx.step, l.dx.line, vec<T>{},
                    int(count - i < L ? count - i : L));
  }
}

template <bool is_weighted, class T>
static void nll_gradients(const ClassLines<T>& lines) {
  const ClassLines<T> l = lines;  // a store might change what is after a reference
  // lines that are still in the first cache when their class is written
  const int64_t near = l.n < 2048 ? 4096 / (l.n + 1) + 1 : 1;
  for (int64_t first = 0; first < l.count; first += near) {
    const int64_t end = l.count - first < near ? l.count : first + near;
    clear_lines(l, first, end - first);
    for (int64_t i = first; i < end; ++i) {
      const int64_t c = l.index.data[i * l.index.line];
      if (!has_class(l, c)) continue;
      const T weight = is_weighted ? l.weight[c] : T(1);
      l.dx.data[i * l.dx.line + c * l.dx.step] = -weight * (l.dy.data[i * l.dy.line] * l.scale);
    }
  }
}

template <class T>
static void nll_backward(const ClassLines<T>& l) {
  l.weight ? nll_gradients<true>(l) : nll_gradients<false>(l);
}

}  // namespace ranvier::RANVIER_ISA
