// Loops over the elements of several tensors of one shape and any strides, in the order of memory. walk()
// calls a function for each run of the innermost loop.
#pragma once
#include <algorithm>
#include <cstdint>
#include <cstdlib>

#include "base/tensor_view.h"
#include "base/unroll.h"

namespace ranvier {

// The loops: the dimensions are sorted from the slowest to the fastest of the last tensor. Neighbouring
// dimensions that all tensors step through evenly are joined. So if all tensors share a dense layout of any
// order (C, channels-last ...), there is a single loop.
template <int kTensors>
struct LoopNest {
  int ndim;
  int64_t size;
  int64_t shape[kMaxDims];
  int64_t strides[kTensors][kMaxDims];

  // strides_in[t]: the strides of tensor t, in elements. All tensors have the shape shape_in.
  LoopNest(int ndim_in, const int64_t* shape_in, const int64_t* const (&strides_in)[kTensors])
      : ndim(0), size(1) {
    const int64_t* last = strides_in[kTensors - 1];
    int order[kMaxDims];  // the dimensions of more than one element, the slowest of the last tensor first
    int count = 0;
    for (int d = 0; d < ndim_in; ++d) {
      size *= shape_in[d];
      if (shape_in[d] == 1) continue;
      // A sort by insertion keeps the given order among equals, and allocates nothing.
      int i = count;
      for (; i > 0 && std::llabs(last[order[i - 1]]) < std::llabs(last[d]); --i) order[i] = order[i - 1];
      order[i] = d;
      ++count;
    }
    for (int i = 0; i < count; ++i) append(shape_in[order[i]], strides_in, order[i]);
    if (ndim == 0) {  // one element
      shape[0] = size;
      ndim = 1;
      for (int t = 0; t < kTensors; ++t) strides[t][0] = 1;
    }
  }

  // Calls f(count, offsets) for each piece of the innermost loop among the elements [begin, end), numbered in
  // the order of the loops. The `count` elements of tensor t are at offsets[t] + i * strides[t][ndim - 1].
  template <class F>
  void walk(int64_t begin, int64_t end, const F& f) const {
    const int inner = ndim - 1;
    int64_t index[kMaxDims];         // of the present element, along each dimension
    int64_t offsets[kTensors] = {};  // of the present element in each tensor
    if (begin >= end) return;
    int64_t rest = begin;
    for (int d = inner; d >= 0; --d) {
      index[d] = rest % shape[d];
      rest /= shape[d];
      for (int t = 0; t < kTensors; ++t) offsets[t] += index[d] * strides[t][d];
    }
    for (;;) {
      const int64_t count = std::min(shape[inner] - index[inner], end - begin);
      f(count, offsets);
      begin += count;
      if (begin == end) return;
      move(inner, count, index, offsets);
      for (int d = inner; index[d] == shape[d]; --d) {  // carry
        move(d, -shape[d], index, offsets);
        move(d - 1, 1, index, offsets);
      }
    }
  }

  // True if the elements of tensor t are stored one after another in the order of the loops.
  bool is_dense(int t) const {
    int64_t expected = 1;
    for (int d = ndim - 1; d >= 0; --d) {
      if (strides[t][d] != expected) return false;
      expected *= shape[d];
    }
    return true;
  }

 private:
  // Adds the next dimension inwards; it is joined with the one before if all tensors step through both
  // evenly.
  void append(int64_t extent, const int64_t* const (&strides_in)[kTensors], int d) {
    bool joins = ndim > 0;
    for (int t = 0; t < kTensors && joins; ++t) joins = strides[t][ndim - 1] == strides_in[t][d] * extent;
    if (joins) {
      shape[ndim - 1] *= extent;
    } else {
      shape[ndim] = extent;
      ++ndim;
    }
    for (int t = 0; t < kTensors; ++t) strides[t][ndim - 1] = strides_in[t][d];
  }

  void move(int d, int64_t steps, int64_t* index, int64_t* offsets) const {
    index[d] += steps;
    RANVIER_UNROLL
    for (int t = 0; t < kTensors; ++t) offsets[t] += steps * strides[t][d];
  }
};

}  // namespace ranvier
