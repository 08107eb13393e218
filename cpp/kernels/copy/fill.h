// fill: every element of y becomes one number; any strides
#pragma once
#include <cstddef>

#include "base/views.h"

namespace ranvier {

template <class T>  // float, double, int64_t or bool
struct Fill {
  static constexpr const char* name = "fill";
  static constexpr bool finishes = true;
  T value;
  TensorView<T> y;

  void run(const Team& team, void* workspace) const;
  void buffers(ViewList& v) const { v.write(y); }
};

}  // namespace ranvier
