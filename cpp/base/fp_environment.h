// The floating-point environment that every kernel runs in.
#pragma once
#if defined(__SSE2__)
#include <xmmintrin.h>
#endif

namespace ranvier {

// Sets MXCSR to its default (round to nearest, subnormals kept) and restores the caller's on the way out: a
// library built with -ffast-math sets flush-to-zero for the whole thread, which would change our bits.
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
#else
  DefaultFpEnvironment() {}
#endif
  DefaultFpEnvironment(const DefaultFpEnvironment&) = delete;
  DefaultFpEnvironment& operator=(const DefaultFpEnvironment&) = delete;
};

}  // namespace ranvier
