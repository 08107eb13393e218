// How far two results are apart, and sums by which memory is known to be unchanged.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/loop_nest.h"
#include "program/check.h"

namespace ranvier {
namespace {

// Adds one element. `size` of a difference counts the elements of b; two NaN do not differ.
template <class T>
void add_element(const char* a, const char* b, Difference& d) {
  T x, y;
  std::memcpy(&x, a, sizeof x);
  std::memcpy(&y, b, sizeof y);
  const double size = std::fabs(static_cast<double>(y));
  if (std::memcmp(a, b, sizeof x) == 0) {
    if (std::isfinite(size)) d.size = std::max(d.size, size);
    return;
  }
  const double apart = std::fabs(static_cast<double>(x) - static_cast<double>(y));
  d.size = std::max(d.size, size);
  if (x != x && y != y) return;
  d.found = true;
  d.largest = std::max(d.largest, apart == apart ? apart : HUGE_VAL);
}

template <class T>
void compare(const AnyView& v, const char* a, const char* b, Difference& difference) {
  const LoopNest<1> nest(v.ndim, v.shape, {v.strides});
  const int64_t step = nest.strides[0][nest.ndim - 1];
  const auto each = [&](const auto& f) {  // f(at, count): bytes from the first element, elements
    nest.walk(0, nest.size, [&](int64_t n, const int64_t* offsets) {
      const int64_t run = step == 1 ? n : 1;
      for (int64_t i = 0; i < n; i += run)
        f((offsets[0] + i * step) * static_cast<int64_t>(sizeof(T)), static_cast<size_t>(run));
    });
  };
  bool same = true;  // as a rule, and found much faster than the size of a difference
  each([&](int64_t at, size_t n) { same = same && std::memcmp(a + at, b + at, n * sizeof(T)) == 0; });
  if (same) return;
  each([&](int64_t at, size_t n) {
    for (size_t i = 0; i < n * sizeof(T); i += sizeof(T)) add_element<T>(a + at + i, b + at + i, difference);
  });
}

}  // namespace

double Difference::relative() const { return largest == 0 ? 0 : largest / std::max(size, 1e-30); }

// type: the letter of the elements' type (base/views.h).
void compare(char type, const AnyView& v, const char* a, const char* b, Difference& difference) {
  if (type == 'f') return compare<float>(v, a, b, difference);
  if (type == 'd') return compare<double>(v, a, b, difference);
  if (type == 'l') return compare<int64_t>(v, a, b, difference);
  if (type == 'i') return compare<int32_t>(v, a, b, difference);
  compare<uint8_t>(v, a, b, difference);
}

uint64_t checksum(const void* data, size_t bytes) {
  constexpr size_t kLanes = 8, kBlock = kLanes * sizeof(uint64_t);  // chains of products that overlap
  constexpr uint64_t kOdd = 0x9E3779B97F4A7C15u;
  uint64_t sums[kLanes] = {bytes, 1, 2, 3, 4, 5, 6, 7};
  const char* p = static_cast<const char*>(data);
  const auto add = [&](const char* block) {
    for (size_t i = 0; i < kLanes; ++i) {
      uint64_t word;
      std::memcpy(&word, block + i * sizeof word, sizeof word);
      const uint64_t mixed = (sums[i] ^ word) * kOdd;  // each step can be undone, so that no word is lost
      sums[i] = mixed ^ mixed >> 32;
    }
  };
  for (; bytes >= kBlock; p += kBlock, bytes -= kBlock) add(p);
  char rest[kBlock] = {};
  std::memcpy(rest, p, bytes);
  add(rest);
  uint64_t all = 0;
  for (const uint64_t sum : sums) all = (all ^ sum) * kOdd, all ^= all >> 29;
  return all;
}

}  // namespace ranvier
