// The loops of DropoutKernels (dropout.h), compiled once for each ISA level: Philox on vectors of counters,
// and what is made of its words.
#include "kernels/dropout/dropout.h"
#include "simd/math.h"
#include "simd/strided.h"

namespace ranvier::RANVIER_ISA {

// In each 64-bit lane, the product of the low 32 bits of a and b. The upper bits of a do not matter.
RANVIER_INLINE uvec<double> multiply_low(uvec<double> a, uint32_t b) {
#if RANVIER_VECTOR_BYTES == 64 && defined(__AVX512F__)
  return (uvec<double>)_mm512_maskz_mul_epu32(all8, (__m512i)a, _mm512_set1_epi64(b));
#elif RANVIER_VECTOR_BYTES == 32 && defined(__AVX2__)
  return (uvec<double>)_mm256_mul_epu32((__m256i)a, _mm256_set1_epi64x(b));
#elif RANVIER_VECTOR_BYTES == 16 && defined(__SSE4_1__)
  return (uvec<double>)_mm_mul_epu32((__m128i)a, _mm_set1_epi64x(b));
#elif RANVIER_VECTOR_BYTES == 16 && defined(__ARM_NEON)
  return (uvec<double>)vmull_u32(vmovn_u64((uint64x2_t)a), vdup_n_u32(b));
#else
  return (a & 0xffffffffull) * uint64_t{b};
#endif
}

// A vector of 64-bit lanes, each with a 32-bit word of one counter in its low half. The high half is ignored.
typedef uvec<double> wide;

RANVIER_INLINE wide all_lanes(uint32_t x) { return uint64_t{x} - wide{}; }

// Philox4x32-10: out has the four words of each counter (low, high, key.call).
RANVIER_INLINE void philox(RandomKey key, wide low, uint32_t high, wide (&out)[4]) {
  wide c0 = low;
  wide c1 = all_lanes(high);
  wide c2 = all_lanes(static_cast<uint32_t>(key.call));
  wide c3 = all_lanes(static_cast<uint32_t>(key.call >> 32));
  uint32_t k0 = static_cast<uint32_t>(key.key);
  uint32_t k1 = static_cast<uint32_t>(key.key >> 32);
#pragma GCC unroll 10
  for (int round = 0; round < 10; ++round) {
    const wide p0 = multiply_low(c0, 0xD2511F53u);
    const wide p1 = multiply_low(c2, 0xCD9E8D57u);
    c0 = (p1 >> 32) ^ c1 ^ k0;
    c1 = p1;
    c2 = (p0 >> 32) ^ c3 ^ k1;
    c3 = p0;
    k0 += 0x9E3779B9u;  // the constants of Salmon et al., "Parallel random numbers" (2011)
    k1 += 0xBB67AE85u;
  }
  out[0] = c0;
  out[1] = c1;
  out[2] = c2;
  out[3] = c3;
}

// The words of one group, in the order of its elements; lanes<float> counters at a time. Since a word takes a
// 64-bit lane, even and odd counters are computed separately and then joined.
RANVIER_INLINE void random_group(RandomKey key, int64_t group, uint32_t* out) {
  const uint64_t counter = static_cast<uint64_t>(group) * 16;
  for (int i = 0; i < 16; i += lanes<float>) {
    wide even_counters = all_lanes(static_cast<uint32_t>(counter) + i);
    wide even[4];
    wide odd[4];
    for (int lane = 0; lane < lanes<double>; ++lane) even_counters[lane] += 2 * lane;
    philox(key, even_counters, static_cast<uint32_t>(counter >> 32), even);
    philox(key, even_counters + 1, static_cast<uint32_t>(counter >> 32), odd);
    for (int word = 0; word < 4; ++word) {
      const wide both = (even[word] & 0xffffffffull) | (odd[word] << 32);
      __builtin_memcpy(out + 16 * word + i, &both, sizeof both);
    }
  }
}

// Words for the lanes of a vector of T, each as an integer of the size of T.
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
      const int count = lanes_used<T>(rest - j);
      const vec<T> v = load_lanes(x + i + j, count);
      store_lanes(y + i + j, select(keep, v * broadcast(scale), vec<T>{}), count);
    }
  }
}

