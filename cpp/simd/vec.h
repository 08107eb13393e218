// vec<T>: one SIMD register of the ISA level being compiled, as a GCC/Clang vector extension.
//
// Kernels are written once over vec<T>. Arithmetic (+ - * /), comparison and bit operators are those of the
// compiler; this file has what the extension has no operator for. Few files outside simd/ use intrinsics.
//
// CMake compiles each *.isa.cpp once for each level, with RANVIER_ISA (the namespace of the level),
// RANVIER_VECTOR_BYTES (16, 32 or 64) and RANVIER_HAS_FMA. Every function here is static and always inlined.
// Otherwise the linker might keep one copy of a function for all levels, and a copy that is compiled for
// AVX-512 would crash older CPUs.
#pragma once

#include <stdint.h>

#include <type_traits>

#include "simd/access.h"

#if !defined(RANVIER_ISA) || !defined(RANVIER_VECTOR_BYTES) || !defined(RANVIER_HAS_FMA)
#error "simd/vec.h needs RANVIER_ISA, RANVIER_VECTOR_BYTES and RANVIER_HAS_FMA (see cmake/isa.cmake)"
#endif

#define RANVIER_INLINE static inline __attribute__((always_inline))
// For a lambda in a loop: if it were called, it would load its constants and align its stack in each call.
#define RANVIER_INLINED __attribute__((always_inline))

namespace ranvier::RANVIER_ISA {

template <class T>
struct VecOf;
template <>
struct VecOf<float> {
  typedef float type __attribute__((vector_size(RANVIER_VECTOR_BYTES)));
  typedef uint32_t utype __attribute__((vector_size(RANVIER_VECTOR_BYTES)));
};
template <>
struct VecOf<double> {
  typedef double type __attribute__((vector_size(RANVIER_VECTOR_BYTES)));
  typedef uint64_t utype __attribute__((vector_size(RANVIER_VECTOR_BYTES)));
};

template <class T>
using vec = typename VecOf<T>::type;
// Signed integers of T's size; also the mask: -1 true, 0 false. Taken from a comparison, since the
// compilers disagree on whether a 64-bit lane is a long or a long long.
template <class T>
using ivec = decltype(vec<T>{} < vec<T>{});
template <class T>
using uvec = typename VecOf<T>::utype;

template <class V>
using element_of = std::remove_reference_t<decltype(V{}[0])>;
template <class T>
using int_of = element_of<ivec<T>>;

template <class T>
static constexpr int lanes = RANVIER_VECTOR_BYTES / int(sizeof(T));

// How many lanes of a vector are used if `left` elements of a line are left: all, or at its end fewer.
template <class T>
RANVIER_INLINE int lanes_used(int64_t left) {
  return left < lanes<T> ? static_cast<int>(left) : lanes<T>;
}

// 2^n for integral n, where 2^n is a normal number. Adding 1.5 * 2^23 (1.5 * 2^52) puts n into the low bits
// of the significand; the shift moves it to the exponent.
RANVIER_INLINE vec<float> power_of_two(vec<float> n) {
  return (vec<float>)((ivec<float>)(n + (0x1.8p23f + 127.0f)) << 23);
}
RANVIER_INLINE vec<double> power_of_two(vec<double> n) {
  return (vec<double>)((ivec<double>)(n + (0x1.8p52 + 1023.0)) << 52);
}

}  // namespace ranvier::RANVIER_ISA

// The few operations that need intrinsics: fma, sqrt, round_even, round_down, maximum, minimum,
// scale_by_power, load_n, store_n, any. Two macros tell what only some levels have: RANVIER_HAS_LOOKUP
// (tables in registers and parts of a float, avx512.h) and RANVIER_HAS_GATHER (else strided.h has a loop).
#if RANVIER_VECTOR_BYTES == 64 && defined(__AVX512F__)
#include "simd/avx512.h"
#elif RANVIER_VECTOR_BYTES == 32 && defined(__AVX2__)
#include "simd/avx2.h"
#elif RANVIER_VECTOR_BYTES == 16 && defined(__SSE4_1__)
#include "simd/sse4.h"
#elif RANVIER_VECTOR_BYTES == 16 && defined(__ARM_NEON)
#include "simd/neon.h"
#elif RANVIER_VECTOR_BYTES == 32 && defined(__ARM_NEON)
#include "simd/neon_pairs.h"
#else
#include "simd/portable.h"
#endif

