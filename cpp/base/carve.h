// Cuts a workspace into arrays: once from nothing, to learn its size, then from the memory itself.
#pragma once
#include <cstddef>
#include <cstdint>

namespace ranvier {

class Carver {
 public:
  explicit Carver(void* base) : base_(static_cast<char*>(base)) {}
  // Each array starts on a cache line of its own.
  template <class T>
  T* take(int64_t count) {
    char* p = base_ ? base_ + used_ : nullptr;
    used_ += (static_cast<size_t>(count) * sizeof(T) + 63) / 64 * 64;
    return reinterpret_cast<T*>(p);
  }
  size_t used() const { return used_; }

 private:
  char* base_;
  size_t used_ = 0;
};

}  // namespace ranvier
