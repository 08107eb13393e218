// HostCall: a kernel call whose run() calls a function of the bindings (HostSite, cpp/bindings/replay), which
// calls Python. A program needs it for what no kernel computes, such as NumPy's arithmetic.
//
// Like any kernel call it names the arrays that it reads and writes. It runs on the thread that called
// Program::run, while the other threads wait. It also acts as a check (see guard_of in program.h): it sets
// `found` to 1 if the function has failed, and then has written no array.
#pragma once
#include "base/views.h"

namespace ranvier {

struct HostCall {
  static constexpr const char* name = "numpy";
  void buffers(ViewList& v) const {
    for (int i = 0; i < count; ++i)
      v.note(&arrays[i].view, arrays[i].item, arrays[i].type, i < reads, i >= reads);
    v.add(found);
  }
  void run(const Team&, void*) const { *found.data = !function(*this); }
  static constexpr int kMost = 16;  // arrays
  // An array. If kernels do not know its dtype, the view has the bytes that the array reaches, as elements of
  // uint8.
  struct Array {
    AnyView view;
    uint16_t item;  // bytes of an element
    char type;      // as View::type in base/views.h
  };

  bool (*function)(const HostCall& call);  // returns false if it has failed
  void* site;                              // what `function` needs besides the arrays: a HostSite
  int reads, count;                        // arrays that are read; all arrays
  Array arrays[kMost];                     // first those that are read, then those that are written
  TensorView<int64_t> found;               // one element
};

}  // namespace ranvier