namespace ranvier::RANVIER_ISA {

// --- memory -----------------------------------------------------------------------------------------

template <class T>
RANVIER_INLINE vec<T> load(const T* p) {
  vec<T> v;
  RANVIER_READS(p, sizeof v);
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}

template <class T>
RANVIER_INLINE void store(T* p, typename VecOf<T>::type v) {
  RANVIER_WRITES(p, sizeof v);
  __builtin_memcpy(p, &v, sizeof v);
}

// How many elements of a row of n elements at p come before its first aligned group of kLanes elements.
// Aligned stores pay, since a store across two cache lines takes as long as two. 0 if the row is too short
// for that.
template <int kLanes, class T>
RANVIER_INLINE int before_aligned(const T* p, int64_t n) {
  const int past = static_cast<int>(reinterpret_cast<uintptr_t>(p) / sizeof(T) % kLanes);
  return past && n >= 512 ? kLanes - past : 0;
}

// load_n(p, n), store_n(p, v, n): the first n lanes, 0 < n <= lanes; nothing past them is touched and
// the loaded vector's other lanes are 0. Defined in the level's header.

template <class T>
RANVIER_INLINE vec<T> broadcast(T x) {
  return x - vec<T>{};  // x - 0 is x for every x, -0 included
}

// broadcast(x) for products. On aarch64, products can take x from a lane of a register; the instruction LD1R,
// which GCC would use to load it, occupies a pipeline that multiplies.
template <class T>
RANVIER_INLINE vec<T> factor(T x) {
#if defined(__aarch64__)
  asm("" : "+w"(x));
#endif
  return broadcast<T>(x);
}

// v, loaded once to a register. GCC would load it again in each instruction that uses it, and a load that
// crosses cache lines takes as long as two.
template <class V>
RANVIER_INLINE V in_register(V v) {
#if defined(__x86_64__)
  asm("" : "+v"(v));
#endif
  return v;
}

template <class T>
RANVIER_INLINE ivec<T> ibroadcast(int_of<T> x) {
  return x - ivec<T>{};
}

// --- bits, masks --------------------------------------------------------------------------------------

RANVIER_INLINE ivec<float> bits(vec<float> v) { return (ivec<float>)v; }
RANVIER_INLINE ivec<double> bits(vec<double> v) { return (ivec<double>)v; }
RANVIER_INLINE vec<float> from_bits(ivec<float> v) { return (vec<float>)v; }
RANVIER_INLINE vec<double> from_bits(ivec<double> v) { return (vec<double>)v; }

// Lane by lane: mask ? a : b.
RANVIER_INLINE vec<float> select(ivec<float> mask, vec<float> a, vec<float> b) { return mask ? a : b; }
RANVIER_INLINE vec<double> select(ivec<double> mask, vec<double> a, vec<double> b) { return mask ? a : b; }
RANVIER_INLINE ivec<float> select(ivec<float> mask, ivec<float> a, ivec<float> b) { return mask ? a : b; }
RANVIER_INLINE ivec<double> select(ivec<double> mask, ivec<double> a, ivec<double> b) { return mask ? a : b; }

RANVIER_INLINE ivec<float> sign_bit(vec<float> v) { return bits(v) & INT32_MIN; }
RANVIER_INLINE ivec<double> sign_bit(vec<double> v) { return bits(v) & INT64_MIN; }
RANVIER_INLINE vec<float> abs(vec<float> v) { return from_bits(bits(v) & INT32_MAX); }
RANVIER_INLINE vec<double> abs(vec<double> v) { return from_bits(bits(v) & INT64_MAX); }

template <class V>
RANVIER_INLINE V copysign(V magnitude, V sign) {
  return from_bits(bits(abs(magnitude)) | sign_bit(sign));
}

// --- conversion -----------------------------------------------------------------------------------------

RANVIER_INLINE vec<float> to_float(ivec<float> v) { return __builtin_convertvector(v, vec<float>); }
RANVIER_INLINE vec<double> to_float(ivec<double> v) { return __builtin_convertvector(v, vec<double>); }
RANVIER_INLINE ivec<float> to_int(vec<float> v) { return __builtin_convertvector(v, ivec<float>); }
RANVIER_INLINE ivec<double> to_int(vec<double> v) { return __builtin_convertvector(v, ivec<double>); }

// A float vector as two double vectors, lower lanes first, and back (rounded to nearest).
typedef float half_vec __attribute__((vector_size(RANVIER_VECTOR_BYTES / 2)));

template <int half>
RANVIER_INLINE vec<double> widen(vec<float> v) {
  half_vec part[2];
  __builtin_memcpy(part, &v, sizeof v);
  return __builtin_convertvector(part[half], vec<double>);
}
RANVIER_INLINE vec<float> narrow(vec<double> low, vec<double> high) {
  const half_vec part[2] = {__builtin_convertvector(low, half_vec), __builtin_convertvector(high, half_vec)};
  vec<float> v;
  __builtin_memcpy(&v, part, sizeof v);
  return v;
}

template <class T>
RANVIER_INLINE vec<T> iota() {  // 0, 1, 2, ...
  vec<T> v{};
  for (int i = 0; i < lanes<T>; ++i) v[i] = T(i);
  return v;
}

// --- max, min: a NaN in either argument gives NaN, as in numpy.maximum -------------------------------

template <class V>
RANVIER_INLINE V max(V a, V b) {
  return select(a != a, a, maximum(a, b));  // the instruction returns b when either is NaN
}

template <class V>
RANVIER_INLINE V min(V a, V b) {
  return select(a != a, a, minimum(a, b));
}

}  // namespace ranvier::RANVIER_ISA

#include "simd/reduce.h"
