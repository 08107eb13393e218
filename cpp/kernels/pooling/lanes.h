// Vector functions of the pooling loops, beside those of simd/vec.h: shuffles, strided loads, and loads and
// stores of offsets. An offset is the place of a maximum in its window (see pooling.h). It is a byte or an
// int64 in memory, and an integer of the size of T in a vector.
#pragma once
#include "base/unroll.h"
#include "simd/bytes.h"
#include "simd/permute.h"
#include "simd/strided.h"

namespace ranvier::RANVIER_ISA {

// A vector whose lane i is lane index[i] of a and b in a row: indices from lanes_of<V> on are lanes of b.
template <class V, int... index>
RANVIER_INLINE V pick(V a, V b, std::integer_sequence<int, index...>) {
#if defined(__clang__) || __GNUC__ >= 12
  return __builtin_shufflevector(a, b, index...);
#else
  constexpr int n = lanes_of<V>;
  return V{(index < n ? a[index % n] : b[index % n])...};
#endif
}
// Lanes kFirst, kFirst + 2, ... of a and b.
template <int kFirst, class V, int... lane>
RANVIER_INLINE V every_second(V a, V b, std::integer_sequence<int, lane...>) {
  return pick(a, b, std::integer_sequence<int, (2 * lane + kFirst)...>());
}
// Lane kFirst of a, lane kFirst of b, lane kFirst + 1 of a, lane kFirst + 1 of b, and so on.
template <int kFirst, class V, int... lane>
RANVIER_INLINE V alternating(V a, V b, std::integer_sequence<int, lane...>) {
  constexpr int n = sizeof...(lane);
  return pick(a, b, std::integer_sequence<int, (lane % 2 * n + lane / 2 + kFirst)...>());
}

// Lanes 0 2 4 ... of a, then lanes 1 3 5 ... of b.
template <class V, int... lane>
RANVIER_INLINE V even_then_odd(V a, V b, std::integer_sequence<int, lane...>) {
  constexpr int n = sizeof...(lane);
  // From lane n on, which is lane 0 of b, the odd ones.
  return pick(a, b, std::integer_sequence<int, (2 * lane + (2 * lane >= n))...>());
}

template <class V>
using AllLanes = std::make_integer_sequence<int, lanes_of<V>>;

template <class V>  // a0 a2 ... b0 b2 ...
RANVIER_INLINE V even_lanes(V a, V b) {
  return every_second<0>(a, b, AllLanes<V>());
}
template <class V>  // a1 a3 ... b1 b3 ...
RANVIER_INLINE V odd_lanes(V a, V b) {
  return every_second<1>(a, b, AllLanes<V>());
}
template <class V>  // a0 b0 a1 b1 ..., the lower half of both
RANVIER_INLINE V zip_low(V a, V b) {
  return alternating<0>(a, b, AllLanes<V>());
}
template <class V>  // the same for the upper half
RANVIER_INLINE V zip_high(V a, V b) {
  return alternating<lanes_of<V> / 2>(a, b, AllLanes<V>());
}

// Lanes kFirst, kFirst + 1, ... of a, followed by the first lanes of b.
template <int kFirst, class V, int... lane>
RANVIER_INLINE V from_lane(V a, V b, std::integer_sequence<int, lane...>) {
  return pick(a, b, std::integer_sequence<int, (lane + kFirst)...>());
}

// A plan to load n elements that are `stride` apart (load_every). If they lie within the length of one
// vector, that vector is loaded and permuted: lane i of the result is its lane from[i].
template <class T>
struct Every {
  int64_t stride;
  ivec<T> from;

