// index: elements picked along one axis, and their gradients put back
//
//   gather       y[.., j, ..] = x[.., index[.., j, ..], ..]
//   scatter_add  y = 0, then y[.., index[.., j, ..], ..] += x[.., j, ..], in the order of j
//
//   index has the shape of the picked elements (y of gather, x of scatter_add), with stride 0 where it is
//   repeated; its values lie in [-n, n), n the length of the other tensor's axis. Every line along the axis
//   is handled by one thread: the sums do not depend on the team.
#pragma once
#include <cstddef>
#include <cstdint>

#include "base/tensor_view.h"

namespace ranvier {

template <class T>
struct Gather {
  static constexpr const char* name = "gather";
  int axis;
  TensorView<const T> x;
  TensorView<const int64_t> index;
  TensorView<T> y;

  size_t workspace_bytes(int) const { return 0; }
  void run(void* workspace) const;
  template <class V>
  void buffers(V& v) const {
    v.read(x), v.read(index), v.write(y);
  }
};

template <class T>
struct ScatterAdd {
  static constexpr const char* name = "scatter_add";
  int axis;
  TensorView<const T> x;
  TensorView<const int64_t> index;
  TensorView<T> y;

  size_t workspace_bytes(int) const { return 0; }
  void run(void* workspace) const;
  template <class V>
  void buffers(V& v) const {
    v.read(x), v.read(index), v.write(y);
  }
};

}  // namespace ranvier
