// Checksums of memory and of arrays, by which a check (check.h) compares.
#include <algorithm>
#include <cstring>
#include <limits>
#include <type_traits>

#include "base/loop_nest.h"
#include "program/check.h"

namespace ranvier {

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

// False if no element is NaN: none has an exponent of ones alone, to which 1 is added here, two floats at a
// time. (That of an infinity has, too.)
template <class T>
static bool may_have_nan(const char* elements, size_t bytes) {
  if constexpr (!std::is_floating_point_v<T>) return false;
  constexpr bool kFloat = sizeof(T) == sizeof(float);
  constexpr uint64_t kExponents = kFloat ? 0x7F8000007F800000u : 0x7FF0000000000000u;
  constexpr uint64_t kOnes = kFloat ? 0x0080000000800000u : 0x0010000000000000u;
  constexpr uint64_t kCarries = kFloat ? 0x8000000080000000u : 0x8000000000000000u;
  uint64_t sums = 0;
  for (size_t at = 0; at < bytes; at += sizeof(uint64_t)) {
    uint64_t word = 0;
    std::memcpy(&word, elements + at, std::min(sizeof word, bytes - at));
    sums |= (word & kExponents) + kOnes;
  }
  return sums & kCarries;
}

void Fingerprint::mix(const char* block, size_t bytes) {
  const uint64_t both[2] = {sum_, checksum(block, bytes)};
  sum_ = checksum(both, sizeof both);
}

uint64_t Fingerprint::value() {
  if (size_) mix(pending_, size_);
  size_ = 0;
  return sum_;
}

// Mixes whole blocks where they are. What is not a whole block, or may have NaN, is copied behind the pending
// elements, with one NaN in place of all.
template <class T>
void Fingerprint::add_as(const char* elements, int64_t count) {
  auto bytes = static_cast<size_t>(count) * sizeof(T);
  while (bytes) {
    const size_t n = std::min(kBytes - size_, bytes);
    const bool has_nan = may_have_nan<T>(elements, n);
    if (n == kBytes && !has_nan) {
      mix(elements, n);
    } else {
      std::memcpy(pending_ + size_, elements, n);
      T* const values = reinterpret_cast<T*>(pending_ + size_);
      for (size_t i = 0; has_nan && i < n / sizeof(T); ++i)
        if (values[i] != values[i]) values[i] = std::numeric_limits<T>::quiet_NaN();
      size_ += n;
    }
    if (size_ == kBytes) mix(pending_, kBytes);
    if (size_ == kBytes) size_ = 0;
    elements += n;
    bytes -= n;
  }
}

template <class T>
void Fingerprint::walk(const AnyView& v, const char* data) {
  const LoopNest<1> nest(v.ndim, v.shape, {v.strides});
  const int64_t step = nest.strides[0][nest.ndim - 1];
  nest.walk(0, nest.size, [&](int64_t n, const int64_t* offsets) {
    const char* const first = data + offsets[0] * static_cast<int64_t>(sizeof(T));
    if (step == 1) return add_as<T>(first, n);
    for (int64_t i = 0; i < n; ++i) add_as<T>(first + i * step * static_cast<int64_t>(sizeof(T)), 1);
  });
}

void Fingerprint::add(char type, const void* elements, int64_t count) {
  const char* const from = static_cast<const char*>(elements);
  if (type == 'f') return add_as<float>(from, count);
  if (type == 'd') return add_as<double>(from, count);
  if (type == 'l') return add_as<int64_t>(from, count);
  if (type == 'i') return add_as<int32_t>(from, count);
  if (type == 'e' || type == 'E') return add_as<uint16_t>(from, count);
  add_as<uint8_t>(from, count);
}

void Fingerprint::add(char type, const AnyView& v, const char* data) {
  if (type == 'f') return walk<float>(v, data);
  if (type == 'd') return walk<double>(v, data);
  if (type == 'l') return walk<int64_t>(v, data);
  if (type == 'i') return walk<int32_t>(v, data);
  if (type == 'e' || type == 'E') return walk<uint16_t>(v, data);
  walk<uint8_t>(v, data);
}

}  // namespace ranvier
