// Runs the body of a method (methods.h): checks the number of arguments, and turns C++ exceptions into
// Python's.
#include "bindings/binder/methods.h"

#include "bindings/binder/define.h"

namespace ranvier::bind {

PyObject* run_body(Body body, PyObject* self, PyObject* const* arguments, Py_ssize_t count,
                   Py_ssize_t expected) {
  return detail::guarded([&] {
    if (expected != kAnyNumber && count != expected)
      fail_type("_core", "got ", int64_t{count}, " arguments; expected ", int64_t{expected});
    return body(self, arguments, count).release().ptr();
  });
}

}  // namespace ranvier::bind
