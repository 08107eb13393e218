// Long calls and signals: a call of seconds ends soon after Ctrl-C.
//
// The core does not depend on Python: the embedding program installs a check (set_signal_check). The thread
// that made a call runs the check about twenty times a second, between blocks of work. If the check returns
// true, the team skips the rest of the work, the call ends, and invoke() throws Interrupted. Copies, and
// calls that change arrays that they also read, are always finished.
#pragma once
#include <atomic>
#include <cstdint>

namespace ranvier {

class Team;

// True if the rest of the call must be skipped. Kernels test it between blocks of work of at least some
// microseconds. All threads must still come to every barrier.
bool interrupted(const Team& team);

// The check. It is called on the main thread of the process, which holds no lock of this library except those
// that the caller of the kernel holds. It returns true if the call must end.
using SignalCheck = bool (*)();
void set_signal_check(SignalCheck check);

struct Interrupted {};  // thrown by invoke() after the call has ended

// True if one kernel call, or one run of a program, is to end early.
class StopSignal {
 public:
  // may_stop(call): true if the call may be left half done. It is asked only when a check is due. Null: it
  // may not.
  using MayStop = bool (*)(const void* call);
  explicit StopSignal(MayStop may_stop, const void* call = nullptr) : may_stop_(may_stop), call_(call) {}
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;
  bool stopped() const { return stopped_.load(std::memory_order_relaxed); }
  // Runs the check if it is due, and returns stopped(). Only for the thread that made the call.
  bool look();

 private:
  MayStop may_stop_;
  const void* const call_;
  std::atomic<bool> stopped_{false};
  int64_t next_look_ = 0;  // when the next check is due, in nanoseconds; 0: look() was not called so far
};

}  // namespace ranvier
