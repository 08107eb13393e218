// The calls of dropout.h. First dropout and arrays of random numbers: the division among threads, and arrays
// whose memory is not in logical order (the loops are in dropout.isa.cpp). Then the random numbers of NumPy's
// generator Philox: permutations, integers and Bernoulli draws.
#include "kernels/dropout/dropout.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <type_traits>
#include <utility>

#include "base/integers.h"
#include "base/logical_walk.h"
#include "base/parallel.h"

namespace ranvier {

namespace {

constexpr double kNsPerElement = 0.3;  // on one thread, roughly
constexpr double kNsPerStridedElement = 2;

RandomKey key_of(const TensorView<const int64_t>& v) {
  return {static_cast<uint64_t>(v.data[0]), static_cast<uint64_t>(v.data[v.strides[0]])};
}

// SplitMix64's finaliser, see NextKey.
uint64_t mix(uint64_t x) {
  x += 0x9E3779B97F4A7C15;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
  return x ^ (x >> 31);
}

// Calls f(first, count) in the threads, for shares of [0, n) that begin at multiples of kRandomGroup.
template <class F>
void for_each_group_share(const Team& team, int64_t n, double ns, const F& f) {
  const int64_t groups = ceil_div(n, kRandomGroup);
  team.parallel_for(groups, ns * n, [&](int64_t begin, int64_t end) {
    const int64_t first = begin * kRandomGroup;
    const int64_t last = std::min(end * kRandomGroup, n);
    f(first, last - first);
  });
}

}  // namespace

// One thread of the team takes the key. The counter is raised atomically, so that no key is given twice.
void NextKey::run(const Team& team, void*) const {
  team.parallel_for(1, 0, [&](int64_t, int64_t) {
    const int64_t calls = __atomic_add_fetch(state.data + 1, 1, __ATOMIC_RELAXED);
    key.data[0] = static_cast<int64_t>(mix(mix(static_cast<uint64_t>(state.data[0])) + calls));
    key.data[1] = 0;
  });
}

template <class T>
void Dropout<T>::run(const Team& team, void*) const {
  const bool dense = is_contiguous(x) && is_contiguous(y);
  const bool none = p >= 1;  // no element stays
  uint32_t threshold = 0;    // an element stays if its random word is at least this
  T scale(0);                // of the elements that stay
  if (!none) {
    threshold = static_cast<uint32_t>(p * 0x1p32);
    scale = static_cast<T>(1 / (1 - p));
  }
  const auto kernel = dropout_kernels<T>().dropout;
  const double ns = dense ? kNsPerElement : kNsPerStridedElement;
  for_each_group_share(team, numel(y), ns, [&](int64_t first, int64_t n) {
    const RandomKey k = key_of(key);
    if (dense && !none) return kernel(k, threshold, scale, first, n, x.data + first, y.data + first);
    // Other layouts: a group of elements at a time goes through a buffer, in logical order.
    LogicalWalk<const T> from(x, first);
    LogicalWalk<T> to(y, first);
    for (int64_t i = 0; i < n; i += kRandomGroup) {
      const int64_t count = std::min<int64_t>(kRandomGroup, n - i);
      T group[kRandomGroup] = {};
      if (!none) {
        for (int64_t j = 0; j < count; ++j) {
          group[j] = x.data[from.offset];
          from.next();
        }
        kernel(k, threshold, scale, first + i, count, group, group);
      }
      for (int64_t j = 0; j < count; ++j) {
        y.data[to.offset] = group[j];
        to.next();
      }
    }
  });
}

template <class T>
void RandomFill<T>::run(const Team& team, void*) const {
  const auto& kernels = dropout_kernels<T>();
  for_each_group_share(team, numel(y), 4 * kNsPerElement, [&](int64_t first, int64_t n) {
    const auto kernel = distribution == Distribution::uniform ? kernels.uniform : kernels.normal;
    kernel(key_of(key), static_cast<T>(a), static_cast<T>(b), first, n, y.data + first);
  });
}

RANVIER_INSTANTIATE(Dropout);
RANVIER_INSTANTIATE(RandomFill);

// --- NumPy's generator. Its key comes from the seed by NumPy's SeedSequence (M. E. O'Neill's seed_seq); its
// words are those of Philox4x64-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011). All
// constants below are those of NumPy or of the paper.

namespace {

// SeedSequence's hash of a word; its constant changes with each call.
struct SeedHash {
  uint32_t constant, factor;
  uint32_t operator()(uint32_t word) {
    word ^= constant;
    constant *= factor;
    word *= constant;
    return word ^ (word >> 16);
  }
};

// key = SeedSequence(seed).generate_state(2, uint64).
void spread(uint64_t seed, uint64_t (&key)[2]) {
  const uint32_t entropy[4] = {uint32_t(seed), uint32_t(seed >> 32), 0, 0};
  uint32_t pool[4], state[4];
  SeedHash hash{0x43b0d7e5, 0x931e8875};
  for (int i = 0; i < 4; ++i) pool[i] = hash(entropy[i]);
  for (int from = 0; from < 4; ++from)
    for (int to = 0; to < 4; ++to) {
      if (from == to) continue;
      const uint32_t mixed = 0xca01f9ddu * pool[to] - 0x4973f715u * hash(pool[from]);
      pool[to] = mixed ^ (mixed >> 16);
    }
  SeedHash last{0x8b51f9dd, 0x58f38ded};
  for (int i = 0; i < 4; ++i) state[i] = last(pool[i]);
  for (int i = 0; i < 2; ++i) key[i] = uint64_t{state[2 * i + 1]} << 32 | state[2 * i];
}

// Draws words of 32 bits from a generator, in the order of NumPy's philox_next32. Words are made in advance,
// many at a time. The destructor sets the state of the generator to just behind the last word that was used.
class Words {
 public:
  static constexpr int kWords = 64;  // words that are made in advance, at most
  __extension__ typedef unsigned __int128 Wide;

