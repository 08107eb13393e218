// A batch norm by running statistics, and a ReLU, on vectors of results: a convolution or product applies
// them to its sums before it stores them. The numbers m, a and b of each channel come from BatchNormScale
// (batch_norm.h), y = (x - m) a + b. Included by ISA files only.
#pragma once
#include "simd/vec.h"

namespace ranvier::RANVIER_ISA {

// The numbers of some channels, one in each lane.
template <class T>
struct ChannelLine {
  vec<T> m, a, b;
};

// Loads those of n channels, 0 < n <= lanes: m begins at `line`, a and b follow `step` elements apart.
template <class T>
RANVIER_INLINE ChannelLine<T> channel_line(const T* line, int64_t step, int n) {
  if (n == lanes<T>) return {load(line), load(line + step), load(line + 2 * step)};
  return {load_n(line, n), load_n(line + step, n), load_n(line + 2 * step, n)};
}

// The numbers of one channel in all lanes.
template <class T>
RANVIER_INLINE ChannelLine<T> same_line(const T* line, int64_t step) {
  return {broadcast<T>(line[0]), broadcast<T>(line[step]), broadcast<T>(line[2 * step])};
}

template <class T>
RANVIER_INLINE vec<T> normalized(vec<T> x, const ChannelLine<T>& f) {
  return fma(x - f.m, f.a, f.b);
}

// The same for one element.
template <class T>
RANVIER_INLINE T normalized(T x, const T* line, int64_t step) {
  return normalized(broadcast<T>(x), same_line(line, step))[0];
}

// ReLU. `maximum` returns its second argument if that is NaN or -0; adding 0 turns -0 into 0.
template <class V>
RANVIER_INLINE V cut_off(V x) {
  return maximum(V{}, x) + V{};
}

}  // namespace ranvier::RANVIER_ISA
