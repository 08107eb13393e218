// Loops over the lines of tensors along one axis: for_lines() shares them among the threads. A line is all
// elements whose indices differ along the axis only.
#pragma once
#include <algorithm>
#include <cstdint>
#include <tuple>
#include <utility>

#include "base/lines.h"
#include "base/loop_nest.h"
#include "base/parallel.h"

namespace ranvier {

// The shape or strides of a tensor without one dimension.
struct WithoutAxis {
  int64_t values[kMaxDims] = {};

  WithoutAxis(const int64_t* all, int ndim, int axis) {
    int count = 0;
    for (int d = 0; d < ndim; ++d) {
      if (d == axis) continue;
      values[count] = all[d];
      ++count;
    }
  }
  operator const int64_t*() const { return values; }
};

// The loops over the lines along an axis. All tensors have the shape of the last one, except along this axis.
// A tensor with one dimension fewer has one element for each line.
template <class... T>
LoopNest<sizeof...(T)> lines_along(int axis, const TensorView<T>&... v) {
  const auto& whole = std::get<sizeof...(T) - 1>(std::tie(v...));
  // The axis in a tensor of `ndim` dimensions. One with a dimension fewer has no such axis: nothing is
  // removed.
  const auto axis_in = [&](int ndim) { return ndim == whole.ndim ? axis : ndim; };
  return {whole.ndim - 1,
          WithoutAxis(whole.shape, whole.ndim, axis),
          {WithoutAxis(v.strides, v.ndim, axis_in(v.ndim))...}};
}

// Calls body(team, count, Lines of each tensor) for this thread's share of the lines, `count` lines at a
// time. ns_of_line: the time of one line, roughly.
template <class Body, class... T, size_t... k>
void for_lines_at(std::index_sequence<k...>, const Team& team, double ns_of_line, int axis, const Body& body,
                  const TensorView<T>&... v) {
  const LoopNest<sizeof...(T)> nest = lines_along(axis, v...);
  const int inner = nest.ndim - 1;
  const int ndim = std::max({v.ndim...});
  // From one element of a line to the next; 0 in a tensor that has one element for each line.
  const auto step = [&](const auto& view) { return view.ndim == ndim ? view.strides[axis] : 0; };
  team.parallel_for(nest.size, ns_of_line * static_cast<double>(nest.size),
                    [&](const OpenTeam& team, int64_t begin, int64_t end) {
                      nest.walk(begin, end, [&](int64_t count, const int64_t* offsets) {
                        body(team, count, Lines<T>{v.data + offsets[k], nest.strides[k][inner], step(v)}...);
                      });
                    });
}
template <class Body, class... T>
void for_lines(const Team& team, double ns_of_line, int axis, const Body& body, const TensorView<T>&... v) {
  for_lines_at(std::index_sequence_for<T...>{}, team, ns_of_line, axis, body, v...);
}

}  // namespace ranvier