// Numbers in [0, 1): a float from the high 24 bits of a word, a double from 53 bits of two words.
static inline void unit_numbers(const uint32_t* random, float* out) {
  for (int i = 0; i < kRandomGroup; ++i) out[i] = static_cast<float>(random[i] >> 8) * 0x1p-24f;
}
static inline void unit_numbers(const uint32_t* random, double* out) {  // words 0 and 1, then 2 and 3
  for (int half = 0; half < 2; ++half)
    for (int i = 0; i < 16; ++i) {
      const uint64_t high = random[32 * half + i] >> 5;
      const uint64_t low = random[32 * half + 16 + i] >> 6;
      out[16 * half + i] = static_cast<double>(high << 26 | low) * 0x1p-53;
    }
}

// The numbers that a group of random words gives: 64 of float (a word each), 32 of double (two words each).
// So element e is in group e / kNumbers.
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
      // v may be rounded up to high, which does not belong to [low, high).
      const bool inside = v < high || low == high;
      y[i + j] = inside ? v : low;
    }
  }
}

// Box and Muller (1958): two uniform numbers give two normal ones. The first is moved from [0, 1) to (0, 1],
// so that its logarithm exists.
template <class T>
static void normal(RandomKey key, T mean, T deviation, int64_t first, int64_t n, T* y) {
  alignas(64) uint32_t random[kRandomGroup];
  alignas(64) T unit[kRandomGroup];
  // Numbers j and j + 16 make a pair.
  constexpr T step = sizeof(T) == 4 ? T(0x1p-24) : T(0x1p-53);
  constexpr T two_pi = T(6.283185307179586476925);
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

#if RANVIER_VECTOR_BYTES > 16
// The product of 64-bit numbers, from products of 32 bits: returns the lower 64 bits, and sets *high to the
// upper ones.
RANVIER_INLINE wide multiply(wide a, uint64_t b, wide* high) {
  const uint32_t b_low = static_cast<uint32_t>(b);
  const uint32_t b_high = static_cast<uint32_t>(b >> 32);
  const wide low = multiply_low(a, b_low);
  const wide cross = multiply_low(a, b_high);
  const wide middle = (low >> 32) + (cross & 0xffffffffull) + multiply_low(a >> 32, b_low);  // below 2^64
  *high = multiply_low(a >> 32, b_high) + (cross >> 32) + (middle >> 32);
  return middle << 32 | (low & 0xffffffffull);
}

// DropoutKernels::blocks: Philox4x64-10 with one block in each lane.
static void blocks(const uint64_t* counter, const uint64_t* key, uint32_t* words) {
  constexpr int L = lanes<double>;
  for (int first = 0; first < kNumpyBlocks; first += L) {
    wide c[4];
    for (int i = 0; i < 4; ++i) c[i] = counter[i] - wide{};
    for (int lane = 0; lane < L; ++lane) c[0][lane] += uint64_t(first + lane + 1);
    uint64_t k0 = key[0];
    uint64_t k1 = key[1];
    for (int round = 0; round < 10; ++round) {
      wide high0, high1;
      const wide low0 = multiply(c[0], 0xD2E7470EE14C6C93u, &high0);
      const wide low1 = multiply(c[2], 0xCA5A826395121157u, &high1);
      c[0] = high1 ^ c[1] ^ k0;
      c[1] = low1;
      c[2] = high0 ^ c[3] ^ k1;
      c[3] = low0;
      k0 += 0x9E3779B97F4A7C15u;
      k1 += 0xBB67AE8584CAA73Bu;
    }
    uint64_t found[4][L];
    __builtin_memcpy(found, c, sizeof c);
    for (int lane = 0; lane < L; ++lane) {
      uint32_t* const block = words + 8 * (first + lane);  // 8 words of 32 bits
      for (int i = 0; i < 4; ++i) __builtin_memcpy(block + 2 * i, &found[i][lane], 8);
    }
  }
}
#else
constexpr auto blocks = nullptr;
#endif

template <class T>
static constexpr DropoutKernels<T> dropout_table = {dropout<T>, uniform<T>, normal<T>, blocks};

RANVIER_DEFINE_TABLES(DropoutKernels, dropout_kernels, dropout_table);

}  // namespace ranvier::RANVIER_ISA
