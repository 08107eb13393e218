// sort: the elements along one axis in order, and where each came from
//
//   values[k] = x[indices[k]], rising (falling where descending is set). Equal elements keep their order, -0
//   and 0 are equal, NaN counts as greater than every number.
//
//   x of any strides and at least one dimension; values and indices have its shape but for the axis, along
//   which they hold the first `count` in order. float32: fewer than 2^32 elements along the axis.
//
//   An element becomes an unsigned number of the same order, with its index beside it. Long lines are sorted
//   by their bytes, the lowest first (a radix sort: stable, no comparisons); a few first elements of a line
//   are kept in a sorted list while it is read. In short lines the elements that come before each are
//   counted.
#pragma once
#include <cstddef>
#include <cstdint>

#include "base/isa.h"
#include "base/views.h"

namespace ranvier {

template <class T>
struct Sort {
  RANVIER_CALL("sort", x, values, indices);
  size_t workspace_bytes(int threads) const;
  bool descending;
  int axis;
  TensorView<const T> x;
  TensorView<T> values;
  TensorView<int64_t> indices;
};

// Signed numbers that rise with the elements.
template <class T>
struct SortKeys;
template <>
struct SortKeys<float> {
  using Key = int32_t;
};
template <>
struct SortKeys<double> {
  using Key = int64_t;
};

constexpr int64_t kRanked = 16;  // keys and ranks of a line are whole groups of this many

template <class T>
struct SortKernels {
  // ranks[i] = how many of the n keys come before the i-th; n is rounded up, as are both arrays: keys behind
  // a line are the greatest.
  void (*rank)(int64_t n, const typename SortKeys<T>::Key* keys, typename SortKeys<T>::Key* ranks);
};

RANVIER_TABLES(SortKernels, sort_kernels)

}  // namespace ranvier
