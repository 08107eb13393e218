// The loops of casts between the most common dtypes, compiled once for each ISA level.
#include "kernels/copy/copy.h"

#include "simd/vec.h"

namespace ranvier::RANVIER_ISA {

template <class From, class To>
static void dense(const void* x, int64_t n, void* y) {
  const From* p = static_cast<const From*>(x);
  To* q = static_cast<To*>(y);
  for (int64_t i = 0; i < n; ++i) q[i] = static_cast<To>(p[i]);
}

// float16 has 5 bits of exponent, whose bias is 112 less, and 10 of fraction, 13 fewer. What is below 2^-14
// is a multiple of 2^-24. Integer arithmetic at all levels: F16C's instructions change the bits of some NaN.
RANVIER_INLINE ivec<float> half_of(vec<float> x) {
  const ivec<float> sign = bits(x) >> 16 & 0x8000, size = bits(x) & INT32_MAX;
  const ivec<float> normal = (size + 0xfff + (size >> 13 & 1) - (112 << 23)) >> 13;
  const ivec<float> small = bits(abs(x) + 0.5f) - (126 << 23);  // the sum is rounded as wanted
  ivec<float> nan = 0x7c00 | (size >> 13 & 0x3ff);
  nan -= nan == 0x7c00;  // not infinity
  const ivec<float> large = size > 0x7f800000 ? nan : ivec<float>{} + 0x7c00;
  return sign | (size < (113 << 23) ? small : size >= (143 << 23) ? large : normal);
}

RANVIER_INLINE vec<float> float_of(ivec<float> half) {
  const ivec<float> sign = (half & 0x8000) << 16, size = half & 0x7fff, normal = (size << 13) + (112 << 23);
  const ivec<float> small = bits(__builtin_convertvector(size, vec<float>) * 0x1p-24f);
  const ivec<float> other = size >= 0x7c00 ? normal + (112 << 23) : normal;
  return from_bits(sign | (size < 0x400 ? small : other));
}

// f(x, y) for the vectors of n elements, the last one filled up.
template <class X, class Y, class F>
RANVIER_INLINE void each_vector(const X* x, int64_t n, Y* y, const F& f) {
  constexpr int L = lanes<float>;
  int64_t i = 0;
  for (; i + L <= n; i += L) f(x + i, y + i);
  if (i == n) return;
  X from[L] = {};
  Y to[L];
  __builtin_memcpy(from, x + i, sizeof(X) * size_t(n - i));
  f(from, to);
  __builtin_memcpy(y + i, to, sizeof(Y) * size_t(n - i));
}

typedef uint16_t Halves __attribute__((vector_size(2 * lanes<float>)));

static void to_half(const float* x, int64_t n, uint16_t* y) {
  each_vector(x, n, y, [](const float* from, uint16_t* to) {
    const Halves halves = __builtin_convertvector(half_of(load(from)), Halves);
    __builtin_memcpy(to, &halves, sizeof halves);
  });
}

static void from_half(const uint16_t* x, int64_t n, float* y) {
  each_vector(x, n, y, [](const uint16_t* from, float* to) {
    Halves halves;
    __builtin_memcpy(&halves, from, sizeof halves);
    store(to, float_of(__builtin_convertvector(halves, ivec<float>)));
  });
}

#define RANVIER_FROM(From) \
  {dense<From, float>, dense<From, double>, dense<From, int64_t>, dense<From, int32_t>, dense<From, bool>}
extern const CastKernels cast_kernels_float = {
    {RANVIER_FROM(float), RANVIER_FROM(double), RANVIER_FROM(int64_t), RANVIER_FROM(uint8_t)},
    to_half,
    from_half};
#undef RANVIER_FROM

}  // namespace ranvier::RANVIER_ISA
