// The floating-point environment that every kernel runs in.
#pragma once
#include <cstdint>
#if defined(__SSE2__)
#include <xmmintrin.h>
#endif

namespace ranvier {

// Sets MXCSR (aarch64: FPCR) to its default (round to nearest, subnormals kept) and restores the caller's on
// the way out: a library built with -ffast-math sets flush-to-zero for the whole thread, which would change
// our bits.
class DefaultFpEnvironment {
 public:
#if defined(__SSE2__)
  DefaultFpEnvironment() : saved_(_mm_getcsr()) {
    if ((saved_ & ~kFlags) != kDefault) _mm_setcsr(kDefault);
  }
  ~DefaultFpEnvironment() {
    if ((saved_ & ~kFlags) != kDefault) _mm_setcsr(saved_);
  }

 private:
  static constexpr unsigned kDefault = 0x1f80, kFlags = 0x3f;
  unsigned saved_;
#elif defined(__aarch64__)
  DefaultFpEnvironment() {
    asm volatile("mrs %0, fpcr" : "=r"(saved_));
    if (saved_ != 0) set(0);
  }
  ~DefaultFpEnvironment() {
    if (saved_ != 0) set(saved_);
  }

 private:
  static void set(uint64_t control) { asm volatile("msr fpcr, %0" ::"r"(control)); }
  uint64_t saved_;
#else
  DefaultFpEnvironment() {}
#endif
  DefaultFpEnvironment(const DefaultFpEnvironment&) = delete;
  DefaultFpEnvironment& operator=(const DefaultFpEnvironment&) = delete;
};

}  // namespace ranvier
