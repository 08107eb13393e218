// The clock and the check by which a long call learns of a signal: see interrupt.h.
#include "base/interrupt.h"

#include <chrono>

#include "base/fork.h"
#include "base/system.h"

namespace ranvier {
namespace {

std::atomic<SignalCheck> g_check{nullptr};

int64_t now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

}  // namespace

void set_signal_check(SignalCheck check) { g_check.store(check); }

// The check may run Python code, which may call kernels (in teams of their own), fork, or wait for other
// threads. So forks do not wait for this thread while the check runs.
bool StopSignal::look() {
  constexpr int64_t kPeriod = 50000000;  // ns
  if (stopped()) return true;
  const int64_t now = now_ns();
  if (now < next_look_) return false;
  // The first call only starts the clock: a kernel call that ends within kPeriod never runs the check.
  const bool first = next_look_ == 0;
  next_look_ = now + kPeriod;
  const SignalCheck check = g_check.load(std::memory_order_relaxed);
  if (first || !check || !may_stop_ || !on_main_thread() || !may_stop_(call_)) return false;
  bool stop;
  {
    const ForkAllowed allowed;
    stop = check();
  }
  next_look_ = now_ns() + kPeriod;
  if (stop) stopped_.store(true);
  return stop;
}

}  // namespace ranvier
