// Keeps threads of this module from being unwound at the end of Python. Before 3.14, Python ends a thread
// that asks for the GIL after the interpreter's end with pthread_exit(), which unwinds the thread's stack. In
// C++ functions that would run destructors without the GIL, and abort the process at a `noexcept` function or
// a `catch (...)`. So such a thread waits here until the process ends, as Python 3.14 lets it do.
#if !defined(__APPLE__) && !defined(_WIN32)  // their threads end without this
#include <unwind.h>

#include <chrono>
#include <thread>

using Personality = _Unwind_Reason_Code(int, _Unwind_Action, _Unwind_Exception_Class, _Unwind_Exception*,
                                        _Unwind_Context*);
// For each C++ function on the stack the unwinder calls __gxx_personality_v0. The linker's option --wrap
// (CMakeLists.txt) sends the calls for functions of this module to the wrapper below.
extern "C" Personality __real___gxx_personality_v0, __wrap___gxx_personality_v0;

_Unwind_Reason_Code __wrap___gxx_personality_v0(int version, _Unwind_Action actions,
                                                _Unwind_Exception_Class kind, _Unwind_Exception* exception,
                                                _Unwind_Context* context) {
  while (actions & _UA_FORCE_UNWIND) std::this_thread::sleep_for(std::chrono::hours(1));
  return __real___gxx_personality_v0(version, actions, kind, exception, context);
}
#endif
