// Carver: divides a workspace into arrays. The same code runs twice: first with a null pointer, to find out
// how many bytes it needs (used()), then with the memory.
#pragma once
#include <cstddef>
#include <cstdint>

namespace ranvier {

class Carver {
 public:
  explicit Carver(void* base) : base_(static_cast<char*>(base)) {}
  // Each array starts on a separate cache line.
  template <class T>
  T* take(int64_t count) {
    char* p = base_ ? base_ + used_ : nullptr;
    size_t bytes;
    if (count < 0 || __builtin_mul_overflow(static_cast<size_t>(count), sizeof(T), &bytes) || bytes > kMost)
      bytes = kMost;
    used_ = used_ + (bytes + 63) / 64 * 64;
    if (used_ > kMost) used_ = kMost;
    return reinterpret_cast<T*>(p);
  }
  size_t used() const { return used_; }  // bytes taken so far; if a size has overflowed, more than any memory

 private:
  static constexpr size_t kMost = size_t{1} << 62;
  char* base_;
  size_t used_ = 0;
};

// Bytes between parts of a workspace that different threads write all the time. A processor prefetches cache
// lines after the one that it works on, and so takes them from the core of another thread. With less space
// (128 bytes are too few) two threads that sorted lines of 10 elements took as long as one.
constexpr int64_t kApart = 512;

}  // namespace ranvier
