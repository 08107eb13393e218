// Running totals over the lanes of a vector.
#pragma once

#include "simd/vec.h"

namespace ranvier::RANVIER_ISA {

// Lane i of the result is lane i - distance of v (i + distance, where down is set); lanes that would come
// from outside are those of rest.
template <int distance, bool down, class V, int... lane>
RANVIER_INLINE V shift_lanes_of(V v, V rest, std::integer_sequence<int, lane...>) {
  constexpr int n = lanes_of<V>;
#if defined(__clang__) || __GNUC__ >= 12
  return __builtin_shufflevector(v, rest,
                                 (down ? (lane + distance < n ? lane + distance : n + lane)
                                       : (lane >= distance ? lane - distance : n + lane))...);
#else
  return V{(down ? (lane + distance < n ? v[(lane + distance) % n] : rest[lane])
                 : (lane >= distance ? v[(lane + n - distance) % n] : rest[lane]))...};
#endif
}

template <int distance, bool down, class V>
RANVIER_INLINE V shift_lanes(V v, V rest) {
  return shift_lanes_of<distance, down>(v, rest, std::make_integer_sequence<int, lanes_of<V>>());
}

// Lane i: op over lanes 0 ... i (i ... last, where down is set), in a tree of fixed shape. identity leaves
// every element as it is.
template <class Op, bool down, class V>
RANVIER_INLINE V running(V v, V identity) {
  v = Op::join(v, shift_lanes<1, down>(v, identity));
  if constexpr ((lanes_of<V>) > 2) v = Op::join(v, shift_lanes<2, down>(v, identity));
  if constexpr ((lanes_of<V>) > 4) v = Op::join(v, shift_lanes<4, down>(v, identity));
  if constexpr ((lanes_of<V>) > 8) v = Op::join(v, shift_lanes<8, down>(v, identity));
  return v;
}

}  // namespace ranvier::RANVIER_ISA
