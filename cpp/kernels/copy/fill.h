// fill: every element of y becomes one number; any strides
#pragma once
#include <cstddef>

#include "base/tensor_view.h"

namespace ranvier {

template <class T>  // float, double, int64_t or bool
struct Fill {
  static constexpr const char* name = "fill";
  static constexpr bool finishes = true;
  T value;
  TensorView<T> y;

  size_t workspace_bytes(int) const { return 0; }
  void run(const Team& team, void* workspace) const;
  template <class V>
  void buffers(V& v) const {
    v.write(y);
  }
};

}  // namespace ranvier
