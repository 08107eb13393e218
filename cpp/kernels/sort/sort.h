// sort: the elements along one axis in order, or the first of them (topk), and the index of each
//
//   values[k] = x[indices[k]] along the axis, in rising order, or falling with `descending`. The sort is
//   stable: equal elements keep their order. -0 and 0 are equal, and NaN counts as greater than every number.
//
//   x has at least one dimension and any strides. values and indices have the shape of x except along the
//   axis, where they may be shorter and then hold the first elements in order. For float32 the axis has fewer
//   than 2^32 elements.
//
//   Each element becomes an unsigned integer with the same order (its key), beside its index. A long line is
//   sorted by the bytes of its keys, the lowest byte first (a radix sort, which makes no comparisons). A
//   short line is sorted by ranks: for each element the elements that come before it are counted. If few
//   elements are wanted, they are kept in a sorted list while the line is read.
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

// The type of the keys whose ranks are counted: signed integers with the order of the elements.
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

constexpr int64_t kRanked = 16;  // the arrays of `rank` are padded to a multiple of this

template <class T>
struct SortKernels {
  // ranks[i] = how many of the n keys come before keys[i] in a stable order. n is a multiple of kRanked; the
  // caller pads the keys of a line with the greatest number.
  void (*rank)(int64_t n, const typename SortKeys<T>::Key* keys, typename SortKeys<T>::Key* ranks);
};

RANVIER_TABLES(SortKernels, sort_kernels)

}  // namespace ranvier
