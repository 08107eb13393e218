// Copies and fills of a few dozen bytes, inlined: a call of memcpy takes longer than such a copy does.
#pragma once
#include <cstdint>
#include <cstring>

namespace ranvier {
namespace detail {

constexpr int64_t kChunk = 16;   // bytes: one register of every level
constexpr int64_t kShort = 256;  // bytes; longer runs are left to memcpy

// Calls chunk(i) for chunks of kChunk bytes, at byte i, that cover [0, n), n >= kChunk; the last may overlap
// the one before.
template <class F>
inline void cover_run(int64_t n, const F& chunk) {
  for (int64_t i = 0; i + kChunk < n; i += kChunk) chunk(i);
  chunk(n - kChunk);
}

}  // namespace detail

// y[i] = x[i] for n elements; x and y do not overlap.
template <class T>
inline void copy_run(const T* x, int64_t n, T* y) {
  const int64_t bytes = n * static_cast<int64_t>(sizeof(T));
  if (bytes >= detail::kShort) {
    std::memcpy(y, x, bytes);
  } else if (bytes < detail::kChunk) {
    for (int64_t i = 0; i < n; ++i) y[i] = x[i];
  } else {
    const char* from = reinterpret_cast<const char*>(x);
    char* to = reinterpret_cast<char*>(y);
    detail::cover_run(bytes, [&](int64_t i) { std::memcpy(to + i, from + i, detail::kChunk); });
  }
}

// y[i] = value for n elements.
template <class T>
inline void fill_run(T value, int64_t n, T* y) {
  constexpr int64_t kElements = detail::kChunk / sizeof(T);
  if (n < kElements) {
    for (int64_t i = 0; i < n; ++i) y[i] = value;
    return;
  }
  T chunk[kElements];
  for (T& element : chunk) element = value;
  char* to = reinterpret_cast<char*>(y);
  detail::cover_run(n * static_cast<int64_t>(sizeof(T)),
                    [&](int64_t i) { std::memcpy(to + i, chunk, detail::kChunk); });
}

}  // namespace ranvier
