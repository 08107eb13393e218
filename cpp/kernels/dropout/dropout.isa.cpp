// dropout's loops, compiled once for each ISA level.
#include "kernels/dropout/dropout.h"

#include "kernels/dropout/philox.h"
#include "simd/lanes.h"
#include "simd/math.h"

namespace ranvier::RANVIER_ISA {

// The lanes' words, as integers of T's size.
RANVIER_INLINE uvec<float> lane_words(const uint32_t* p, float) {
  uvec<float> w;
  __builtin_memcpy(&w, p, sizeof w);
  return w;
}
RANVIER_INLINE uvec<double> lane_words(const uint32_t* p, double) {
  uvec<double> w;
  for (int i = 0; i < lanes<double>; ++i) w[i] = p[i];
  return w;
}

template <class T>
static void dropout(RandomKey key, uint32_t threshold, T scale, int64_t first, int64_t n, const T* x, T* y) {
  alignas(64) uint32_t random[kRandomGroup];
  for (int64_t i = 0; i < n; i += kRandomGroup) {
    random_group(key, (first + i) / kRandomGroup, random);
    const int64_t rest = n - i < kRandomGroup ? n - i : kRandomGroup;
    for (int64_t j = 0; j < rest; j += lanes<T>) {
      const auto keep = (ivec<T>)(lane_words(random + j, T{}) >= threshold);
      const int count = rest - j < lanes<T> ? static_cast<int>(rest - j) : lanes<T>;
      const vec<T> v = load_lanes(x + i + j, count);
      store_lanes(y + i + j, select(keep, v * broadcast(scale), vec<T>{}), count);
    }
  }
}

// [0, 1) from the high 24 bits of a word, or 53 bits of two.
static inline void unit_numbers(const uint32_t* random, float* out) {
  for (int i = 0; i < kRandomGroup; ++i) out[i] = static_cast<float>(random[i] >> 8) * 0x1p-24f;
}
static inline void unit_numbers(const uint32_t* random, double* out) {  // words 0 and 1, then 2 and 3
  for (int half = 0; half < 2; ++half)
    for (int i = 0; i < 16; ++i) {
      const uint64_t high = random[32 * half + i] >> 5, low = random[32 * half + 16 + i] >> 6;
      out[16 * half + i] = static_cast<double>(high << 26 | low) * 0x1p-53;
    }
}

// How many numbers a group gives: 64 of float, 32 of double, which begin at counter 16 (e / 32).
template <class T>
static constexpr int kNumbers = kRandomGroup * 4 / sizeof(T);

template <class T>
static void uniform(RandomKey key, T low, T high, int64_t first, int64_t n, T* y) {
  alignas(64) uint32_t random[kRandomGroup];
  alignas(64) T unit[kRandomGroup];
  for (int64_t i = 0; i < n; i += kNumbers<T>) {
    random_group(key, (first + i) / kNumbers<T>, random);
    unit_numbers(random, unit);
    const int64_t rest = n - i < kNumbers<T> ? n - i : kNumbers<T>;
    for (int64_t j = 0; j < rest; ++j) {
      const T v = low + unit[j] * (high - low);
      y[i + j] = v < high || low == high ? v : low;  // rounding may reach high
    }
  }
}

// Box and Muller (1958): two uniform numbers give two normal ones. u1 is moved to (0, 1].
template <class T>
static void normal(RandomKey key, T mean, T deviation, int64_t first, int64_t n, T* y) {
  alignas(64) uint32_t random[kRandomGroup];
  alignas(64) T unit[kRandomGroup];
  constexpr T step = sizeof(T) == 4 ? T(0x1p-24) : T(0x1p-53), two_pi = T(6.283185307179586476925);
  for (int64_t i = 0; i < n; i += kNumbers<T>) {
    random_group(key, (first + i) / kNumbers<T>, random);
    unit_numbers(random, unit);
    for (int pair = 0; pair < kNumbers<T>; pair += 32)
      for (int j = pair; j < pair + 16; j += lanes<T>) {
        const vec<T> radius = sqrt(broadcast(T(-2)) * log(load(unit + j) + broadcast(step)));
        const vec<T> angle = broadcast(two_pi) * load(unit + j + 16);
        store(unit + j, fma(broadcast(deviation), radius * cos(angle), broadcast(mean)));
        store(unit + j + 16, fma(broadcast(deviation), radius * sin(angle), broadcast(mean)));
      }
    const int64_t rest = n - i < kNumbers<T> ? n - i : kNumbers<T>;
    for (int64_t j = 0; j < rest; ++j) y[i + j] = unit[j];
  }
}

template <class T>
static constexpr DropoutKernels<T> dropout_table = {dropout<T>, uniform<T>, normal<T>};

RANVIER_DEFINE_TABLES(DropoutKernels, dropout_kernels, dropout_table);

}  // namespace ranvier::RANVIER_ISA
