// Runs the body of a method (methods.h): checks the number of arguments, and turns C++ exceptions into
// Python's.
#include "bindings/binder/methods.h"

#include "bindings/binder/define.h"

namespace ranvier::bind {

PyObject* run_body(Body body, PyObject* self, PyObject* const* given, Py_ssize_t of_call, Py_ssize_t count) {
  return detail::guarded([&] {
    if (count >= 0 && of_call != count)
      fail_type("_core", "got ", int64_t{of_call}, " arguments; expected ", int64_t{count});
    return body(self, given, of_call).release().ptr();
  });
}

}  // namespace ranvier::bind
