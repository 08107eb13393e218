// embedding: rows of a table selected by index, and the gradient
//
//   forward   y[i] = weight[index[i]]
//   backward  dweight = 0, then dweight[index[i]] += dy[i] in the order of i, unless index[i] is `padding`;
//             by_frequency: a row's sum is then divided by how often it was picked
//
//   bag       y[b] = sum of scale[i] weight[index[i]] for starts[b] <= i < starts[b + 1], in this order;
//             scale is 1 without data
//
//   weight, dweight (rows, width); dweight, and weight and y of bag contiguous. y, dy (..., width)
//   contiguous, as many rows as index has elements; index of any shape, its values in [0, rows). A column's
//   sums are one thread's work: they do not depend on the team.
#pragma once
#include <cstddef>
#include <cstdint>

#include "base/views.h"

namespace ranvier {

template <class T>
struct EmbeddingForward {
  RANVIER_CALL("embedding_forward", weight, index, y);
  TensorView<const T> weight;
  TensorView<const int64_t> index;
  TensorView<T> y;
};

template <class T>
struct EmbeddingBackward {
  RANVIER_CALL("embedding_backward", dy, index, dweight);
  size_t workspace_bytes(int) const { return by_frequency ? sizeof(int64_t) * dweight.shape[0] : 0; }
  int64_t padding;  // -1: none
  bool by_frequency;
  TensorView<const T> dy;
  TensorView<const int64_t> index;
  TensorView<T> dweight;
};

template <class T>
struct Bag {
  RANVIER_CALL("bag", weight, index, starts, scale, y);
  TensorView<const T> weight;
  TensorView<const int64_t> index, starts;
  TensorView<const T> scale;
  TensorView<T> y;
};

}  // namespace ranvier