  explicit Every(int64_t stride_) : stride(stride_), from(to_int(iota<T>() * static_cast<T>(stride_))) {}
  __attribute__((always_inline)) bool is_near(int n) const {
    return has_permute<T> && (n - 1) * stride < lanes<T>;
  }
};

// Lane i of the result is p[i * stride] for i < n; the other lanes have any value. Whole vectors are read, so
// p must point into a row buffer (row_buffer.h). kStride: the stride if it is 1 or 2, else 0.
template <int kStride, class T>
RANVIER_INLINE vec<T> load_every(const T* p, const Every<T>& every, int n) {
  if constexpr (kStride == 1) return load(p);
  // The second load starts one element early, so that nothing behind the last element is read.
  if constexpr (kStride == 2) {
    const vec<T> low = load(p);
    const vec<T> high = load(p + lanes<T> - 1);
    return even_then_odd(low, high, AllLanes<vec<T>>());
  }
  if constexpr (has_permute<T>)
    if (every.is_near(n)) return permute(load(p), every.from);
  return load_strided(p, every.stride, n);
}

// Stores the first n offsets of v, 0 < n <= lanes, as bytes or as int64.
template <class T>
RANVIER_INLINE void store_offsets(uint8_t* p, ivec<T> v, int n) {
  const auto bytes = narrow_to_bytes(v);
  if (n == lanes<T>) {
    __builtin_memcpy(p, &bytes, sizeof bytes);
    return;
  }
  uint8_t some[16];
  __builtin_memcpy(some, &bytes, sizeof bytes);
  const uint8_t* from = some;
  if (n & 8) {
    __builtin_memcpy(p, from, 8);
    p += 8;
    from += 8;
  }
  if (n & 4) {
    __builtin_memcpy(p, from, 4);
    p += 4;
    from += 4;
  }
  if (n & 2) {
    __builtin_memcpy(p, from, 2);
    p += 2;
    from += 2;
  }
  if (n & 1) *p = *from;
}
template <class T>
__attribute__((noinline)) static void store_offsets(int64_t* p, ivec<T> v, int n) {
  for (int i = 0; i < lanes<T>; ++i)
    if (i < n) p[i] = v[i];
}

// Fewer than a vector of offsets, 0 in the other lanes.
template <class T>
__attribute__((noinline)) static ivec<T> load_some_offsets(const uint8_t* p, int n) {
  ivec<T> v{};
  for (int i = 0; i < lanes<T>; ++i)
    if (i < n) v[i] = p[i];
  return v;
}

// The end of the memory that loads may read: one element after the last of the array. If a stride is
// negative, the start of the data, so that no load of a whole vector is allowed.
template <class Offset>
static const Offset* end_of(const TensorView<const Offset>& v) {
  int64_t last = 0;
  for (int d = 0; d < v.ndim; ++d) {
    if (v.strides[d] < 0) return v.data;
    last += (v.shape[d] - 1) * v.strides[d];
  }
  return v.data + last + 1;
}

// n contiguous offsets. Where the array has a whole vector of elements from p on, the lanes after n hold what
// follows.
template <class T>
RANVIER_INLINE ivec<T> load_offsets(const uint8_t* p, const uint8_t* end, int n) {
  return end - p >= lanes<T> ? widen_bytes(p, T{}) : load_some_offsets<T>(p, n);
}

// For max_pool2d_backward: kVectors vectors of offsets, from each of which `base` is subtracted. add() adds
// the dy of the windows whose offset is then `tap`. kWhole: all lanes are used, else only the first n.
#if RANVIER_VECTOR_BYTES == 64 && defined(__AVX512BW__)
template <int kVectors, bool kWhole, class T>
struct ByteOffsets {  // the offsets stay bytes of one register, so that one comparison serves all vectors
  __m512i offset;
  uint64_t valid;

  __attribute__((always_inline)) ByteOffsets(const uint8_t* p, uint8_t base, int n) {
    const int used = kWhole ? kVectors * lanes<T> : n;
    valid = ~uint64_t{0} >> (64 - used);
    RANVIER_READS(p, used);
    offset = _mm512_sub_epi8(_mm512_maskz_loadu_epi8(valid, p), _mm512_set1_epi8(static_cast<char>(base)));
  }
  // sum += v in the lanes whose offset is `tap`.
  __attribute__((always_inline)) void add(int tap, const vec<T> (&v)[kVectors],
                                          vec<T> (&sum)[kVectors]) const {
    const uint64_t found =
        _mm512_mask_cmpeq_epi8_mask(valid, offset, _mm512_set1_epi8(static_cast<char>(tap)));
    RANVIER_UNROLL
    for (int k = 0; k < kVectors; ++k)
      if constexpr (sizeof(T) == 4)
        sum[k] = _mm512_mask_add_ps(sum[k], static_cast<__mmask16>(found >> k * lanes<T>), sum[k], v[k]);
      else
        sum[k] = _mm512_mask_add_pd(sum[k], static_cast<__mmask8>(found >> k * lanes<T>), sum[k], v[k]);
  }
};
#else
template <int kVectors, bool kWhole, class T>
struct ByteOffsets {
  ivec<T> offset[kVectors];

  __attribute__((always_inline)) ByteOffsets(const uint8_t* p, uint8_t base, int n) {
    RANVIER_UNROLL
    for (int k = 0; k < kVectors; ++k) {
      const ivec<T> loaded = kWhole ? widen_bytes(p + k * lanes<T>, T{}) : load_some_offsets<T>(p, n);
      offset[k] = loaded - ibroadcast<T>(base);
    }
  }
  __attribute__((always_inline)) void add(int tap, const vec<T> (&v)[kVectors],
                                          vec<T> (&sum)[kVectors]) const {
    RANVIER_UNROLL
    for (int k = 0; k < kVectors; ++k)
      sum[k] = sum[k] + select(offset[k] == ibroadcast<T>(tap), v[k], vec<T>{});
  }
};
#endif

}  // namespace ranvier::RANVIER_ISA
