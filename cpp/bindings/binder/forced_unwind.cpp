// Before 3.14, Python ends the threads that ask for the GIL when the interpreter has ended: pthread_exit()
// unwinds their stacks. C++ would run destructors, without the GIL, and abort the process at a function that
// is noexcept or a `catch (...)`. Such a thread waits here until the process ends, as it does in 3.14.
#if !defined(__APPLE__) && !defined(_WIN32)  // their threads end without this
#include <unwind.h>

#include <chrono>
#include <thread>

using Personality = _Unwind_Reason_Code(int, _Unwind_Action, _Unwind_Exception_Class, _Unwind_Exception*,
                                        _Unwind_Context*);
// The function that the unwinder calls for a function of this module, and, by the linker's --wrap, its
// wrapper.
extern "C" Personality __real___gxx_personality_v0, __wrap___gxx_personality_v0;

_Unwind_Reason_Code __wrap___gxx_personality_v0(int version, _Unwind_Action actions,
                                                _Unwind_Exception_Class kind, _Unwind_Exception* exception,
                                                _Unwind_Context* context) {
  while (actions & _UA_FORCE_UNWIND) std::this_thread::sleep_for(std::chrono::hours(1));
  return __real___gxx_personality_v0(version, actions, kind, exception, context);
}
#endif
