// The floating-point environment that every kernel runs in.
#pragma once
#include <cstdint>
#if defined(__SSE2__)
#include <xmmintrin.h>
#endif

namespace ranvier {

// Sets the control register, MXCSR (aarch64: FPCR), to round to nearest and to keep subnormals. The
// destructor restores the caller's value. Reason: a library that is built with -ffast-math sets flush-to-zero
// for the whole thread, which would change the bits of our results. On other machines nothing is set.
class FpEnvironment {
 public:
#if defined(__SSE2__)
  using Control = unsigned;
  static constexpr Control kKeeps = 0x1f80;  // keeps subnormals, rounds to nearest, masks all exceptions
#elif defined(__aarch64__)
  using Control = uint64_t;
  static constexpr Control kKeeps = 0;
#else
  using Control = unsigned;
  static constexpr Control kKeeps = 0;
#endif

  explicit FpEnvironment(Control wanted = kKeeps) : saved_(get()), wanted_(wanted) {
    if (saved_ != wanted_) set(wanted_);
  }
  ~FpEnvironment() {
    if (saved_ != wanted_) set(saved_);
  }
  FpEnvironment(const FpEnvironment&) = delete;
  FpEnvironment& operator=(const FpEnvironment&) = delete;

  Control callers() const { return saved_; }  // the caller's value, which the destructor restores

 private:
#if defined(__SSE2__)
  static Control get() { return _mm_getcsr() & ~0x3fu; }  // without the exception flags (status)
  static void set(Control control) { _mm_setcsr(control); }
#elif defined(__aarch64__)
  static Control get() {
    Control control;
    asm volatile("mrs %0, fpcr" : "=r"(control));
    return control;
  }
  static void set(Control control) { asm volatile("msr fpcr, %0" ::"r"(control)); }
#else
  static Control get() { return kKeeps; }
  static void set(Control) {}
#endif
  Control saved_, wanted_;
};

}  // namespace ranvier