  // wanted: about how many words will be drawn.
  Words(PhiloxState& state, int64_t wanted) : state_(state), wanted_(wanted) {}
  ~Words() { go_back(); }

  // The next word of 64 bits, as philox_next64 of NumPy. It does not use the half that is kept for next32.
  // Must not be called between calls of draw().
  uint64_t next_whole() {
    if (state_.position == 4) {
      block(state_.counter, state_.key, state_.buffer);
      state_.position = 0;
    }
    const uint64_t word = state_.buffer[state_.position];
    ++state_.position;
    return word;
  }

  // Calls f(words, count), which returns how many of the words it has used. While f uses all, it is called
  // again.
  template <class F>
  void draw(const F& f) {
    do {
      if (at_ == made_) make();
      at_ += f(words_ + at_, made_ - at_);
    } while (at_ == made_);
  }

 private:
  // Fills `words_`: first with the rest of the state's buffer, then with whole blocks.
  void make() {
    saved_ = state_;
    std::copy_n(state_.counter, 4, counter_);
    int n = 0;
    while (state_.has_half || state_.position < 4) {
      words_[n] = next();
      ++n;
    }
    if (n == 0 || n < wanted_) {
      const int64_t some = std::clamp<int64_t>(wanted_, n + 8, kWords - 7) + 7;
      const int64_t most = wanted_ > n + 24 ? kWords : some;  // several blocks are made at once, by vectors
      n = make_blocks(n, static_cast<int>(most));
    }
    wanted_ -= n;
    made_ = n;
    at_ = 0;
  }

  // Makes whole blocks behind the first n words, up to `most` words. Returns how many words there are then.
  int make_blocks(int n, int most) {
    uint64_t counter[4], made[4];  // the lower half of each is the first word
    std::copy_n(counter_, 4, counter);
    const auto blocks = dropout_kernels<float>().blocks;
    if (blocks && n + 8 * kNumpyBlocks <= most && counter[0] < UINT64_MAX - kNumpyBlocks) {
      blocks(counter, state_.key, words_ + n);
      counter[0] += kNumpyBlocks;
      n += 8 * kNumpyBlocks;
    }
    for (; n + 8 <= most; n += 8) {
      block(counter, state_.key, made);
      std::memcpy(words_ + n, made, sizeof made);
    }
    std::copy_n(counter, 4, state_.counter);
    std::memcpy(state_.buffer, words_ + n - 8, sizeof state_.buffer);
    state_.half = words_[n - 1];
    return n;
  }

  // Sets the state to that after the first `at_` words, by as many steps from the saved state.
  void go_back() {
    if (at_ == made_) return;
    state_ = saved_;
    std::copy_n(counter_, 4, state_.counter);
    while (at_ > 0) {
      const bool whole = at_ > 8 && !state_.has_half && state_.position == 4;
      if (whole) {  // a block of 8 words, of which none is needed
        advance(state_.counter);
        at_ -= 8;
      } else {
        static_cast<void>(next());
        at_ -= 1;
      }
    }
  }

  uint32_t next() {
    if (state_.has_half) {
      state_.has_half = 0;
      return state_.half;
    }
    const uint64_t word = next_whole();
    state_.has_half = 1;
    state_.half = static_cast<uint32_t>(word >> 32);
    return static_cast<uint32_t>(word);
  }

  // Adds 1 to the counter of 256 bits, the lowest word first.
  static void advance(uint64_t* counter) {
    for (int i = 0; i < 4; ++i) {
      ++counter[i];
      if (counter[i] != 0) return;  // no carry
    }
  }

