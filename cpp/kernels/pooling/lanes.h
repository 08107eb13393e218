// Lanes that lie `stride` elements apart in memory, and window offsets in the lanes of a vector.
#pragma once
#include "simd/bytes.h"
#include "simd/vec.h"

namespace ranvier::RANVIER_ISA {

template <class V, int... lane>
RANVIER_INLINE V even_lanes_of(V a, V b, std::integer_sequence<int, lane...>) {
  constexpr int half = lanes_of<V> / 2;
#if defined(__clang__) || __GNUC__ >= 12
  return __builtin_shufflevector(a, b, (lane < half ? 2 * lane : 2 * lane + 1)...);
#else
  return V{(lane < half ? a[2 * lane % (2 * half)] : b[(2 * lane + 1) % (2 * half)])...};
#endif
}

// p[0], p[stride], ...: kStride 1 and 2 are known when compiling, 0 is any. Nothing after the last of them is
// read: for stride 2 the second load starts one element early.
template <int kStride, class T>
RANVIER_INLINE vec<T> load_lanes(const T* p, int64_t stride) {
  if constexpr (kStride == 1) return load(p);
  if constexpr (kStride == 2)
    return even_lanes_of(load(p), load(p + lanes<T> - 1), std::make_integer_sequence<int, lanes<T>>());
  vec<T> v{};
  for (int i = 0; i < lanes<T>; ++i) v[i] = p[i * stride];
  return v;
}

template <int kStride, class T>
RANVIER_INLINE vec<T> load_lanes_n(const T* p, int64_t stride, int n) {
  if constexpr (kStride == 1) return load_n(p, n);
  T some[lanes<T>] = {};
  for (int i = 0; i < n; ++i) some[i] = p[i * stride];
  return load(some);
}

// Offsets are int_of<T> while they are in registers.
template <class T>
RANVIER_INLINE void store_offsets(uint8_t* p, ivec<T> v, int n) {
  const auto bytes = narrow_to_bytes(v);
  if (n == lanes<T>)
    __builtin_memcpy(p, &bytes, sizeof bytes);
  else
    for (int i = 0; i < n; ++i) p[i] = bytes[i];
}
template <class T>
RANVIER_INLINE void store_offsets(int64_t* p, ivec<T> v, int n) {
  int_of<T> some[lanes<T>];
  __builtin_memcpy(some, &v, sizeof v);
  for (int i = 0; i < n; ++i) p[i] = some[i];
}

template <class T, int kStride, bool kWhole, class Offset>
RANVIER_INLINE ivec<T> load_offsets(const Offset* p, int64_t stride, int n) {
  if constexpr (sizeof(Offset) == 1 && kStride == 1 && kWhole) return widen_bytes(p, T{});
  int_of<T> some[lanes<T>] = {};
  for (int i = 0; i < (kWhole ? lanes<T> : n); ++i) some[i] = static_cast<int_of<T>>(p[i * stride]);
  ivec<T> v;
  __builtin_memcpy(&v, some, sizeof v);
  return v;
}

}  // namespace ranvier::RANVIER_ISA
