// Compares results bit by bit, and computes checksums of memory: a check (check.h) uses both.
#include <algorithm>
#include <cstring>

#include "base/loop_nest.h"
#include "program/check.h"

namespace ranvier {

// True if an element of the array at a and the same element of the array at b differ in any bit; two NaN
// count as equal. Both arrays have the layout of v, whose own data is not read.
template <class T>
static bool differ(const AnyView& v, const char* a, const char* b) {
  const LoopNest<1> nest(v.ndim, v.shape, {v.strides});
  const int64_t step = nest.strides[0][nest.ndim - 1];
  bool found = false;
  nest.walk(0, nest.size, [&](int64_t n, const int64_t* offsets) {
    const int64_t run = step == 1 ? n : 1;  // elements that lie one after another, compared at once
    for (int64_t i = 0; i < n && !found; i += run) {
      const int64_t begin = (offsets[0] + i * step) * static_cast<int64_t>(sizeof(T));
      const int64_t end = begin + run * static_cast<int64_t>(sizeof(T));
      if (std::memcmp(a + begin, b + begin, static_cast<size_t>(end - begin)) == 0) continue;
      for (int64_t at = begin; at < end; at += sizeof(T)) {
        T x, y;
        std::memcpy(&x, a + at, sizeof x);
        std::memcpy(&y, b + at, sizeof y);
        found = found || (std::memcmp(&x, &y, sizeof x) != 0 && (x == x || y == y));
      }
    }
  });
  return found;
}

// type: the letter of the elements' type (View::type in base/views.h).
bool differ(char type, const AnyView& v, const char* a, const char* b) {
  if (type == 'f') return differ<float>(v, a, b);
  if (type == 'd') return differ<double>(v, a, b);
  if (type == 'l') return differ<int64_t>(v, a, b);
  if (type == 'i') return differ<int32_t>(v, a, b);
  if (type == 'e' || type == 'E') return differ<uint16_t>(v, a, b);
  return differ<uint8_t>(v, a, b);
}

// Word i is mixed into sum i modulo 8; at the end the eight sums are mixed into one.
uint64_t checksum(const void* data, size_t bytes) {
  constexpr size_t kLanes = 8, kWord = sizeof(uint64_t);  // eight chains of products overlap in time
  constexpr uint64_t kOdd = 0x9E3779B97F4A7C15u;  // 2^64 / golden ratio, odd: a product with it can be undone
  uint64_t sums[kLanes] = {bytes};
  const char* p = static_cast<const char*>(data);
  const auto mix = [](uint64_t sum, uint64_t word) __attribute__((always_inline)) {
    const uint64_t mixed = (sum ^ word) * kOdd;
    return mixed ^ mixed >> 32;  // a one-to-one function of `word`: another word always gives another result
  };
  const auto add = [mix](uint64_t& sum, const char* from, size_t size) {
    uint64_t word = 0;
    std::memcpy(&word, from, size);
    sum = mix(sum, word);
  };
  for (; bytes >= kLanes * kWord; p += kLanes * kWord, bytes -= kLanes * kWord) {
#pragma GCC unroll 8
    for (size_t i = 0; i < kLanes; ++i) {
      uint64_t word;
      std::memcpy(&word, p + i * kWord, kWord);
      sums[i] = mix(sums[i], word);
    }
  }
  for (size_t i = 0; i < bytes; i += kWord) add(sums[i / kWord], p + i, std::min(kWord, bytes - i));
  for (size_t i = 1; i < kLanes; ++i) add(sums[0], reinterpret_cast<const char*>(&sums[i]), kWord);
  return sums[0];
}

}  // namespace ranvier