  // Raises the counter, and computes its four words of 64 bits.
  __attribute__((noinline)) static void block(uint64_t* counter, const uint64_t* key, uint64_t* to) {
    advance(counter);
    uint64_t c[4] = {counter[0], counter[1], counter[2], counter[3]};
    uint64_t k0 = key[0];
    uint64_t k1 = key[1];
#pragma GCC unroll 10
    for (int round = 0; round < 10; ++round) {
      const Wide p0 = Wide{0xD2E7470EE14C6C93u} * c[0];
      const Wide p1 = Wide{0xCA5A826395121157u} * c[2];
      c[0] = static_cast<uint64_t>(p1 >> 64) ^ c[1] ^ k0;
      c[1] = static_cast<uint64_t>(p1);
      c[2] = static_cast<uint64_t>(p0 >> 64) ^ c[3] ^ k1;
      c[3] = static_cast<uint64_t>(p0);
      k0 += 0x9E3779B97F4A7C15u;
      k1 += 0xBB67AE8584CAA73Bu;
    }
    std::copy_n(c, 4, to);
  }

  PhiloxState& state_;
  PhiloxState saved_;  // the state before words_, with the counter in counter_
  uint64_t counter_[4];
  uint32_t words_[kWords];
  int at_ = 0;    // the next word of words_
  int made_ = 0;  // how many there are
  int64_t wanted_;
};

}  // namespace

void permutation(uint64_t seed, int64_t n, int64_t* order) {
  uint64_t counter[4] = {}, key[2];
  spread(seed, key);
  PhiloxState state{counter, key, 4, {}, 0, 0};
  permutation(state, n, order);
}

void permutation(PhiloxState& state, int64_t n, int64_t* order) {
  std::iota(order, order + n, 0);
  Words stream(state, n + n / 2);
  constexpr int64_t kChunk = 512;  // places that are drawn before their elements are swapped
  uint32_t drawn[kChunk];
  for (int64_t i = n - 1; i > 0;) {
    const uint32_t mask = 0xffffffffu >> __builtin_clz(static_cast<uint32_t>(i));
    const int64_t first = i;
    const int64_t last = std::max<int64_t>(mask >> 1, i - kChunk);
    // Step i swaps order[i] with a place drawn from 0 to i; a number above i is drawn again. That test is no
    // branch, which would be mispredicted at every third number. The swaps follow after a chunk of draws, so
    // that draws need not wait for them.
    stream.draw([&](const uint32_t* words, int count) {
      uint32_t left = static_cast<uint32_t>(i);
      uint32_t* to = drawn + (first - i);
      const uint32_t* next = words;
      const uint32_t* end = words + count;
      while (left > last && next < end) {
        for (const uint32_t* some = next + std::min(end - next, left - last); next < some; ++next) {
          const uint32_t word = *next & mask;
          const uint32_t before = left;
          *to = word;
          left += (left < word) - 1u;  // one less, unless the number is drawn again
          to += before - left;
        }
      }
      i = left;
      return static_cast<int>(next - words);
    });
    for (int64_t k = 0; k < first - last; ++k) std::swap(order[first - k], order[drawn[k]]);
  }
}

// A value is the upper half of the 64-bit product of a word and the number of values (Lemire, "Fast random
// integer generation in an interval", 2019). If the lower half is below too_low, another word is drawn.
void bounded(PhiloxState& state, int64_t low, uint32_t range, int64_t n, int64_t* y) {
  if (range == 0) {
    std::fill_n(y, n, low);
    return;
  }
  const uint64_t values = uint64_t{range} + 1;
  const uint32_t too_low = static_cast<uint32_t>((UINT32_MAX - range) % values);
  int64_t i = 0;
  Words stream(state, n);
  if (n == 0) return;
  stream.draw([&](const uint32_t* words, int count) {
    int64_t* to = y + i;
    const uint32_t* next = words;
    const uint32_t* end = words + count;
    while (to < y + n && next < end) {
      const uint64_t product = *next * values;
      ++next;
      *to = static_cast<int64_t>(static_cast<uint64_t>(low) + (product >> 32));
      to += static_cast<uint32_t>(product) >= too_low;
    }
    i = to - y;
    return static_cast<int>(next - words);
  });
}

template <class Limit, class T>
void bernoulli(PhiloxState& state, const Limit* limit, int64_t step, int64_t n, T* y) {
  if (n == 0) return;
  Words stream(state, n);
  int64_t i = 0;
  if constexpr (std::is_same_v<Limit, float>) {
    stream.draw([&](const uint32_t* words, int count) {
      const int64_t rest = std::min<int64_t>(count, n - i);
      for (int64_t k = 0; k < rest; ++k) {
        const float uniform = static_cast<float>(words[k] >> 8) * 0x1p-24f;
        y[i] = uniform < limit[i * step];
        ++i;
      }
      return static_cast<int>(rest);
    });
  } else {
    for (; i < n; ++i) {
      const auto word = static_cast<int64_t>(stream.next_whole() >> 11);
      const double uniform = static_cast<double>(word) * 0x1p-53;
      y[i] = uniform < limit[i * step];
    }
  }
}

template void bernoulli(PhiloxState&, const float*, int64_t, int64_t, float*);
template void bernoulli(PhiloxState&, const float*, int64_t, int64_t, double*);
template void bernoulli(PhiloxState&, const double*, int64_t, int64_t, float*);
template void bernoulli(PhiloxState&, const double*, int64_t, int64_t, double*);

}  // namespace ranvier
