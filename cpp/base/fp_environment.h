// The floating-point environment that every kernel runs in.
#pragma once
#include <atomic>
#include <cstdint>
#if defined(__SSE2__)
#include <xmmintrin.h>
#endif

namespace ranvier {

// Sets MXCSR (aarch64: FPCR) to round to nearest, and to keep subnormals or take them as 0, as
// set_flush_denormal says. The caller's comes back on the way out: a library built with -ffast-math sets
// flush-to-zero for the whole thread, which would change our bits.
class FpEnvironment {
 public:
#if defined(__SSE2__)
  using Control = unsigned;
  static constexpr Control kKeeps = 0x1f80;             // subnormals; with all exceptions masked
  static constexpr Control kFlushes = kKeeps | 0x8040;  // results (FTZ) and operands (DAZ)
#elif defined(__aarch64__)
  using Control = uint64_t;
  static constexpr Control kKeeps = 0, kFlushes = Control{1} << 24;  // FZ: operands and results
#else
  using Control = unsigned;
  static constexpr Control kKeeps = 0, kFlushes = 0;
#endif
  static constexpr bool kMayFlush = kFlushes != kKeeps;

  FpEnvironment() : FpEnvironment(chosen.load(std::memory_order_relaxed)) {}
  explicit FpEnvironment(Control wanted) : saved_(get()), wanted_(wanted) {
    if (saved_ != wanted_) set(wanted_);
  }
  ~FpEnvironment() {
    if (saved_ != wanted_) set(saved_);
  }
  FpEnvironment(const FpEnvironment&) = delete;
  FpEnvironment& operator=(const FpEnvironment&) = delete;

  Control callers() const { return saved_; }

  static inline std::atomic<Control> chosen{kKeeps};

 private:
#if defined(__SSE2__)
  static Control get() { return _mm_getcsr() & ~0x3fu; }  // without the flags of exceptions that have been
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

// For all threads, from the next kernel on.
inline void set_flush_denormal(bool mode) {
  FpEnvironment::chosen.store(mode ? FpEnvironment::kFlushes : FpEnvironment::kKeeps);
}

inline bool flushes_denormal() { return FpEnvironment::chosen.load() != FpEnvironment::kKeeps; }

}  // namespace ranvier
