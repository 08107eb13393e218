// Loads and stores of vectors whose elements are `stride` elements apart in memory. Files that are compiled
// for each ISA level include it.
//
//   load_strided, store_strided   any stride
//   load_line, store_line         the next vector of a line that may end within it; contiguous or not
//   load_lanes, store_lanes       n lanes, 0 < n <= lanes; whole vectors take the plain instruction
//   gather                        elements at any indices
//
// Nothing outside the elements that are named is read or written.
#pragma once
#include "simd/vec.h"

namespace ranvier::RANVIER_ISA {

// load_strided and store_strided are not inlined: inlined lane by lane in every loop, they were a sixth of
// all machine code.

// The first n lanes, 0 < n <= lanes, from p[0], p[stride] ...; the others are `rest`.
template <class T>
__attribute__((noinline)) static vec<T> load_strided(const T* p, int64_t stride, int n, T rest = 0) {
  vec<T> v = broadcast(rest);
  for (int i = 0; i < lanes<T>; ++i)
    if (i < n) v[i] = p[i * stride];
  return v;
}

// load_n with `rest` instead of 0 in the lanes from n on.
template <class T>
RANVIER_INLINE vec<T> load_padded(const T* p, int n, T rest) {
  return select(iota<T>() < T(n), load_n(p, n), broadcast(rest));
}

// The next vector p[0], p[stride] ... of a line that has `left` elements left; missing lanes are `rest`.
// dense: the stride is 1, and a plain load is used where the line is long enough.
template <bool dense, class T>
RANVIER_INLINE vec<T> load_line(const T* p, int64_t stride, int64_t left, T rest = 0) {
  if constexpr (dense) return left >= lanes<T> ? load(p) : load_padded(p, int(left), rest);
  return load_strided(p, stride, lanes_used<T>(left), rest);
}

template <class T>
__attribute__((noinline)) static void store_strided(T* p, int64_t stride, typename VecOf<T>::type v, int n) {
  for (int i = 0; i < lanes<T>; ++i)
    if (i < n) p[i * stride] = v[i];
}

template <bool dense, class T>
RANVIER_INLINE void store_line(T* p, int64_t stride, typename VecOf<T>::type v, int64_t left) {
  if constexpr (dense) {
    if (left >= lanes<T>) {
      store(p, v);
    } else {
      store_n(p, v, int(left));
    }
  } else {
    store_strided(p, stride, v, lanes_used<T>(left));
  }
}

// Loads and stores of n lanes, 0 < n <= lanes<T>: whole vectors take the plain instruction.

template <class T>
RANVIER_INLINE vec<T> load_lanes(const T* p, int n) {
  return n == lanes<T> ? load(p) : load_n(p, n);
}
template <class T>
RANVIER_INLINE void store_lanes(T* p, typename VecOf<T>::type v, int n) {
  if (n == lanes<T>) {
    store(p, v);
  } else {
    store_n(p, v, n);
  }
}

// The same for elements `stride` apart. They do not call the two functions above, as GCC then makes
// avg_pool2d 6 % slower.
template <class T>
RANVIER_INLINE vec<T> load_lanes(const T* p, int64_t stride, int n) {
  if (stride != 1) return load_strided(p, stride, n);
  return n == lanes<T> ? load(p) : load_n(p, n);
}
template <class T>
RANVIER_INLINE void store_lanes(T* p, int64_t stride, typename VecOf<T>::type v, int n) {
  if (stride != 1) return store_strided(p, stride, v, n);
  if (n == lanes<T>) {
    store(p, v);
  } else {
    store_n(p, v, n);
  }
}

// Lane by lane p[at], 0 where at is negative.
#if !RANVIER_HAS_GATHER
template <class T>
RANVIER_INLINE vec<T> gather(const T* p, ivec<T> at) {
  vec<T> v = {};
  for (int i = 0; i < lanes<T>; ++i)
    if (at[i] >= 0) v[i] = p[at[i]];
  return v;
}
#endif

}  // namespace ranvier::RANVIER_ISA
