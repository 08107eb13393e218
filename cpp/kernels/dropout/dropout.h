// dropout, and arrays filled with random numbers, from one counter-based generator
//
// Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011) maps a 64-bit key, the
// number of the call and a counter to four 32-bit words. The counter comes from the element's place in
// logical order (n, c, h, w), so a value depends on neither threads, vector width nor strides:
//
//   group e / 64 holds counters 16 (e / 64) + 0 ... 15; element e has counter e % 16 of its group and word
//   (e % 64) / 16.
//
// `key` is a buffer of two int64: the key and the number of the call.
#pragma once
#include <cstddef>
#include <cstdint>

#include "base/isa.h"
#include "base/views.h"

namespace ranvier {

constexpr int kRandomGroup = 64;  // words made at once

// y = x / (1 - p) where the element's word is at least p 2^32, else 0. The same call on dy is the gradient.
template <class T>
struct Dropout {
  RANVIER_CALL("dropout", key, x, y);
  double p;
  TensorView<const int64_t> key;
  TensorView<const T> x;
  TensorView<T> y;
};

enum class Distribution { uniform, normal };

// Uniform in [a, b), or normal with mean a and standard deviation b; y is C-contiguous.
template <class T>
struct RandomFill {
  RANVIER_CALL("random_fill", key, y);
  Distribution distribution;
  double a, b;
  TensorView<const int64_t> key;
  TensorView<T> y;
};

struct RandomKey {
  uint64_t key, call;
};

// The next key of a stream: state holds its seed and how many keys it has given; that is raised by one.
//
//   key = (mix(mix(seed) + calls), 0), mix being SplitMix64's finaliser (Steele, Lea, Flood 2014)
struct NextKey {
  RANVIER_CALL("next_key", in_place(state), key);
  TensorView<int64_t> state;  // (2), contiguous
  TensorView<int64_t> key;    // (2), contiguous
};

constexpr int kNumpyBlocks = 8;

template <class T>
struct DropoutKernels {
  // Elements [first, first + n) in logical order, contiguous in x and y; first is a multiple of kRandomGroup.
  void (*dropout)(RandomKey, uint32_t threshold, T scale, int64_t first, int64_t n, const T* x, T* y);
  void (*uniform)(RandomKey, T low, T high, int64_t first, int64_t n, T* y);
  void (*normal)(RandomKey, T mean, T deviation, int64_t first, int64_t n, T* y);
  // kNumpyBlocks blocks of NumPy's Philox, of eight words each, for the counters behind this one; its first
  // word does not overflow. Null: a block after another takes no longer.
  void (*blocks)(const uint64_t* counter, const uint64_t* key, uint32_t* words);
};

RANVIER_TABLES(DropoutKernels, dropout_kernels)

// The state of NumPy's Philox, as NumPy has it in memory: words of 64 bits are drawn from a buffer, and of 32
// bits as the halves of one, the lower first.
struct PhiloxState {
  uint64_t* counter;  // 4 words
  uint64_t* key;      // 2
  int position;       // the position of the next word in the buffer
  uint64_t buffer[4];
  int has_half;
  uint32_t half;
};

// The numbers 0 to n - 1 in random order: that of NumPy's Generator(Philox(seed)).permutation(n), to the bit.
// order has room for n < 2**32 numbers.
void permutation(uint64_t seed, int64_t n, int64_t* order);
// The same of a generator in any state, which is left as NumPy leaves it.
void permutation(PhiloxState& state, int64_t n, int64_t* order);
// y[i] = 1 where the next number of Generator.random is below limit[i step], else 0: of float32 for limits of
// float, else of float64.
template <class Limit, class T>
void bernoulli(PhiloxState& state, const Limit* limit, int64_t step, int64_t n, T* y);
// n numbers from low to low + range: those of NumPy's Generator.integers, to the bit.
void bounded(PhiloxState& state, int64_t low, uint32_t range, int64_t n, int64_t* y);

}  // namespace ranvier
