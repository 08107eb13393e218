// dropout, and arrays filled with random numbers, from one counter-based generator
//
// Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011) maps a 64-bit key, the
// number of the call and a counter to four 32-bit words. The counter comes from the element's place in
// logical order (n, c, h, w), so a value depends on neither threads, vector width nor strides:
//
//   element e of floats belongs to group e / 64, which has the counters 16 (e / 64) + 0 ... 15; it has
//   counter e % 16 of the group, and of its words number (e % 64) / 16. (A double of random_fill takes two
//   words; a group has 32 of them.)
//
// `key` is an array of two int64: the key and the number of the call. The file also has the random numbers of
// NumPy's Philox generator, which are not kernel calls.
#pragma once
#include <cstddef>
#include <cstdint>

#include "base/isa.h"
#include "base/views.h"

namespace ranvier {

constexpr int kRandomGroup = 64;  // the words of a group, which are computed together

// y = x / (1 - p) where the word of the element is at least p 2^32, else 0. The gradient is the same call on
// dy, with the same key.
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

// The next key of a stream. state holds the seed of the stream and `calls`, how many keys it has given, which
// is raised by one first.
//
//   key = (mix(mix(seed) + calls), 0), where mix is the finaliser of SplitMix64 (Steele, Lea, Flood 2014)
struct NextKey {
  RANVIER_CALL("next_key", in_place(state), key);
  TensorView<int64_t> state;  // (2), contiguous
  TensorView<int64_t> key;    // (2), contiguous
};

constexpr int kNumpyBlocks = 8;  // that DropoutKernels::blocks computes at once

template <class T>
struct DropoutKernels {
  // Elements [first, first + n) in logical order, contiguous in x and y; first is a multiple of kRandomGroup.
  void (*dropout)(RandomKey, uint32_t threshold, T scale, int64_t first, int64_t n, const T* x, T* y);
  void (*uniform)(RandomKey, T low, T high, int64_t first, int64_t n, T* y);
  void (*normal)(RandomKey, T mean, T deviation, int64_t first, int64_t n, T* y);
  // Computes kNumpyBlocks blocks of NumPy's Philox, of eight words each, for the counters that follow
  // `counter`, whose first word does not overflow. Null where vectors are too short to be faster than one
  // block after another.
  void (*blocks)(const uint64_t* counter, const uint64_t* key, uint32_t* words);
};

RANVIER_TABLES(DropoutKernels, dropout_kernels)

// The state of NumPy's Philox, with the memory layout that it has in NumPy. Words of 64 bits are drawn from a
// buffer. Words of 32 bits are the halves of a word of 64 bits, the lower half first; the upper half is kept
// in `half`.
struct PhiloxState {
  uint64_t* counter;  // 4 words
  uint64_t* key;      // 2
  int position;       // the position of the next word in the buffer
  uint64_t buffer[4];
  int has_half;
  uint32_t half;
};

// order = the numbers 0 to n - 1 in the order of NumPy's Generator(Philox(seed)).permutation(n). n < 2^32.
void permutation(uint64_t seed, int64_t n, int64_t* order);
// The same for a generator in any state. The state afterwards is the one that NumPy leaves, here and below.
void permutation(PhiloxState& state, int64_t n, int64_t* order);
// y[i] = 1 if the next number of NumPy's Generator.random is below limit[i step], else 0. The number is a
// float32 if limits are floats, else a float64.
template <class Limit, class T>
void bernoulli(PhiloxState& state, const Limit* limit, int64_t step, int64_t n, T* y);
// y = n numbers from low to low + range, both included, as NumPy's Generator.integers draws them.
void bounded(PhiloxState& state, int64_t low, uint32_t range, int64_t n, int64_t* y);

}  // namespace ranvier
