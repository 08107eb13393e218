// The loops of casts between the most common dtypes, compiled once for each ISA level.
#include "kernels/copy/copy.h"

#include "simd/halves.h"
#include "simd/vec.h"

namespace ranvier::RANVIER_ISA {

// y = x for n contiguous elements, in another dtype.
template <class From, class To>
static void dense(const void* x, int64_t n, void* y) {
  const From* p = static_cast<const From*>(x);
  To* q = static_cast<To*>(y);
  for (int64_t i = 0; i < n; ++i) q[i] = static_cast<To>(p[i]);
}

// Calls f(x, y) for each vector of n contiguous elements; the last, incomplete one goes through padded
// copies.
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

template <class Half>
static void to_half(const void* x, int64_t n, void* y) {
  each_vector(static_cast<const float*>(x), n, static_cast<Half*>(y),
              [](const float* from, Half* to) { store_halves(to, load(from)); });
}

template <class Half>
static void from_half(const void* x, int64_t n, void* y) {
  each_vector(static_cast<const Half*>(x), n, static_cast<float*>(y),
              [](const Half* from, float* to) { store(to, load_halves(from)); });
}

template <class Half, class Other>
static void between(const void* x, int64_t n, void* y) {
  each_vector(static_cast<const Half*>(x), n, static_cast<Other*>(y),
              [](const Half* from, Other* to) { store_halves(to, load_halves(from)); });
}

// The table (CastKernels in copy.h). Row i casts from kCastFrom[i], column j to kCastTo[j]: float, double,
// int64, int32, bool, float16, bfloat16. Entries that are missing here are null; such casts go through a wide
// type (cast.cpp).
#define RANVIER_HALVES(Half, ...) from_half<Half>, nullptr, nullptr, nullptr, nullptr, __VA_ARGS__
#define RANVIER_FROM(From) \
  dense<From, float>, dense<From, double>, dense<From, int64_t>, dense<From, int32_t>, dense<From, bool>
extern const CastKernels cast_kernels_float = {
    {{RANVIER_FROM(float), to_half<Float16>, to_half<BFloat16>},
     {RANVIER_FROM(double)},
     {RANVIER_FROM(int64_t)},
     {RANVIER_FROM(uint8_t)},
     {RANVIER_HALVES(Float16, nullptr, between<Float16, BFloat16>)},
     {RANVIER_HALVES(BFloat16, between<BFloat16, Float16>)}}};
#undef RANVIER_FROM
#undef RANVIER_HALVES

}  // namespace ranvier::RANVIER_ISA
