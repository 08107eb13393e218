// Long calls and signals: a call of seconds ends soon after Ctrl-C.
//
// The core does not depend on Python: the embedding program installs a check. The thread that made a call
// runs it about twenty times a second, between blocks of work; where it reports an exception, the team skips
// what is left, the call ends and invoke() throws Interrupted. Calls that change what they have read, and
// copies, are always finished.
#pragma once
#include <atomic>
#include <cstdint>

namespace ranvier {

class Team;

// True if the rest of the team's call is to be skipped. Test it between blocks of at least some microseconds.
// All threads still come to every barrier.
bool interrupted(const Team& team);

// Called on the process's main thread without any lock of this library except the caller's own; true: the
// call is to end.
using SignalCheck = bool (*)();
void set_signal_check(SignalCheck check);

struct Interrupted {};  // thrown by invoke() after the call has ended

// True if one kernel call, or one run of a program, is to end early.
class StopSignal {
 public:
  // may_stop(call): whether the call may be left half done; called late, if at all. Null: it may not.
  using MayStop = bool (*)(const void* call);
  explicit StopSignal(MayStop may_stop, const void* call = nullptr) : may_stop_(may_stop), call_(call) {}
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;
  bool stopped() const { return stopped_.load(std::memory_order_relaxed); }
  // These two only on the thread that made the call.
  bool look();  // runs the check, if it is time; returns stopped()

 private:
  MayStop may_stop_;
  const void* const call_;
  std::atomic<bool> stopped_{false};
  int64_t next_look_ = 0;  // in nanoseconds; 0: none so far
};

}  // namespace ranvier
