// The floating-point environment that every kernel runs in.
#pragma once
#include <atomic>
#include <cstdint>
#if defined(__SSE2__)
#include <xmmintrin.h>
#endif

namespace ranvier {

namespace detail {

inline std::atomic<bool> g_flush_denormal{false};

}  // namespace detail

// Sets MXCSR (aarch64: FPCR) to round to nearest, and to keep subnormals or take them as 0, as
// set_flush_denormal says. The caller's comes back on the way out: a library built with -ffast-math sets
// flush-to-zero for the whole thread, which would change our bits.
class FpEnvironment {
 public:
#if defined(__SSE2__)
  static constexpr bool kMayFlush = true;

  FpEnvironment() : saved_(_mm_getcsr()), wanted_(flushes() ? kDefault | kFlush : kDefault) {
    if ((saved_ & ~kFlags) != wanted_) _mm_setcsr(wanted_);
  }
  ~FpEnvironment() {
    if ((saved_ & ~kFlags) != wanted_) _mm_setcsr(saved_);
  }

 private:
  static constexpr unsigned kDefault = 0x1f80, kFlags = 0x3f;
  static constexpr unsigned kFlush = 0x8040;  // results (FTZ) and operands (DAZ)
  unsigned saved_, wanted_;
#elif defined(__aarch64__)
  static constexpr bool kMayFlush = true;

  FpEnvironment() : wanted_(flushes() ? kFlush : 0) {
    asm volatile("mrs %0, fpcr" : "=r"(saved_));
    if (saved_ != wanted_) set(wanted_);
  }
  ~FpEnvironment() {
    if (saved_ != wanted_) set(saved_);
  }

 private:
  static constexpr uint64_t kFlush = uint64_t{1} << 24;  // FZ: operands and results
  static void set(uint64_t control) { asm volatile("msr fpcr, %0" ::"r"(control)); }
  uint64_t saved_, wanted_;
#else
  static constexpr bool kMayFlush = false;

  FpEnvironment() {}
#endif
  FpEnvironment(const FpEnvironment&) = delete;
  FpEnvironment& operator=(const FpEnvironment&) = delete;

 public:
  static bool flushes() { return detail::g_flush_denormal.load(std::memory_order_relaxed); }
};

// For all threads, from the next kernel on.
inline void set_flush_denormal(bool mode) { detail::g_flush_denormal.store(mode); }

}  // namespace ranvier
