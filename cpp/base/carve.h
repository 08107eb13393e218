// Cuts a workspace into arrays: once from nothing, to learn its size, then from the memory itself.
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
  size_t used() const { return used_; }  // more than any memory where a size has overflowed

 private:
  static constexpr size_t kMost = size_t{1} << 62;
  char* base_;
  size_t used_ = 0;
};

// Bytes between those parts of a workspace that threads write all the time. A processor fetches lines that
// follow the one it works on, and takes them from the thread beside: with less (128 are too few) two threads
// that sort lines of 10 elements took as long as one.
constexpr int64_t kApart = 512;

}  // namespace ranvier
