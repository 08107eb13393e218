// The lines of a tensor along one axis, as inner loops receive them.
#pragma once
#include <cstdint>

namespace ranvier {

// Element k of line i is at data[i * line + k * step].
template <class T>
struct Lines {
  T* data;
  int64_t line, step;
};

}  // namespace ranvier
