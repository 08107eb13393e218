// log(sum(exp(x))) of a group of lines, as their maximum and the logarithm of the rest.
#pragma once
#include "kernels/loss/class_lines.h"

namespace ranvier::RANVIER_ISA {

template <class T>
struct LogSumExp {
  vec<T> top, log_sum;
};

// A NaN that the maxima lose comes back in the sum.
template <class T>
__attribute__((noinline)) static LogSumExp<T> log_sum_exp_across(const ClassLines<T>& l,
                                                                 const LineGroup<T>& g) {
  Tile<T> tile;
  const auto load_from = [&](int64_t k0) {
    const int64_t n = l.n - k0 < kTileRows ? l.n - k0 : kTileRows;
    load_tile(tile, l.x.data + g.first * l.x.line + k0 * l.x.step, l.x.line, l.x.step, g.count, n);
    return n;
  };
  vec<T> top = broadcast(-Limits<T>::infinity), odd = top, sum{};
  for (int64_t k0 = 0; k0 < l.n; k0 += kTileRows) {
    const int64_t n = load_from(k0);
    for (int64_t k = 0; k + 1 < n; k += 2)
      top = maximum(top, Tile<T>::row(tile, k)), odd = maximum(odd, Tile<T>::row(tile, k + 1));
    if (n % 2) top = maximum(top, Tile<T>::row(tile, n - 1));
  }
  top = maximum(top, odd);
  for (int64_t k0 = 0; k0 < l.n; k0 += kTileRows) {
    const int64_t n = l.n <= kTileRows ? l.n : load_from(k0);
    for (int64_t k = 0; k < n; ++k) sum += exp_below_1(Tile<T>::row(tile, k) - top);
  }
  return {top, log(sum)};
}

template <class T>
__attribute__((noinline)) static LogSumExp<T> log_sum_exp_along(const ClassLines<T>& l,
                                                                const LineGroup<T>& g) {
  constexpr int L = lanes<T>, kVectors = 4;  // maxima that need not wait for each other
  constexpr T lowest = -Limits<T>::infinity;
  alignas(64) T tops[L] = {}, sums[L] = {};
  for (int i = 0; i < g.count; ++i) {
    const T* x = l.x.data + (g.first + i) * l.x.line;
    vec<T> top[kVectors], sum{};
    for (auto& t : top) t = broadcast(lowest);
    int64_t k = 0;
    for (; k + kVectors * L <= l.n; k += kVectors * L)
      for (int v = 0; v < kVectors; ++v) top[v] = maximum(top[v], load(x + k + v * L));
    for (; k < l.n; k += L) top[0] = maximum(top[0], load_line<true>(x + k, 1, l.n - k, lowest));
    tops[i] = reduce_max(maximum(maximum(top[0], top[1]), maximum(top[2], top[3])));
    for (k = 0; k + L <= l.n; k += L) sum += exp_below_1(load(x + k) - tops[i]);
    if (k < l.n) sum += exp_or_0(load_padded(x + k, int(l.n - k), lowest) - tops[i]);
    sums[i] = reduce_add(sum);
  }
  return {load(tops), log(load(sums))};
}

// Also kept for backward.
template <class T>
RANVIER_INLINE LogSumExp<T> log_sum_exp(const ClassLines<T>& l, const LineGroup<T>& g) {
  const LogSumExp<T> s = g.along ? log_sum_exp_along(l, g) : log_sum_exp_across(l, g);
  store_lanes(l.log_sum_exp.data + g.first * l.log_sum_exp.line, l.log_sum_exp.line, s.top + s.log_sum,
              g.count);
  return s;
}

}  // namespace ranvier::RANVIER_ISA
