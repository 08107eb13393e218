// Long calls and signals: a call of seconds ends soon after Ctrl-C.
//
// The core knows nothing of Python: whoever embeds it installs a check. The thread that made a call asks it
// about ten times a second, between blocks of work; where the answer is an exception, the team skips what is
// left, the call ends and invoke() throws Interrupted. Calls that change what they have read, and copies,
// are always finished: they are never left half done.
#pragma once

namespace ranvier {

// Whether what is left of this thread's call is to be skipped. To be asked between blocks, of microseconds at
// least; barriers are passed all the same, by all threads.
bool interrupted();

// On the process's main thread, without any lock of this library's but the caller's own; true: the call shall
// end.
using SignalCheck = bool (*)();
void set_signal_check(SignalCheck check);

struct Interrupted {};  // thrown by invoke(), when the call has ended

}  // namespace ranvier
