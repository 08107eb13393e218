// Sum, maximum and minimum over the lanes of a vector. Included by vec.h.
//
// The order is fixed, so the bits are, too: the upper half is added to the lower half until one lane is left.
#pragma once

#include <utility>

namespace ranvier::RANVIER_ISA {

template <class V>
static constexpr int lanes_of = sizeof(V) / sizeof(element_of<V>);

template <int distance, class V, int... lane>
RANVIER_INLINE V swap_lanes_of(V v, std::integer_sequence<int, lane...>) {
#if defined(__clang__) || __GNUC__ >= 12
  return __builtin_shufflevector(v, v, (lane ^ distance)...);
#else
  return V{v[lane ^ distance]...};
#endif
}

// Lane i of the result is lane i ^ distance of v.
template <int distance, class V>
RANVIER_INLINE V swap_lanes(V v) {
  return swap_lanes_of<distance>(v, std::make_integer_sequence<int, lanes_of<V>>());
}

// The lower or upper half of v.
template <int kHalf, class V>
RANVIER_INLINE auto half_of(V v) {
  typedef element_of<V> Half __attribute__((vector_size(sizeof(V) / 2)));
  Half half[2];
  __builtin_memcpy(half, &v, sizeof v);
  return half[kHalf];
}

template <class V>
RANVIER_INLINE element_of<V> reduce_add(V v) {
  if constexpr (sizeof(V) > 16) {
    return reduce_add(half_of<0>(v) + half_of<1>(v));
  } else {
    if constexpr ((lanes_of<V>) > 2) v = v + swap_lanes<2>(v);
    v = v + swap_lanes<1>(v);
    return v[0];
  }
}

// join(a, b) of all lanes, in the same tree as reduce_add.
template <class V, class Join>
RANVIER_INLINE element_of<V> fold_lanes(V v, const Join& join) {
  if constexpr ((lanes_of<V>) > 8) v = join(v, swap_lanes<8>(v));
  if constexpr ((lanes_of<V>) > 4) v = join(v, swap_lanes<4>(v));
  if constexpr ((lanes_of<V>) > 2) v = join(v, swap_lanes<2>(v));
  return join(v, swap_lanes<1>(v))[0];
}

// A NaN in any lane gives NaN.
template <class V>
RANVIER_INLINE element_of<V> reduce_max(V v) {
  return fold_lanes(v, [](V a, V b) RANVIER_INLINED { return max(a, b); });
}
template <class V>
RANVIER_INLINE element_of<V> reduce_min(V v) {
  return fold_lanes(v, [](V a, V b) RANVIER_INLINED { return min(a, b); });
}

}  // namespace ranvier::RANVIER_ISA
