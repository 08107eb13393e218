// embedding: rows of a table selected by index, and the gradient
//
//   forward   y[i] = weight[index[i]]
//   backward  dweight = 0, then dweight[index[i]] += dy[i] in the order of i, unless index[i] is `padding`;
//             by_frequency: a row's sum is then divided by how often it was picked
//
//   weight, dweight (rows, width); dweight contiguous. y, dy (..., width) contiguous, as many rows as index
//   has elements; index of any shape, its values in [0, rows). A column's sums are one thread's work: they do
//   not depend on the team.
//
// bags: y[b] = sum of scale[i] weight[index[i]] over the i of bag b, in order, or their mean, or the greatest
// of each column; 0 of none. scale, only of sums, is 1 without data; rows `padding` do not count.
//
//   backward  dweight, and dscale where it has data. Equal greatest elements share the gradient.
//
//   All contiguous but starts. index is (bags, k), or (n) where starts has data: bag b begins at starts[b]
//   and ends where the next one begins, the last one at n.
#pragma once
#include <cstddef>
#include <cstdint>

#include "base/isa.h"
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

enum class BagMode { sum, mean, max };

struct BagSettings {
  BagMode mode;
  int64_t padding;  // -1: none
};

template <class T>
struct BagForward {
  RANVIER_CALL("bag_forward", weight, index, starts, scale, y);
  BagSettings settings;
  TensorView<const T> weight;
  TensorView<const int64_t> index, starts;
  TensorView<const T> scale;
  TensorView<T> y;
};

template <class T>
struct BagBackward {
  RANVIER_CALL("bag_backward", dy, y, weight, index, starts, scale, dweight, dscale);
  size_t workspace_bytes(int) const {  // shares of a bag, and how often each row is picked
    return sizeof(T) * (weight.shape[1] + 1) + sizeof(int64_t) * (by_frequency ? weight.shape[0] : 0);
  }
  BagSettings settings;
  bool by_frequency;
  TensorView<const T> dy, y, weight;
  TensorView<const int64_t> index, starts;
  TensorView<const T> scale;
  TensorView<T> dweight, dscale;
};

// The rows of one bag.
template <class T>
struct BagRows {
  BagSettings settings;
  const T* weight;
  int64_t rows, width;
  const int64_t* index;
  int64_t count, after;  // indices of the bag, and beyond it, whose rows are wanted soon
  const T* scale;        // null: 1
  T* y;
};

template <class T>
struct BagKernels {
  void (*bag)(const BagRows<T>&);
  T (*dot)(int64_t n, const T* a, const T* b);
};

RANVIER_TABLES(BagKernels, bag_kernels)

}  // namespace ranvier
