// embedding: rows of a table picked by index, and the gradient of the table
//
//   forward   y[i] = weight[index[i]]
//   backward  dweight = 0, then dweight[index[i]] += dy[i] in the order of i, unless index[i] is `padding`;
//             with by_frequency each row of dweight is then divided by how often it was picked
//
//   weight, dweight (rows, width); dweight is contiguous. index has any shape, with values in [0, rows).
//   y, dy (..., width) are contiguous and have a row for each element of index. One thread sums all of a
//   column, so sums do not depend on the team.
//
// bags: a bag is a list of indices. y[b] = the sum of scale[i] weight[index[i]] over the i of bag b, in
// order; or the mean of these rows, or the greatest element of each column; 0 for an empty bag. scale is for
// sums only, and is 1 if it has no data. Indices that are `padding` do not count.
//
//   backward  dweight and dscale, each if it has data. Equal greatest elements share the gradient.
//
//   All arrays except starts are contiguous. index is (bags, k), or if starts has data (n): bag b then begins
//   at starts[b] and ends where the next bag begins, the last bag at n.
#pragma once
#include <cstddef>
#include <cstdint>

#include "base/isa.h"
#include "base/views.h"

namespace ranvier {

constexpr int64_t kColumnBytes = 64;  // threads divide a row at multiples of a cache line

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
  size_t workspace_bytes(int) const {  // for the shares of a bag, and how often each row is picked
    const int64_t counted = by_frequency ? weight.shape[0] : 0;
    return sizeof(T) * (weight.shape[1] + 1) + sizeof(int64_t) * counted;
  }
  BagSettings settings;
  bool by_frequency;
  TensorView<const T> dy, y, weight;
  TensorView<const int64_t> index, starts;
  TensorView<const T> scale;
  TensorView<T> dweight, dscale;
};

// One bag.
template <class T>
struct BagRows {
  BagSettings settings;
  const T* weight;
  int64_t rows, width;
  const int64_t* index;
  int64_t count, after;  // the indices of the bag, and those behind them, whose rows may be prefetched
  const T* scale;        // or null: 1
  T* y;
};

template <class T>
struct BagKernels {
  void (*bag)(const BagRows<T>&);
  T (*dot)(int64_t n, const T* a, const T* b);
};

RANVIER_TABLES(BagKernels, bag_kernels)

}  // namespace ranvier
