// A call back into the program that holds the core, for what no kernel computes: NumPy's arithmetic.
//
// It is an instruction like any other: it names what it reads and writes. It runs on the thread that called
// the run, while the others wait, and is a check as well: `found` is 1 where it has failed; nothing is
// written then.
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
  static constexpr int kMost = 16;
  // A view of an array, or of the bytes that it reaches where kernels do not know its dtype.
  struct Array {
    AnyView view;
    uint16_t item;
    char type;
  };

  bool (*function)(const HostCall& call);
  void* site;  // for the function
  int reads, count;
  Array arrays[kMost];  // first `reads` that are read, then those that are written
  TensorView<int64_t> found;
};

}  // namespace ranvier
